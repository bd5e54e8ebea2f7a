#include "text/encode_batch.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rosa::text {
namespace {

TEST(EncodeBatch, GivesEachTextItsOwnIdsForAnyNumberOfThreads) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(ROSA_TEST_DATA "/tokenizer/llama3_style/tokenizer.json");
  std::vector<std::string> texts;
  for (int i = 0; i < 333; ++i)
    texts.push_back(std::string(static_cast<size_t>(i % 40), 'a') + " text " + std::to_string(i));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const int num_threads : {1, 3}) {
    base::ThreadPool pool(num_threads);
    const auto ids = encode_batch(*tokenizer, views, {.add_special_tokens = true}, pool);
    ASSERT_EQ(ids.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(ids[i], tokenizer->encode(texts[i])) << texts[i];
  }
}

}  // namespace
}  // namespace rosa::text
