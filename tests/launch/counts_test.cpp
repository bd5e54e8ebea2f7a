// What an evaluation counts and what generation takes: every figure stands on tokens that it names, each token of a
// file counts once, and what has no meaning is refused before the first token.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "launch/sampling.h"
#include "models/generation_config.h"
#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/texts.h"
#include "tests/support/tiny_run.h"
#include "training/evaluation.h"
#include "training/scoreboard.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::JobResult;
using ::testing::Not;
using testing::run_job;
using testing::run_rosa;
using testing::text_of_file;
using ::testing::ThrowsMessage;
using testing::TinyRun;
using testing::write_text;

// One finished run for all tests, on a copy of the model that a test may add files to.
class Counts : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new testing::TemporaryFolder;
    fs::copy(ROSA_SOURCE_DIR "/tests/data/goldens/qwen3_tied", model());
    const TinyRun tiny(run(), 2);
    const JobResult trained = run_job(tiny.train_command({"model.folder=" + model().string()}));
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }

  static fs::path run() { return *shared_ / "run"; }
  static fs::path model() { return *shared_ / "model"; }

  JobResult rosa(const std::vector<std::string>& arguments) const {
    return run_rosa(arguments, {.folder = work_.path()});
  }
  JobResult generate(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"generate", run().string(), "--print-ids"});
    return rosa(arguments);
  }
  // The last line, which is standard output's.
  static std::string tokens_of(const JobResult& result) {
    const size_t end = result.output.find_last_not_of(" \n");
    return result.output.substr(result.output.rfind('\n', end) + 1);
  }

  // A token file in the test's folder, a document a line.
  fs::path token_file(const std::string& name, const std::string& lines) const {
    write_text(work_ / (name + ".jsonl"), lines);
    const JobResult packed = rosa({"data", "pack", name + ".jsonl", "-o", name, "--ids", "--vocabulary-size", "211"});
    EXPECT_EQ(packed.exit_code, 0) << packed.output;
    return work_ / name;
  }
  static std::vector<std::string> settings(const std::vector<std::string>& values) {
    std::vector<std::string> arguments;
    for (const std::string& value : values) arguments.insert(arguments.end(), {"--set", value});
    return arguments;
  }
  static std::vector<std::string> of_tokens(const fs::path& held_out) {
    return {"data.kind=token_file", "data.train_path=" + held_out.string(), "data.held_out_path=" + held_out.string(),
            "data.packed_documents=false"};
  }

  testing::TemporaryFolder work_;

 private:
  static inline testing::TemporaryFolder* shared_ = nullptr;
};

TEST_F(Counts, NothingToScoreIsAnErrorAndNeverBegins) {
  std::string lines;
  for (int i = 0; i < 20; ++i) (lines += '[').append(std::to_string(i)) += "]\n";
  const fs::path single = token_file("single", lines);
  const fs::path some = token_file("some", "[1, 2, 3, 4, 5, 6, 7, 8]\n");
  const TinyRun tiny(work_ / "run", 4);
  std::vector<std::string> command = tiny.train_command(of_tokens(some));
  const auto add = [&command](const std::string& value) { command.insert(command.end(), {"--set", value}); };
  add("data.held_out_path=" + single.string());
  add("evaluation.every=2");
  const JobResult trained = run_job(command);
  EXPECT_EQ(trained.exit_code, 3) << trained.output;
  EXPECT_THAT(trained.output,
              AllOf(HasSubstr("nothing to score"), HasSubstr(single.string()), Not(HasSubstr("step 1/4"))));
  EXPECT_FALSE(fs::exists(tiny.folder() / "checkpoints"));
}

