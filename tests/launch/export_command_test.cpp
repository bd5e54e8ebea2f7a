// `rosa export`: what lies in the folder, what it replaces and what it does not, wrong options; and the way back by
// train.init_from. tests/models/transformers_parity.py loads such folders.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/texts.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::JobResult;
using ::testing::Not;
using testing::run_job;
using testing::run_rosa;
using testing::text_of_file;
using testing::TinyRun;
using testing::write_text;

nlohmann::json json_of(const fs::path& path) { return nlohmann::json::parse(text_of_file(path)); }

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

// One finished run for all tests, which none may change.
class Export : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new testing::TemporaryFolder;
    const TinyRun tiny(*shared_ / "run", 4);
    const JobResult trained = run_job(tiny.train_command());
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static fs::path run() { return *shared_ / "run"; }

  // rosa export RUN ARGUMENTS, in this test's folder.
  JobResult exported(std::vector<std::string> arguments, const fs::path& run_folder = run()) const {
    arguments.insert(arguments.begin(), {"export", run_folder.string()});
    return run_rosa(arguments, {.folder = work_.path()});
  }
  void expect_refused(const std::vector<std::string>& arguments, const std::string& message, int code = 2) const {
    const std::set<std::string> before = names_in(work_.path());
    const JobResult result = exported(arguments);
    EXPECT_EQ(result.exit_code, code) << result.output;
    EXPECT_THAT(result.output, HasSubstr(message));
    EXPECT_EQ(names_in(work_.path()), before);
  }

  testing::TemporaryFolder work_;

 private:
  static inline testing::TemporaryFolder* shared_ = nullptr;
};

TEST_F(Export, AFolderHoldsWhatTransformersNeeds) {
  const JobResult result = exported({"-o", "out", "--evaluate", "--with-library"});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(names_in(work_ / "out"),
            (std::set<std::string>{"README.md", "config.json", "configuration_qwen3_rosa.py", "librosa_c.so.1",
                                   "model.safetensors", "modeling_qwen3_rosa.py"}));
  for (const char* name : {"configuration_qwen3_rosa.py", "modeling_qwen3_rosa.py"}) {
    EXPECT_EQ(text_of_file(work_ / "out" / name), text_of_file(fs::path(ROSA_SOURCE_DIR) / "models/python" / name));
  }
  const nlohmann::json config = json_of(work_ / "out/config.json");
  EXPECT_EQ(config.at("model_type"), "qwen3_rosa");
  EXPECT_EQ(config.at("auto_map").at("AutoModelForCausalLM"), "modeling_qwen3_rosa.Qwen3RosaForCausalLM");
  const std::string card = text_of_file(work_ / "out/README.md");
  for (const char* word :
       {"rosa_shuffled", "rosa_zeroed", "rosa_windowed", "perplexity", "in 4 steps", "has no tokenizer"}) {
    EXPECT_THAT(card, HasSubstr(word));
  }
  // The adapter's weights are the checkpoint's, bit for bit.
  const base::SafetensorsFile whole(work_ / "out/model.safetensors");
  const base::SafetensorsFile adapter(run() / "checkpoints/step_00000004/adapter.safetensors");
  for (const auto& [name, view] : adapter.tensors()) {
    EXPECT_TRUE(std::equal(view.bytes.begin(), view.bytes.end(), whole.at(name).bytes.begin())) << name;
  }
}

