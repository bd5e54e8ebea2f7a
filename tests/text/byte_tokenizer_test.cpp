#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace rosa::text {
namespace {

TEST(ByteTokenizer, AnyBytesComeBackAsTheyWere) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const std::unique_ptr<Tokenizer> tokenizer = make_byte_tokenizer();
  const std::vector<int64_t> ids = tokenizer->encode(all);
  ASSERT_EQ(ids.size(), 256u);
  EXPECT_EQ(ids[200], 200);
  EXPECT_EQ(tokenizer->decode(ids), all);

  StreamDecoder stream(*tokenizer);
  std::string streamed;
  for (const int64_t id : ids) streamed += stream.add(id);
  EXPECT_EQ(streamed + stream.finish(), all);
}

TEST(ByteTokenizer, AnIdBeyondTheBytesIsNoToken) {
  const std::unique_ptr<Tokenizer> tokenizer = make_byte_tokenizer();
  EXPECT_FALSE(tokenizer->has_token(256));
  EXPECT_FALSE(tokenizer->has_token(-1));
  EXPECT_EQ(tokenizer->bytes_of(256), "");
  EXPECT_EQ(tokenizer->decode(std::vector<int64_t>{256, 65}), "A");
}

}  // namespace
}  // namespace rosa::text