TEST_F(Counts, AFileIsScoredOnceAndTheCountSaysSo) {
  const fs::path three = token_file("three", "[0,1,2,3,4,5,6,7,8,9,10,11]\n[1,5,9]\n[1,2,3,4,5,6,7,8]\n");
  const TinyRun tiny(work_ / "run", 2);
  std::vector<std::string> values = of_tokens(three);
  values.insert(values.end(), {"evaluation.every=1", "evaluation.num_sequences=all"});
  const JobResult trained = run_job(tiny.train_command(values));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("(20 tokens of 3 sequences)"));
  EXPECT_THAT(text_of_file(tiny.folder() / "metrics.jsonl"), HasSubstr("\"num_tokens\":20,\"num_sequences\":3}"));

  std::map<std::string, nlohmann::json> scores;
  for (const char* number : {"2", "3", "64", "all"}) {
    std::vector<std::string> command = {"eval", tiny.folder().string(), "--variants", "teacher,window", "-o", "s.json"};
    for (const std::string& one : settings({std::string("evaluation.num_sequences=") + number})) command.push_back(one);
    const JobResult scored = rosa(command);
    ASSERT_EQ(scored.exit_code, 0) << scored.output;
    EXPECT_THAT(scored.output, HasSubstr(std::string("over ") + (*number == '2' ? "2" : "3") + " held-out sequences"));
    scores[number] = nlohmann::json::parse(text_of_file(work_ / "s.json"));
  }
  EXPECT_EQ(scores["3"].at("teacher").at("num_tokens"), 20);
  EXPECT_EQ(scores["3"].at("num_sequences"), 3);
  for (const char* whole : {"64", "all"}) EXPECT_EQ(scores["3"], scores[whole]) << whole;
  EXPECT_LT(scores["2"].at("teacher").at("num_tokens"), 20);
}

// A text of three sequences and a rest is cut; a crop of one of five would count bytes twice.
TEST_F(Counts, ATextIsScoredOnce) {
  write_text(work_ / "short.txt", "Some of the words that stand in this text stand here once, no more. And a rest.");
  std::vector<std::string> command = {"eval", run().string(), "--variants", "window"};
  for (const std::string& one :
       settings({"data.kind=crops", "data.min_phrase_length=0", "data.max_phrase_length=0",
                 "data.train_path=" + (work_ / "short.txt").string(),
                 "data.held_out_path=" + (work_ / "short.txt").string(), "evaluation.num_sequences=5"})) {
    command.push_back(one);
  }
  const JobResult scored = rosa(command);
  EXPECT_EQ(scored.exit_code, 0) << scored.output;
  EXPECT_THAT(scored.output, AllOf(HasSubstr("over 3 held-out sequences"), HasSubstr(" 69 ")));
}

TEST_F(Counts, FiguresThatAreNotFiniteAreAnError) {
  const fs::path adapter = run() / "checkpoints/step_00000002/adapter.safetensors";
  const base::SafetensorsFile file(adapter);
  auto tensors = file.tensors();
  const std::string name = tensors.begin()->first;
  std::vector<std::byte> damaged(tensors.begin()->second.bytes.begin(), tensors.begin()->second.bytes.end());
  const float nan = std::nanf("");
  for (size_t i = 0; i + sizeof(nan) <= damaged.size(); i += sizeof(nan)) std::memcpy(&damaged[i], &nan, sizeof(nan));
  tensors.begin()->second.bytes = damaged;
  base::write_safetensors(work_ / "nan.safetensors", tensors);
  const JobResult scored =
      rosa({"eval", run().string(), "--variants", "rosa", "--checkpoint", "nan.safetensors", "-o", "scores.json"});
  EXPECT_EQ(scored.exit_code, 6) << scored.output;
  EXPECT_THAT(scored.output, AllOf(HasSubstr("nan.safetensors"), HasSubstr(name)));
  EXPECT_FALSE(fs::exists(work_ / "scores.json"));
}

TEST_F(Counts, WrongPromptsAndOptionsAreRefusedBeforeTheFirstToken) {
  write_text(work_ / "empty", "");
  const std::vector<std::vector<std::string>> wrong = {
      {"--prompt", ""},
      {"--prompt-file", "empty"},
      {"--ids", ""},
      {"--ids", "1,,2"},
      {"--ids", "1,x"},
      {"--ids", "-1"},
      {"--ids", "1,211"},
      {"--prompt", "caf\xc3\xa9\xff"},
      {"--held-out", "25"},
      {"--ids", "1", "--temperature", "nan"},
      {"--ids", "1", "--temperature", "inf"},
      {"--ids", "1", "--temperature=-1"},
      {"--ids", "1", "--temperature", "1", "--top-p", "0"},
      {"--ids", "1", "--temperature", "1", "--top-p", "nan"},
      {"--ids", "1", "--temperature", "1", "--top-p", "1.5"},
      {"--ids", "1", "--temperature", "1", "--top-k", "-1"},
      {"--ids", "1", "--top-k", "5"},
      {"--ids", "1", "--top-p", "0.5"},
      {"--ids", "1", "--seed", "3"},
      {"--ids", "1", "-n", "0"},
      {"--ids", "1", "--model", "teacher", "--checkpoint", "x"},
  };
  for (const std::vector<std::string>& arguments : wrong) {
    const JobResult result = generate(arguments);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(arguments) << result.output;
    EXPECT_THAT("\n" + result.output, Not(HasSubstr("\n1 "))) << ::testing::PrintToString(arguments);
  }
}

