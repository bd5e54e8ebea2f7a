// What the program says about files that are damaged, hostile or no files at all: always one line that names the file,
// the documented exit code, no control characters, and never a crash or a wait. A new kind of file or damage is a new
// line in one of the tables below; what a reader does in detail is tested beside it (tests/base, tests/models, ...).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/mapped_file.h"
#include "launch/failure.h"
#include "tests/support/job.h"
#include "tests/support/texts.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::count_of;
using ::testing::HasSubstr;
using testing::JobResult;
using ::testing::Not;
using testing::rosa_program;
using testing::run_job;
using testing::text_of_file;
using testing::TinyRun;
using testing::write_text;

std::string repeated(int count, const std::string& piece) {
  std::string text;
  for (int i = 0; i < count; ++i) text += piece;
  return text;
}

std::string nested(int depth) { return repeated(depth, "[") + repeated(depth, "]"); }

// A safetensors file with this header and so many bytes of zeros.
std::string safetensors(const std::string& header, size_t num_bytes) {
  std::string text(8, '\0');
  for (size_t i = 0; i < 8; ++i) text[i] = static_cast<char>(header.size() >> (8 * i) & 255);
  return text + header + std::string(num_bytes, '\0');
}

std::string replaced(std::string text, const std::string& old_part, const std::string& new_part) {
  const size_t place = text.find(old_part);
  EXPECT_NE(place, std::string::npos) << old_part;
  return place == std::string::npos ? text : text.replace(place, old_part.size(), new_part);
}

constexpr const char* kLfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";

// One line besides warnings, no control characters, and a documented way to end.
void expect_one_line(const JobResult& result, int exit_code) {
  EXPECT_EQ(result.exit_code, exit_code) << result.output;
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(count_of(result.output, "\n") - count_of(result.output, " warning "), 1) << result.output;
  const bool has_control =
      std::any_of(result.output.begin(), result.output.end(), [](char c) { return c != '\n' && (c & 0xe0) == 0; });
  EXPECT_FALSE(has_control) << result.output;
  EXPECT_LT(result.output.size(), 3000u);
}

class HostileFiles : public ::testing::Test {
 protected:
  // A fresh copy of a golden model and a run that uses it.
  void take_model(const std::string& name) {
    fs::remove_all(model_);
    fs::copy(fs::path(ROSA_TEST_DATA) / "goldens" / name, model_, fs::copy_options::recursive);
  }
  JobResult train(const std::vector<std::string>& overrides = {}) {
    std::vector<std::string> all = {"model.folder=" + model_.string()};
    all.insert(all.end(), overrides.begin(), overrides.end());
    return run_job(run_.train_command(all));
  }

  testing::TemporaryFolder folder_;
  fs::path model_ = folder_ / "model";
  TinyRun run_{folder_ / "run", 2};
};

struct Damage {
  std::string file;
  std::function<std::string(const std::string& before)> change;
  std::string message;
  int exit_code = 3;
};