TEST_F(Export, WeightsComeInShardsOfTheAskedSizeAndDtype) {
  const JobResult result = exported({"-o", "out", "--dtype", "bfloat16", "--max-shard-size", "20KB"});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const nlohmann::json index = json_of(work_ / "out/model.safetensors.index.json");
  EXPECT_EQ(json_of(work_ / "out/config.json").at("dtype"), "bfloat16");
  int64_t num_bytes = 0;
  std::set<std::string> files;
  for (const auto& [name, file] : index.at("weight_map").items()) files.insert(file.get<std::string>());
  EXPECT_GT(files.size(), 2u);
  for (const std::string& file : files) {
    const base::SafetensorsFile shard(work_ / "out" / file);
    for (const auto& [name, view] : shard.tensors()) {
      EXPECT_EQ(index.at("weight_map").at(name), file);
      EXPECT_EQ(view.dtype, name.find(".rosa_attn.") == std::string::npos ? "BF16" : "F32") << name;
      num_bytes += static_cast<int64_t>(view.bytes.size());
    }
  }
  EXPECT_EQ(index.at("metadata").at("total_size"), num_bytes);
  // Another export takes its place, without what the first left.
  ASSERT_EQ(exported({"-o", "out/"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(work_ / "out/model.safetensors.index.json"));
  EXPECT_EQ(names_in(work_.path()), std::set<std::string>{"out"});
}

// What follows the header of a safetensors file.
std::string tensor_bytes(const fs::path& path) {
  const std::string file = text_of_file(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  return file.substr(sizeof header_bytes + header_bytes);
}

TEST_F(Export, AnAdapterAloneNamesItsBase) {
  const JobResult result = exported({"-o", "out", "--adapter-only", "--checkpoint", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const fs::path adapter = work_ / "out/adapter.safetensors";
  EXPECT_TRUE(tensor_bytes(adapter) == tensor_bytes(run() / "checkpoints/step_00000002/adapter.safetensors"));
  const nlohmann::json config = json_of(work_ / "out/adapter_config.json");
  EXPECT_TRUE(fs::exists(fs::path(config.at("base_model_name_or_path").get<std::string>()) / "config.json"));
  EXPECT_THAT(text_of_file(work_ / "out/README.md"), HasSubstr("load_adapter"));
}

TEST_F(Export, ALowRankAdaptationIsMergedOrLiesApart) {
  const TinyRun tiny(work_ / "lora", 2, "lora: {rank: 2, patterns: ['*.q_proj.weight']}\n");
  const JobResult trained = run_job(tiny.train_command({"schedules.learning_rate.start=0.05"}));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  ASSERT_EQ(exported({"-o", "merged"}, tiny.folder()).exit_code, 0);
  for (int time = 0; time < 2; ++time) {  // the second replaces the first
    const JobResult result = exported({"-o", "apart", "--lora", "apart"}, tiny.folder());
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }
  EXPECT_EQ(names_in(work_ / "apart/lora"),
            (std::set<std::string>{"adapter_config.json", "adapter_model.safetensors"}));
  EXPECT_FALSE(fs::exists(work_ / "merged/lora"));
  const std::string merged = tensor_bytes(work_ / "merged/model.safetensors");
  const std::string apart = tensor_bytes(work_ / "apart/model.safetensors");
  EXPECT_EQ(merged.size(), apart.size());
  EXPECT_FALSE(merged == apart);
  EXPECT_THAT(text_of_file(work_ / "apart/README.md"), HasSubstr("FOLDER/lora"));
  const JobResult half = exported({"-o", "out", "--adapter-only"}, tiny.folder());
  EXPECT_EQ(half.exit_code, 2);
  EXPECT_THAT(half.output, HasSubstr("lora.rank"));
  expect_refused({"-o", "out", "--lora", "apart"}, "has no low-rank adaptation");
  // A folder in it that is somebody's own is not replaced.
  fs::create_directory(work_ / "apart/notes");
  const JobResult kept = exported({"-o", "apart"}, tiny.folder());
  EXPECT_EQ(kept.exit_code, 2);
  EXPECT_THAT(kept.output, HasSubstr("holds 'notes"));
}

TEST_F(Export, NothingOfOthersIsReplaced) {
  fs::create_directory(work_ / "mine");
  write_text(work_ / "mine/notes.txt", "mine");
  expect_refused({"-o", "mine"}, "holds 'notes.txt', which this command did not write");
  fs::create_directory(work_ / "other");
  write_text(work_ / "other/config.json", "{}");  // a name of ours, and nothing else
  expect_refused({"-o", "other"}, "was not made by this command");
  write_text(work_ / "file", "text");
  expect_refused({"-o", "file"}, "is no folder");
  expect_refused({"-o", "no/such/place"}, "there is no folder", 7);
  expect_refused({"-o", (run() / "checkpoints").string()}, "is a folder that is read");
  expect_refused({"-o", (run() / "checkpoints/new").string()}, "which is read");
  expect_refused({"-o", run().string()}, "which is read");
  // An export with somebody's own file in it stays, too.
  ASSERT_EQ(exported({"-o", "out"}).exit_code, 0);
  write_text(work_ / "out/eval.txt", "mine");
  expect_refused({"-o", "out"}, "holds 'eval.txt'");
  EXPECT_EQ(text_of_file(work_ / "out/eval.txt"), "mine");
  // An empty folder and a link to one are taken.
  fs::create_directory(work_ / "empty");
  fs::create_symlink("empty", work_ / "link");
  EXPECT_EQ(exported({"-o", "link"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(work_ / "empty/config.json"));
  EXPECT_TRUE(fs::is_symlink(work_ / "link"));
}

TEST_F(Export, WrongOptionsAreSaidBeforeAnyWork) {
  expect_refused({"-o", ""}, "empty");
  expect_refused({}, "--output");
  expect_refused({"-o", "out", "--dtype", "int8"}, "int8");
  expect_refused({"-o", "out", "--max-shard-size", "many"}, "many");
  expect_refused({"-o", "out", "--max-shard-size", "0"}, "--max-shard-size");
  expect_refused({"-o", "out", "--adapter-only", "--dtype", "float32"}, "adapters are float32");
  write_text(work_ / "scores.json", "{\"teacher\": {}}");
  expect_refused({"-o", "out", "--scores", "scores.json"}, "holds no scores of 'rosa'");
  expect_refused({"-o", "out", "--scores", "scores.json", "--evaluate"}, "--evaluate");
  expect_refused({"-o", "out", "--checkpoint", "77"}, "77", 4);
}

TEST_F(Export, ScoresOfAFileStandInTheCard) {
  write_text(
      work_ / "scores.json",
      R"({"rosa": {"ce": 1.25, "ppl": 3.49, "num_tokens": 77}, "window": {"ce": 2.5, "ppl": 12.2}, "gap_closed": 0.5})");
  ASSERT_EQ(exported({"-o", "out", "--scores", "scores.json"}).exit_code, 0);
  EXPECT_THAT(text_of_file(work_ / "out/README.md"), HasSubstr("| 1.2500 | 3.4900 | 77 |"));
}

TEST_F(Export, ARunStartsFromAnExportAndFromAWholeStudent) {
  ASSERT_EQ(exported({"-o", "out", "--max-shard-size", "20KB"}).exit_code, 0);
  ASSERT_EQ(exported({"-o", "one"}).exit_code, 0);
  ASSERT_EQ(exported({"-o", "adapter", "--adapter-only"}).exit_code, 0);
  // As accelerate leaves it: a file alone.
  fs::copy(work_ / "one/model.safetensors", work_ / "model.safetensors");
  int number = 0;
  for (const char* start : {"out", "adapter", "model.safetensors"}) {
    const TinyRun warm(work_ / ("warm" + std::to_string(number++)), 1);
    const JobResult result = run_job(warm.train_command({"train.init_from=" + (work_ / start).string()}));
    EXPECT_EQ(result.exit_code, 0) << start << ": " << result.output;
    const std::string said = result.output + warm.log(0);
    if (std::string(start) == "adapter") {
      EXPECT_THAT(said, Not(HasSubstr("belong to no adapter")));
    } else {
      EXPECT_THAT(said, HasSubstr("belong to no adapter and are not used: ")) << start;
    }
  }
  const TinyRun other(work_ / "other", 1);
  const JobResult refused =
      run_job(other.train_command({"train.init_from=" + (work_ / "out").string(), "adapter.query_key_bits=8",
                                   "adapter.value_bits=8", "adapter.num_heads=2"}));
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.output, HasSubstr("rosa_query_key_bits is 4"));
  const TinyRun moved(work_ / "moved", 1);
  const JobResult elsewhere =
      run_job(moved.train_command({"train.init_from=" + (work_ / "out").string(), "adapter.place=attention"}));
  EXPECT_NE(elsewhere.exit_code, 0);
  EXPECT_THAT(elsewhere.output, HasSubstr("its adapters have place=mlp "));
}

}  // namespace
}  // namespace rosa