TEST_F(Counts, ATinyTemperatureTakesTheLikeliest) {
  const std::string greedy = tokens_of(generate({"--ids", "1,2,3", "-n", "6"}));
  EXPECT_THAT(greedy, ::testing::StartsWith("1 2 3 "));
  for (const char* temperature : {"0", "1e-300", "1e-320"}) {
    const JobResult result = generate({"--ids", "1,2,3", "-n", "6", "--temperature", temperature});
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(tokens_of(result), greedy) << temperature;
  }
}

TEST_F(Counts, TheModelFoldersGenerationConfigCounts) {
  const std::string greedy = tokens_of(generate({"--ids", "1,2,3", "-n", "3"}));
  const std::string first = greedy.substr(6, greedy.find(' ', 6) - 6);
  write_text(model() / "generation_config.json", "{\"eos_token_id\": [" + first + ", 7], \"max_new_tokens\": 5}");
  const JobResult stopped = generate({"--ids", "1,2,3"});
  EXPECT_EQ(tokens_of(stopped), "1 2 3 " + first + " \n");
  EXPECT_THAT(stopped.output, AllOf(HasSubstr("max_new_tokens 5 (generation_config.json)"),
                                    HasSubstr("ends at " + first + ", 7 (generation_config.json)")));
  write_text(model() / "generation_config.json",
             "{\"do_sample\": true, \"temperature\": 2.0, \"top_k\": 3, \"repetition_penalty\": 1.1, \"num_beams\": 2, "
             "\"max_length\": 5}");
  const JobResult sampled = generate({"--ids", "1,2,3", "--top-p", "0.9"});
  EXPECT_EQ(sampled.exit_code, 0) << sampled.output;
  EXPECT_THAT(sampled.output,
              AllOf(HasSubstr("temperature 2 (generation_config.json), top_k 3 (generation_config.json), "
                              "top_p 0.9 (command line)"),
                    HasSubstr("max_new_tokens 2 (generation_config.json)"),
                    HasSubstr("repetition_penalty 1.1 (generation_config.json)"),
                    HasSubstr("num_beams = 2 is not implemented")));
  const JobResult long_prompt = generate({"--ids", "1,2,3,4,5"});
  EXPECT_EQ(long_prompt.exit_code, 2);
  EXPECT_THAT(long_prompt.output, HasSubstr("max_length 5"));
  write_text(model() / "generation_config.json", "{\"top_p\": \"high\"}");
  EXPECT_EQ(generate({"--ids", "1"}).exit_code, 3);
  fs::remove(model() / "generation_config.json");
  // More than the 512 positions of the model.
  const JobResult warned = generate({"--ids", "1", "-n", "512", "--model", "window"});
  EXPECT_THAT(warned.output, HasSubstr("max_position_embeddings, 512"));
}

// transformers 5: the command line (its keyword arguments), the file, GenerationConfig's own defaults.
TEST(ResolveSampling, CommandLineThenFileThenDefaults) {
  using launch::resolve_sampling;
  const auto file = models::parse_generation_config(
      "{\"do_sample\": true, \"temperature\": 0.6, \"top_p\": 0.95, \"eos_token_id\": 151645, \"pad_token_id\": null}",
      "f");
  models::GenerateOptions options = resolve_sampling({}, file, {1}, 10).options;
  EXPECT_TRUE(options.sample);
  EXPECT_EQ(options.temperature, 0.6);
  EXPECT_EQ(options.top_k, 50);
  EXPECT_EQ(options.top_p, 0.95);
  EXPECT_THAT(options.stop_tokens, ElementsAre(151645));
  options = resolve_sampling({.top_k = 0, .temperature = 0.3}, file, {1}, 10).options;
  EXPECT_EQ(options.temperature, 0.3);
  EXPECT_EQ(options.top_k, 0);
  EXPECT_FALSE(resolve_sampling({.temperature = 0.0}, file, {1}, 10).options.sample);
  EXPECT_THAT([&] { resolve_sampling({.top_k = 5, .temperature = 0.0}, file, {1}, 10); },
              ThrowsMessage<base::ConfigError>(HasSubstr("--top-k has no effect")));
  // A temperature without do_sample does not count.
  const auto greedy = models::parse_generation_config("{\"temperature\": 0.6, \"eos_token_id\": null}", "f");
  options = resolve_sampling({}, greedy, {1, 2}, 10).options;
  EXPECT_FALSE(options.sample);
  EXPECT_THAT(options.stop_tokens, ElementsAre(1, 2));
  // Without a file there is none of transformers' defaults.
  options = resolve_sampling({.temperature = 1.0}, std::nullopt, {}, 10).options;
  EXPECT_EQ(options.top_k, 0);
  EXPECT_EQ(options.max_new_tokens, 128);
}

