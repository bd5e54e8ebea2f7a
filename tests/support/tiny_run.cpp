#include "tests/support/tiny_run.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>

#include "tests/support/job.h"

namespace rosa::testing {

namespace fs = std::filesystem;

TinyRun::TinyRun(fs::path folder, int num_steps, const std::string& yaml) : folder_(std::move(folder)) {
  fs::create_directories(folder_.parent_path());
  std::ofstream(config()) << "data: {kind: phrases, sequence_length: 24, min_phrase_length: 3, max_phrase_length: 4}\n"
                          << "evaluation: {every: 0, num_sequences: 2}\n"
                          << "logging: {every: 1}\n"
                          << "model: {folder: " ROSA_SOURCE_DIR "/tests/data/goldens/qwen3_tied}\n"
                          << "student: {sliding_window: 6}\n"
                          << "adapter: {num_heads: 4, query_key_bits: 4, value_bits: 4}\n"
                          << "schedules: {learning_rate: {start: 1.0e-2}}\n"
                          << "checkpoint: {every: 2}\n"
                          << "train: {num_steps: " << num_steps << ", micro_batches: 4}\n"
                          << "run: {folder: \"" << folder_.string() << "\", seed: 3}\n"
                          << yaml;
}

fs::path TinyRun::config() const { return folder_.string() + ".yaml"; }

std::vector<std::string> TinyRun::train_command(const std::vector<std::string>& overrides) const {
  std::vector<std::string> command = {rosa_program(), "train", config().string()};
  for (const std::string& text : overrides) {
    command.emplace_back("--set");
    command.push_back(text);
  }
  return command;
}

fs::path TinyRun::checkpoint(int step) const {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step_%08d", step);
  return folder_ / "checkpoints" / name.data();
}

std::string TinyRun::log(int rank) const {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "rank_%04d.log", rank);
  return text_of_file(folder_ / "logs" / name.data());
}

std::string text_of_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace rosa::testing
