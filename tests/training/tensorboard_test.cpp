// Event files, taken apart again; tests/training/tensorboard_test.py reads them with TensorBoard itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/support/temporary_folder.h"
#include "training/metric_fields.h"
#include "training/tensorboard/protobuf.h"
#include "training/tensorboard/record.h"
#include "training/tensorboard/writer.h"

namespace rosa::training::tensorboard {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Field `number` of a message, the last one of that number; empty where there is none.
ProtoField field_of(std::string_view message, int number) {
  ProtoField found;
  ProtoReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == number) found = *field;
  }
  EXPECT_FALSE(reader.is_damaged());
  return found;
}

// The values of all tags over all files, in the order of the files, with their steps.
struct ReadBack {
  std::map<std::string, std::vector<std::pair<int64_t, float>>> scalars;
  std::map<std::string, std::string> histograms, metadata;  // the last ones; messages
  std::map<std::string, std::vector<std::pair<int64_t, std::string>>> texts;
  std::vector<int64_t> restarts;

  std::vector<int64_t> steps(const std::string& tag) {
    std::vector<int64_t> result;
    for (const auto& [step, value] : scalars[tag]) result.push_back(step);
    return result;
  }
};

ReadBack read_back(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  ReadBack result;
  for (const fs::path& file : files) {
    const std::string content = base::read_file(file, 1 << 24);
    RecordReader records(content);
    bool is_first = true;
    while (const auto record = records.next()) {
      const auto step = static_cast<int64_t>(field_of(*record, 2).value);
      EXPECT_GT(field_of(*record, 1).as_double(), 1e9) << "the time";
      EXPECT_EQ(field_of(*record, 3).bytes, std::exchange(is_first, false) ? "brain.Event:2" : "");
      if (!field_of(*record, 7).bytes.empty()) result.restarts.push_back(step);
      ProtoReader summary(field_of(*record, 5).bytes);
      while (const auto value = summary.next()) {
        const std::string tag(field_of(value->bytes, 1).bytes);
        if (const ProtoField scalar = field_of(value->bytes, 2); scalar.number != 0) {
          result.scalars[tag].emplace_back(step, scalar.as_float());
        }
        if (const ProtoField tensor = field_of(value->bytes, 8); tensor.number != 0) {
          result.texts[tag].emplace_back(step, field_of(tensor.bytes, 8).bytes);
        }
        if (const ProtoField histogram = field_of(value->bytes, 5); histogram.number != 0) {
          result.histograms[tag] = histogram.bytes;
        }
        if (const ProtoField metadata = field_of(value->bytes, 9); metadata.number != 0) {
          result.metadata[tag] = metadata.bytes;
        }
      }
    }
    EXPECT_TRUE(records.is_at_end()) << file;
  }
  return result;
}

class TensorBoardFiles : public ::testing::Test {
 protected:
  // What a run of 9 steps does from `first` to before `last`; it evaluates after every 2.
  void run(int64_t first, int64_t last, int64_t every = 1) const {
    Writer writer({.folder = folder(), .every = every, .recipe = {{"run.seed", "3"}}, .configuration = "text"});
    writer.on_start(first, 9);
    for (int64_t step = first; step < last; ++step) {
      StepMetrics metrics{.step = step, .num_steps = 9, .loss = static_cast<double>(step)};
      metrics.flop_use = metrics.alignment = metrics.code_balance = metrics.code_consistency = 0.5;
      metrics.proportional_bytes = metrics.device_allocated_bytes = metrics.device_reserved_bytes =
          metrics.device_peak_bytes = metrics.base_part_bytes = metrics.base_gather_bytes = 1;
      metrics.base_gather_wait_ms = 0.5;
      metrics.layers = {{.layer = 3, .max_match_length = 5, .match_lengths = {4, 1, 2, 3}}};
      metrics.sources = {{.name = "web", .loss = 0.5, .num_sequences = 4}, {.name = "code"}};
      writer.on_step(metrics);
      if ((step + 1) % 2 == 0) writer.on_evaluation({.step = step + 1, .ce = 0.5, .samples = {{"a\nb", "c", "d"}}});
    }
  }
  fs::path folder() const { return folder_ / "tensorboard"; }
  std::vector<fs::path> files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder())) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(TensorBoardFiles, HaveEveryFieldAndSayWhatItMeans) {
  run(0, 9);
  ReadBack found = read_back(folder());
  for (const auto& field : step_fields()) {
    const std::string tag = base::concat("step/", field.name);
    EXPECT_EQ(found.scalars[tag].size(), 9u) << tag;
    EXPECT_THAT(found.metadata[tag], HasSubstr(std::string(field.meaning)));
  }
  for (const auto& field : layer_fields()) EXPECT_EQ(found.scalars[base::concat("layer_3/", field.name)].size(), 9u);
  for (const auto& field : source_fields())
    EXPECT_EQ(found.scalars[base::concat("source_web/", field.name)].size(), 9u);
  for (const auto& field : evaluation_fields()) {
    EXPECT_EQ(found.scalars[base::concat("evaluation/", field.name)].size(), 4u);
  }
  EXPECT_EQ(found.scalars.count("source_code/loss"), 0u) << "it is of no token";
  const auto& samples = found.texts["evaluation/sample_1"];
  ASSERT_EQ(samples.size(), 4u);
  EXPECT_EQ(samples[1].first, 4);
  EXPECT_EQ(samples[1].second, "**Prompt**\n\n    a\n    b\n\n**Continuation**\n\n    c\n\n**Reference**\n\n    d\n\n");
  EXPECT_EQ(found.scalars["step/loss"][7], (std::pair<int64_t, float>(7, 7.0f)));
  EXPECT_THAT(found.steps("evaluation/ce"), ElementsAre(2, 4, 6, 8));
  EXPECT_THAT(found.metadata["_hparams_/session_start_info"], HasSubstr("run.seed"));
  EXPECT_THAT(found.restarts, IsEmpty());
}

