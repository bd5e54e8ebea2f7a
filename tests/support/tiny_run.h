// TinyRun: the smallest run of the real program, for tests that start, stop and break it: a random model of the
// goldens is distilled on random phrases, some milliseconds a step.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rosa::testing {

class TinyRun {
 public:
  // Writes FOLDER.yaml; the run goes to FOLDER. Four micro-batches a step, a line of metrics each step, a checkpoint
  // every two. `yaml`: further sections, not those of TinyRun's own (data, evaluation, logging, model, student,
  // schedules, adapter, checkpoint, train, run): these are changed by --set.
  TinyRun(std::filesystem::path folder, int num_steps, const std::string& yaml = "");

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path config() const;
  // rosa train CONFIG --set ... for each of `overrides` ("checkpoint.every=1").
  std::vector<std::string> train_command(const std::vector<std::string>& overrides = {}) const;
  // FOLDER/checkpoints/step_NNNNNNNN
  std::filesystem::path checkpoint(int step) const;
  // The log of a rank, all of it.
  std::string log(int rank) const;

 private:
  std::filesystem::path folder_;
};

// The whole file; an empty text where there is none.
std::string text_of_file(const std::filesystem::path& path);

}  // namespace rosa::testing