TEST_F(HostileFiles, ModelFolders) {
  const auto text = [](const std::string& content) { return [content](const std::string&) { return content; }; };
  const auto replace = [](const std::string& old_part, const std::string& new_part) {
    return [=](const std::string& before) { return replaced(before, old_part, new_part); };
  };
  const std::vector<Damage> damages = {
      {"config.json", replace("\"vocab_size\": 211", "\"vocab_size\": 211,,"), "config.json:"},
      {"config.json", replace("\"model_type\": \"qwen3\"", "\"model_type\": " + nested(200'000)), "nested deeper"},
      {"config.json", replace("\"vocab_size\": 211", "\"vocab_size\": 1e999"), "number overflow"},
      {"config.json",
       [](const std::string& before) {
         return replaced(replaced(before, "\"layer_types\"", "\"other\""), "\"num_hidden_layers\": 3",
                         "\"num_hidden_layers\": 2147483647");
       },
       "belong together"},
      {"config.json", replace("\"vocab_size\": 211", "\"vocab_size\": 2147483647"), "belong together"},
      {"config.json", replace("\"qwen3\"", "\"\\u001b[2J\\nrosa: rank 0\\u202e\""), "\\u001b[2J"},
      {"config.json", text(kLfsPointer), "git lfs pull"},
      {"config.json", text(""), "config.json:1:1"},
      {"model.safetensors", text(kLfsPointer), "git lfs pull"},
      {"model.safetensors",
       text(safetensors(R"({"\u001b]0;owned\u0007\nrosa: rank 0 on host: all is well":)"
                        R"({"dtype":"QQ","shape":[],"data_offsets":[0,0]}})",
                        0)),
       "unknown dtype 'QQ'"},
      {"model.safetensors", text(safetensors(nested(100'000), 0)), "nested deeper"},
      {"model.safetensors", [](const std::string& before) { return before.substr(0, before.size() / 2); }, "truncated"},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.file + " " + damage.message);
    take_model("qwen3_tied");
    const std::string before = text_of_file(model_ / damage.file);
    const std::string after = damage.change(before);
    ASSERT_NE(after, before);
    write_text(model_ / damage.file, after);
    const JobResult result = train();
    expect_one_line(result, damage.exit_code);
    EXPECT_THAT(result.output, AllOf(HasSubstr(damage.message), HasSubstr(damage.file)));
  }
}

TEST_F(HostileFiles, IndexesAndShards) {
  take_model("qwen3_untied_sharded");
  const fs::path index = model_ / "model.safetensors.index.json";
  fs::remove(model_ / "model-00003-of-00005.safetensors");
  JobResult result = train();
  expect_one_line(result, 3);
  EXPECT_THAT(result.output, AllOf(HasSubstr("model.safetensors.index.json"), HasSubstr("model-00003-of-00005")));

  write_text(index, "{\"weight_map\":{\"a\":" + nested(200'000) + "}}");
  result = train();
  expect_one_line(result, 3);
  EXPECT_THAT(result.output, HasSubstr("model.safetensors.index.json:1:"));

  write_text(index, "{\"weight_map\":{\"a\\u001b[2J\\n\":\"\\u001b[2J\\n.safetensors\"}}");
  result = train();
  expect_one_line(result, 3);
}

TEST_F(HostileFiles, DtypesThatAreNotSupportedAreCalledThat) {
  for (const auto& [dtype, bits] :
       {std::pair("F8_E4M3", 8), std::pair("F4", 4), std::pair("F64", 64), std::pair("C64", 64)}) {
    SCOPED_TRACE(dtype);
    take_model("qwen3_tied");
    const std::string before = text_of_file(model_ / "model.safetensors");
    // The first tensor of the header stands for all: the names fit, so that only the dtype is wrong.
    std::string header = before.substr(
        8, static_cast<unsigned char>(before[0]) | static_cast<size_t>(static_cast<unsigned char>(before[1])) << 8);
    size_t num_bytes = 0;
    std::string sized;
    for (size_t place = 0;;) {
      const size_t begin = header.find("\"data_offsets\":[", place);
      if (begin == std::string::npos) {
        sized += header.substr(place);
        break;
      }
      const size_t end = header.find(']', begin);
      const size_t comma = header.find(',', begin);
      const size_t from = std::stoull(header.substr(begin + 16)), to = std::stoull(header.substr(comma + 1));
      const size_t size = (to - from) / 4 * static_cast<size_t>(bits) / 8;
      sized += header.substr(place, begin - place) +
               base::concat("\"data_offsets\":[", num_bytes, ",", num_bytes + size, "]");
      num_bytes += size;
      place = end + 1;
    }
    for (size_t place = sized.find("\"F32\""); place != std::string::npos; place = sized.find("\"F32\"")) {
      sized.replace(place, 5, base::concat("\"", dtype, "\""));
    }
    write_text(model_ / "model.safetensors", safetensors(sized, num_bytes));
    const JobResult result = train();
    expect_one_line(result, 3);
    EXPECT_THAT(result.output, AllOf(HasSubstr("model.safetensors"), HasSubstr("tensor '"),
                                     HasSubstr(base::concat("dtype ", dtype, ", which is not supported"))));
  }
}

// In the place of every file of a model folder and of the data: a pipe without a writer, a folder.
TEST_F(HostileFiles, WhatIsNoFileIsRefusedAtOnce) {
  for (const char* name : {"x.txt", "y.txt"}) write_text(folder_ / name, repeated(100, "some words "));
  const std::vector<std::string> data = {"data.kind=crops", "data.train_path=" + (folder_ / "x.txt").string(),
                                         "data.held_out_path=" + (folder_ / "y.txt").string()};
  for (const fs::path& path : {model_ / "config.json", model_ / "model.safetensors", folder_ / "x.txt"}) {
    for (const bool is_pipe : {true, false}) {
      SCOPED_TRACE(path.string() + (is_pipe ? " pipe" : " folder"));
      take_model("qwen3_tied");
      fs::remove_all(path);
      if (is_pipe) {
        ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
      } else {
        fs::create_directory(path);
      }
      const JobResult result = train(data);
      expect_one_line(result, 7);
      EXPECT_THAT(result.output,
                  AllOf(HasSubstr(path.filename().string()), HasSubstr(is_pipe ? "named pipe" : "folder")));
    }
  }
}

TEST_F(HostileFiles, ReportsOfExperiments) {
  const fs::path folder = folder_ / "experiment";
  fs::create_directories(folder / "a-seed1");
  const std::string good = R"({"task": "gate", "arms": [{"label": "a", "estimator": "n"}], "seeds": [1]})";
  const auto report = [&] {
    return run_job({rosa_program(), "report", folder.string(), "-o", (folder_ / "page.html").string()});
  };
  const auto damaged = [&](const std::string& file, const std::string& text, const std::string& message) {
    SCOPED_TRACE(file + " " + message);
    write_text(folder / "experiment.json", good);
    write_text(folder / file, text);
    const JobResult result = report();
    expect_one_line(result, 3);
    EXPECT_THAT(result.output, AllOf(HasSubstr(file), HasSubstr(message)));
    fs::remove(folder / file);
  };
  damaged("experiment.json", R"({"task": "gate", "arms": [], "x": 1e999})", "experiment.json:1:");
  damaged("experiment.json", R"({"task": )" + nested(100'000) + "}", "nested deeper");
  damaged("experiment.json", R"({"task": "gate", "arms": 3})", "'arms' is no list");
  damaged("a-seed1/metrics.jsonl", "{\"kind\": \"step\", \"step\": 1e999}\n", "metrics.jsonl:1:");
  damaged("a-seed1/metrics.jsonl", "{\"kind\": \"step\", \"step\": \"x\"}\n", "metrics.jsonl:1: 'step'");
  damaged("a-seed1/result.json", "{\"best_loss\": \"\\u001b[2J\\n\"}", "'best_loss'");
  damaged("studies.jsonl", nested(100'000) + "\n", "studies.jsonl:1:");
  std::string seeds;
  for (int i = 0; i < 100'000; ++i) seeds += base::concat(i == 0 ? "" : ",", i);
  damaged("experiment.json",
          R"({"task": "gate", "arms": [{"label": "a", "estimator": "n"}], "seeds": [)" + seeds + "]}", "100000 seeds");
  write_text(folder / "experiment.json", good);
  EXPECT_EQ(report().exit_code, 0);
  ASSERT_EQ(::mkfifo((folder / "studies.jsonl").c_str(), 0600), 0);
  expect_one_line(report(), 7);
}

TEST_F(HostileFiles, ATokenFileThatIsCutWhileItIsUsed) {
  write_text(folder_ / "x.txt", repeated(20'000, "some words "));
  const std::string tokens = (folder_ / "x.tokens").string();
  ASSERT_EQ(run_job({rosa_program(), "data", "pack", "--bytes", (folder_ / "x.txt").string(), "--vocabulary-size",
                     "128", "-o", tokens})
                .exit_code,
            0);
  take_model("qwen3_tied");
  const TinyRun run(folder_ / "long", 1'000'000);
  testing::Job job(
      run.train_command({"model.folder=" + model_.string(), "data.kind=token_file", "data.train_path=" + tokens,
                         "data.held_out_path=" + tokens, "checkpoint.every=1000000"}));
  ASSERT_TRUE(job.wait_for_path(run.folder() / "metrics.jsonl"));
  std::ofstream(tokens, std::ios::trunc).flush();
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, 7) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("x.tokens"), HasSubstr("while it was in use")));
}

// Both ranks read the weights in the file itself.
TEST_F(HostileFiles, AModelThatIsCutUnderTwoRanks) {
  take_model("qwen3_tied");
  const TinyRun run(folder_ / "cut", 1'000'000);
  testing::Job job(
      run.train_command({"model.folder=" + model_.string(), "checkpoint.every=1000000", "evaluation.every=0"}),
      {.num_ranks = 2});
  ASSERT_TRUE(job.wait_for_path(run.folder() / "metrics.jsonl"));
  fs::resize_file(model_ / "model.safetensors", 0);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, 7) << result.output;
  EXPECT_EQ(count_of(result.output, "model.safetensors' was shortened while it was in use"), 1) << result.output;
}

// Where nobody looked at the size first, the signal itself is explained.
TEST(HostileFilesDeathTest, AMappedFileThatIsCut) {
  testing::TemporaryFolder folder;
  write_text(folder / "mapped", std::string(100'000, 'a'));
  const auto read_beyond_the_end = [&] {
    launch::report_shortened_files();
    const base::MappedFile file(folder / "mapped");
    fs::resize_file(folder / "mapped", 0);
    const volatile std::byte* bytes = file.bytes().data();
    std::_Exit(std::to_integer<int>(bytes[50'000]));
  };
  EXPECT_EXIT(read_beyond_the_end(), ::testing::ExitedWithCode(7), "mapped' was shortened while it was in use");
}

// A small, seeded storm: whatever a byte becomes, the program ends with a documented code and one line, or it trains.
TEST_F(HostileFiles, ChangedBytesNeverCrash) {
  unsigned state = 12345;
  const auto random = [&](size_t below) {
    state = state * 1664525 + 1013904223;
    return static_cast<size_t>(state >> 8) % below;
  };
  for (int round = 0; round < 12; ++round) {
    const std::string name = round % 2 == 0 ? "config.json" : "model.safetensors";
    take_model("qwen3_tied");
    std::string text = text_of_file(model_ / name);
    const size_t range = std::min<size_t>(text.size(), 2500);
    for (int change = 0; change < 3; ++change) text[random(range)] = static_cast<char>(random(256));
    if (round % 3 == 0) text.resize(random(range));
    write_text(model_ / name, text);
    SCOPED_TRACE(base::concat("round ", round, " ", name));
    const JobResult result =
        train({"train.num_steps=1", "run.folder=" + (folder_ / base::concat("storm", round)).string()});
    if (result.exit_code != 0) expect_one_line(result, result.exit_code);
    EXPECT_THAT(result.exit_code, ::testing::AnyOf(0, 2, 3, 6, 7)) << result.output;
  }
}

}  // namespace
}  // namespace rosa