TEST_F(TensorBoardFiles, HaveHistogramsOfTheMatchLengths) {
  run(0, 1);
  const std::string histogram = read_back(folder()).histograms.at("layer_3/match_lengths");
  EXPECT_EQ(field_of(histogram, 1).as_double(), 0.0);
  EXPECT_EQ(field_of(histogram, 2).as_double(), 5.0);
  EXPECT_EQ(field_of(histogram, 3).as_double(), 10.0);
  std::vector<double> limits, counts;
  for (size_t i = 0; i < 4; ++i) {
    limits.push_back(std::bit_cast<double>(from_little_endian<uint64_t>(field_of(histogram, 6).bytes.substr(8 * i))));
    counts.push_back(std::bit_cast<double>(from_little_endian<uint64_t>(field_of(histogram, 7).bytes.substr(8 * i))));
  }
  EXPECT_THAT(limits, ElementsAre(0.5, 1.5, 3.5, 7.5));
  EXPECT_THAT(counts, ElementsAre(4.0, 1.0, 2.0, 3.0));
}

TEST_F(TensorBoardFiles, AreOfTheLoggedSteps) {
  run(0, 9, /*every=*/3);
  EXPECT_THAT(read_back(folder()).steps("step/loss"), ElementsAre(0, 3, 6, 8));
}

TEST_F(TensorBoardFiles, HaveEachStepOnceAfterResumes) {
  for (const int64_t first_step : {1, 3, 4, 6, 7}) {
    std::error_code ignored;
    fs::remove_all(folder(), ignored);
    run(0, 7);
    run(first_step, 8);
    run(first_step, 9);  // from the same checkpoint again
    ReadBack found = read_back(folder());
    EXPECT_THAT(found.steps("step/loss"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8)) << first_step;
    EXPECT_THAT(found.steps("evaluation/ce"), ElementsAre(2, 4, 6, 8)) << first_step;
    std::vector<int64_t> sample_steps;
    for (const auto& [step, text] : found.texts["evaluation/sample_1"]) sample_steps.push_back(step);
    EXPECT_THAT(sample_steps, ElementsAre(2, 4, 6, 8)) << first_step;
    EXPECT_THAT(found.restarts, ElementsAre(first_step));
    EXPECT_EQ(files().size(), 3u);
  }
}

TEST_F(TensorBoardFiles, BeginAnewWithANewRun) {
  run(0, 7);
  std::ofstream(folder() / "events.out.tfevents.0000000001.host.other") << "of another program";
  run(0, 2);
  ASSERT_EQ(files().size(), 3u);
  EXPECT_EQ(base::read_file(files()[0], 100), "of another program");
  EXPECT_EQ(fs::file_size(files()[1]), 0u);
  fs::remove(files()[0]);
  EXPECT_THAT(read_back(folder()).steps("step/loss"), ElementsAre(0, 1));
}

TEST_F(TensorBoardFiles, GoOnAfterAKillInTheMiddleOfAnEvent) {
  run(0, 5);
  fs::resize_file(files()[0], fs::file_size(files()[0]) - 7);
  run(4, 6);
  EXPECT_THAT(read_back(folder()).steps("step/loss"), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST_F(TensorBoardFiles, KeepWhatStandsBeforeDamageAndSaySo) {
  run(0, 5);
  const fs::path first = files()[0];
  {
    std::fstream file(first, std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(fs::file_size(first) / 2));
    file << "damage";
  }
  std::string console;
  base::LogOptions options;
  options.console = [&](const std::string& line) { console += line + "\n"; };
  base::start_log(options);
  run(5, 6);
  base::start_log({});
  EXPECT_THAT(console, HasSubstr(base::concat("'", first.string(), "' is damaged at byte")));
  const std::vector<int64_t> steps = read_back(folder()).steps("step/loss");
  EXPECT_LT(steps.size(), 6u);
  EXPECT_EQ(steps.front(), 0);
  EXPECT_EQ(steps.back(), 5);
}

}  // namespace
}  // namespace rosa::training::tensorboard
