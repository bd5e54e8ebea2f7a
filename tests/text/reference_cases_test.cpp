// Tokenizers against what the reference (PyPI's `tokenizers`) makes of lines of text: folders of tokenizer.json and
// cases.jsonl. ROSA_TOKENIZER_CASES=FOLDER names other ones than the project's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace rosa::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Qwen3's vocabulary is not part of the project: launch/test.sh makes it (text/qwen3_tokenizer.py).
fs::path tokenizer_of(const fs::path& folder) {
  if (fs::exists(folder / "tokenizer.json")) return folder / "tokenizer.json";
  const char* made = std::getenv("ROSA_QWEN3_TOKENIZER");
  return made != nullptr ? fs::path(made) : fs::path();
}

std::vector<fs::path> case_folders() {
  const char* named = std::getenv("ROSA_TOKENIZER_CASES");
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(named != nullptr ? named : ROSA_TEST_DATA "/tokenizer")) {
    if (fs::exists(entry.path() / "cases.jsonl")) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

class ReferenceCases : public ::testing::TestWithParam<fs::path> {};

TEST_P(ReferenceCases, IdsAndTextAreEqual) {
  const fs::path file = tokenizer_of(GetParam());
  if (file.empty()) GTEST_SKIP() << "no tokenizer.json there, and ROSA_QWEN3_TOKENIZER names none";
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(file);
  std::ifstream lines(GetParam() / "cases.jsonl");
  int num_lines = 0, num_wrong = 0;
  for (std::string line; std::getline(lines, line) && num_wrong < 10; ++num_lines) {
    const json expected = json::parse(line);
    const auto text = expected.at("text").get<std::string>();
    const auto ids = expected.at("ids").get<std::vector<int64_t>>();
    const auto decoded = expected.at("decoded").get<std::string>();
    StreamDecoder stream(*tokenizer);
    std::string streamed;
    for (const int64_t id : ids) streamed += stream.add(id);
    streamed += stream.finish();
    const std::vector<int64_t> got = tokenizer->encode(text);
    EXPECT_EQ(got, ids) << "line " << num_lines + 1 << ": " << line;
    EXPECT_EQ(tokenizer->decode(ids), decoded) << "line " << num_lines + 1 << ": " << line;
    EXPECT_EQ(streamed, decoded) << "line " << num_lines + 1 << ": " << line;
    if (got != ids || streamed != decoded) ++num_wrong;
  }
  EXPECT_GT(num_lines, 0);
}

INSTANTIATE_TEST_SUITE_P(Folders, ReferenceCases, ::testing::ValuesIn(case_folders()),
                         [](const auto& folder) { return folder.param.filename().string(); });

}  // namespace
}  // namespace rosa::text
