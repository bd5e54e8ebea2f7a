#include "training/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class JsonLinesTest : public ::testing::Test {
 protected:
  void write(const std::string& text) const { std::ofstream(path_, std::ios::trunc) << text; }
  std::string content() const { return base::read_file(path_, 1 << 20); }
  static base::StateDict length(int64_t bytes) { return {{}, {{"bytes", bytes}}}; }

  const testing::TemporaryFolder folder_;
  const fs::path path_ = folder_ / "lines.jsonl";
};

TEST_F(JsonLinesTest, LinesOfStepsThatAreDoneAgainGo) {
  write(
      "{\"kind\":\"step\",\"step\":0}\n{\"kind\":\"step\",\"step\":1}\n{\"kind\":\"evaluation\",\"step\":2}\n"
      "{\"kind\":\"step\",\"step\":2}\n{\"kind\":\"evalu");
  JsonLinesFile file(path_);
  file.start(/*first_step=*/2);
  EXPECT_EQ(content(),
            "{\"kind\":\"step\",\"step\":0}\n{\"kind\":\"step\",\"step\":1}\n{\"kind\":\"evaluation\",\"step\":2}\n");
  file.write("{\"kind\":\"step\",\"step\":2}");
  file.start(/*first_step=*/1);  // rolled back
  EXPECT_EQ(content(), "{\"kind\":\"step\",\"step\":0}\n");
}

TEST_F(JsonLinesTest, WhatCameAfterTheCheckpointGoes) {
  JsonLinesFile file(path_);
  file.start(0);
  file.write("{\"kind\":\"study\",\"step\":1}");
  const base::StateDict state = file.save_state();
  file.write("{\"kind\":\"study\",\"step\":1,\"again\":true}");
  JsonLinesFile resumed(path_);
  resumed.load_state(state);
  resumed.start(1);
  EXPECT_EQ(content(), "{\"kind\":\"study\",\"step\":1}\n");
}

TEST_F(JsonLinesTest, DamageNamesFileAndLine) {
  for (const char* line : {"{\"step\":\"x\"}", "{\"step\":1e999}", "{\"step\":1e108}", "{\"step\":0.5}", "[]", "7", "x",
                           "{\"kind\":7,\"step\":0}"}) {
    SCOPED_TRACE(line);
    write(std::string("{\"kind\":\"step\",\"step\":0}\n") + line + "\n");
    EXPECT_THAT([&] { JsonLinesFile(path_).start(5); }, ThrowsMessage<base::DataError>(HasSubstr("lines.jsonl:2")));
  }
}

TEST_F(JsonLinesTest, AFileThatIsGoneOrShorterIsNoReasonToEnd) {
  JsonLinesFile file(path_);
  file.start(0);
  file.write("{\"kind\":\"step\",\"step\":0}");
  fs::remove(path_);
  EXPECT_EQ(std::get<int64_t>(file.save_state().values.at("bytes")), 0);
  file.write("{\"kind\":\"step\",\"step\":1}");
  EXPECT_EQ(content(), "{\"kind\":\"step\",\"step\":1}\n");
  JsonLinesFile resumed(path_);
  resumed.load_state(length(1000));
  resumed.start(2);
  EXPECT_EQ(content(), "{\"kind\":\"step\",\"step\":1}\n");
}

TEST_F(JsonLinesTest, AFolderInItsPlaceIsAnError) {
  fs::create_directory(path_);
  EXPECT_THAT([&] { JsonLinesFile(path_).start(0); }, ThrowsMessage<base::FileError>(HasSubstr("lines.jsonl")));
}

}  // namespace
}  // namespace rosa::training
