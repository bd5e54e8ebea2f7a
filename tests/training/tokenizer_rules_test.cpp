// Kind: everything wrong is said before anything starts. Data of another tokenizer trains without an error and learns
// nonsense, so it is refused by name.
#include "training/tokenizer_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/data/token_file_writer.h"
#include "training/run_objects.h"
#include "training/run_rules.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const fs::path kTokenizers = fs::path(ROSA_TEST_DATA) / "tokenizer";

TokenizerMark mark_of(const text::Tokenizer& tokenizer) {
  return {.name = tokenizer.name(), .fingerprint = tokenizer.fingerprint(), .is_bytes = tokenizer.is_bytes()};
}

class TokenizerRulesTest : public ::testing::Test {
 protected:
  TokenizerRulesTest() {
    fs::copy(fs::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied", folder_ / "model");
    config_ = tiny_config(folder_ / "run");
    config_.model.folder = (folder_ / "model").string();
    config_.data.kind = DataKind::token_file;
    config_.data.train_path = config_.data.held_out_path = (folder_ / "tokens").string();
    config_.evaluation.every = 0;
  }

  void give_tokenizer(const std::string& name) const {
    fs::copy_file(kTokenizers / name / "tokenizer.json", folder_ / "model" / "tokenizer.json",
                  fs::copy_options::overwrite_existing);
  }
  // The model then knows so many tokens, as config.json says; its weights do not.
  void set_vocabulary(int64_t size) const {
    const fs::path path = folder_ / "model" / "config.json";
    auto json = nlohmann::json::parse(base::read_file(path, 1 << 20));
    json["vocab_size"] = size;
    std::ofstream(path) << json;
  }
  void write(const std::optional<TokenizerMark>& tokenizer) const {
    TokenFileWriter writer(folder_ / "tokens", 200, {.tokenizer = tokenizer});
    writer.add_document(std::vector<int64_t>(400, 7));
    writer.finish();
  }
  std::string trouble(int64_t vocab_size = 211, bool has_folder = true) const {
    const auto data = make_data_source(config_.data, DataSplit::train, 1, 1);
    return TokenizerRules(config_, has_folder, vocab_size).trouble_with(*data);
  }

  rosa::testing::TemporaryFolder folder_;
  RunConfig config_;
};

TEST_F(TokenizerRulesTest, TheModelsOwnTokenizerIsTakenWhateverItsName) {
  give_tokenizer("gpt2_style");
  TokenizerMark mark = mark_of(*text::load_tokenizer(kTokenizers / "gpt2_style"));
  mark.name = "another name";
  write(mark);
  EXPECT_EQ(trouble(), "");
}

TEST_F(TokenizerRulesTest, AnotherTokenizerIsRefusedByNameUnlessTheKeyAcceptsIt) {
  give_tokenizer("gpt2_style");
  write(mark_of(*text::load_tokenizer(kTokenizers / "llama3_style")));
  EXPECT_THAT(trouble(), AllOf(HasSubstr("packed with the tokenizer 'llama3_style'"), HasSubstr(config_.model.folder),
                               HasSubstr("data.accept_other_tokenizer")));
  EXPECT_EQ(trouble(211, /*has_folder=*/false), "");  // random weights take any
  config_.data.accept_other_tokenizer = true;
  EXPECT_EQ(trouble(), "");
}

TEST_F(TokenizerRulesTest, BytesAreRefusedForAModelWithAnotherVocabulary) {
  write(mark_of_bytes());
  EXPECT_EQ(trouble(211), "");
  EXPECT_THAT(trouble(151936), AllOf(HasSubstr("tokens are bytes"), HasSubstr("151936")));
  give_tokenizer("gpt2_style");
  EXPECT_THAT(trouble(211), HasSubstr("of a tokenizer of its own"));
  config_.data.kind = DataKind::crops;  // a text's bytes are its tokens
  config_.data.train_path = (folder_ / "text").string();
  std::ofstream(config_.data.train_path) << std::string(1000, 'a');
  EXPECT_THAT(trouble(211), HasSubstr("tokens are bytes"));
}

TEST_F(TokenizerRulesTest, WhatIsNotKnownIsNotRefused) {
  give_tokenizer("gpt2_style");
  write(std::nullopt);
  EXPECT_EQ(trouble(), "");
  fs::remove(folder_ / "model" / "tokenizer.json");
  write(mark_of(*text::load_tokenizer(kTokenizers / "llama3_style")));
  EXPECT_EQ(trouble(), "");
}

TEST_F(TokenizerRulesTest, ATokenizerThatCannotBeReadIsAnErrorThatNamesTheWayOut) {
  std::ofstream(folder_ / "model" / "tokenizer.json") << "{";
  write(TokenizerMark{.name = "x", .fingerprint = 1});
  try {
    trouble();
    FAIL() << "no error";
  } catch (const base::DataError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("tokenizer.json"), HasSubstr("data.accept_other_tokenizer")));
  }
  config_.data.accept_other_tokenizer = true;
  EXPECT_EQ(trouble(), "");
}

// The rule is told with the others before anything is built, and by what builds a run to evaluate it.
TEST_F(TokenizerRulesTest, ARunWithDataOfAnotherTokenizerDoesNotStart) {
  give_tokenizer("gpt2_style");
  write(mark_of(*text::load_tokenizer(kTokenizers / "llama3_style")));
  config_.optimizer.rate_factors = {1};  // another mistake
  try {
    check_before_training(config_, Objective::distill, 1);
    FAIL() << "no error";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("data.train_path: the data was packed with the tokenizer"),
                                    HasSubstr("optimizer.rate_factors"), Not(HasSubstr("data.held_out_path"))));
  }
  const auto communicator = parallel::make_single_communicator();
  const DataNeeds only_held_out{.training = false, .held_out = true};
  EXPECT_THROW(build_run(config_, Objective::distill, *communicator, only_held_out), base::ConfigError);
  config_.optimizer.rate_factors = {};
  config_.data.accept_other_tokenizer = true;
  EXPECT_NO_THROW(build_run(config_, Objective::distill, *communicator, only_held_out));
}

TEST_F(TokenizerRulesTest, BytesOfUnknownOriginAreAWarning) {
  set_vocabulary(2000);
  write(std::nullopt);
  const auto model = model_config_of(config_, Objective::distill);
  const auto data = make_data_source(config_.data, DataSplit::train, 1, 1);
  EXPECT_THAT(run_warnings(config_, Objective::distill, model, *data),
              ::testing::Contains(HasSubstr("was the text packed without the model's tokenizer?")));
  write(mark_of_bytes());
  const auto bytes = make_data_source(config_.data, DataSplit::train, 1, 1);
  EXPECT_THAT(run_warnings(config_, Objective::distill, model, *bytes),
              Not(::testing::Contains(HasSubstr("was the text packed"))));
}

}  // namespace
}  // namespace rosa::training