TEST(GenerationConfig, DamageNamesFileAndKey) {
  for (const auto& [text, message] :
       std::map<std::string, std::string>{{"{\"eos_token_id\": \"x\"}", "f: 'eos_token_id' is \"x\""},
                                          {"{\"eos_token_id\": [1, [2]]}", "eos_token_id"},
                                          {"{\"temperature\": -1}", "temperature"},
                                          {"{\"top_p\": 0}", "top_p"},
                                          {"{\"top_k\": 1.5}", "top_k"},
                                          {"{\"do_sample\": 1}", "do_sample"},
                                          {"[1]", "object"},
                                          {"{\"a\": ", "f:1:"},
                                          {std::string(100000, '['), "nested"}}) {
    EXPECT_THAT([&text = text] { models::parse_generation_config(text, "f"); },
                ThrowsMessage<base::DataError>(AllOf(::testing::StartsWith("f:"), HasSubstr(message))));
  }
}

// Scores of so many sequences: window, student and teacher by sequence, of ten tokens each.
training::Scores scores_of(const std::vector<std::array<double, 3>>& ce) {
  training::Scores scores;
  for (size_t i = 0; i < ce.size(); ++i) {
    const auto sequence = static_cast<int64_t>(i);
    scores["window"].all.add(sequence, {10 * ce[i][0], 10});
    scores["rosa"].all.add(sequence, {10 * ce[i][1], 10});
    scores["teacher"].all.add(sequence, {10 * ce[i][2], 10});
  }
  for (auto& [name, score] : scores) score.num_sequences = static_cast<int64_t>(ce.size());
  return scores;
}

TEST(GapClosed, IsNotGivenWhereTheGapIsNotClearlyPositive) {
  const auto closed = [](const std::vector<std::array<double, 3>>& ce) {
    const training::Scores scores = scores_of(ce);
    return training::gap_closed(scores.at("window").all, scores.at("rosa").all, scores.at("teacher").all);
  };
  const auto clear = closed({{3.0, 2.5, 2.0}, {3.1, 2.5, 2.0}, {2.9, 2.5, 2.0}});
  ASSERT_TRUE(clear.has_value());
  EXPECT_NEAR(*clear, 0.5, 1e-12);
  EXPECT_FALSE(closed({{2.0, 2.5, 3.0}, {2.1, 2.5, 3.0}}));        // the window is better than the teacher
  EXPECT_FALSE(closed({{3.0, 2.5, 2.0}, {2.0, 2.5, 2.9}}));        // by chance positive
  EXPECT_FALSE(closed({{3.0, 2.5, 2.9999}, {3.0, 2.5, 2.9999}}));  // next to nothing
  EXPECT_FALSE(closed({{3.0, 2.5, 2.0}}));                         // one sequence tells no error
  EXPECT_FALSE(closed({{std::nan(""), 2.5, 2.0}, {3.0, 2.5, 2.0}}));

  const training::Scores unclear = scores_of({{2.0, 2.5, 3.0}, {2.1, 2.5, 3.0}});
  EXPECT_THAT(training::scores_table("t", unclear), AllOf(HasSubstr("n/a"), HasSubstr("over 2 held-out sequences")));
  const nlohmann::json json = training::scores_json(unclear, false);
  EXPECT_FALSE(json.contains("gap_closed"));
  EXPECT_EQ(json.at("rosa").at("num_tokens"), 20);
  EXPECT_EQ(json.at("num_sequences"), 2);
  EXPECT_TRUE(training::scores_json(scores_of({{3.0, 2.5, 2.0}, {3.1, 2.5, 2.0}}), false).contains("gap_closed"));
}

TEST_F(Counts, AVariantIsScoredOnce) {
  const JobResult result = rosa({"eval", run().string(), "--variants", "rosa,window,rosa"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("--variants names rosa twice"));
}

}  // namespace
}  // namespace rosa
