// The bytes of a StreamingMatcher, cut off, garbled and made up, with a checksum that fits: a DataError or a state that
// works, and never more memory than the bytes can hold.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "rosa/automaton/streaming_matcher.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::automaton {
namespace {

using Bytes = std::vector<std::byte>;

constexpr size_t kChecksumBytes = 8;

void put(Bytes& bytes, size_t offset, uint64_t value, size_t num_bytes) {
  for (size_t i = 0; i < num_bytes; ++i) bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
}

// Writes the checksum anew, as somebody hostile would.
void seal(Bytes& bytes) {
  if (bytes.size() < kChecksumBytes) return;
  const size_t end = bytes.size() - kChecksumBytes;
  put(bytes, end, base::checksum(std::span(bytes).first(end)), kChecksumBytes);
}

// A loaded state must be as good as any other: it goes on, takes back all it has, and is saved again.
void use(StreamingMatcher& stream, int bits, std::mt19937_64& random) {
  const int64_t size = stream.size();
  for (int t = 0; t < 20; ++t) {
    const Match match = stream.append(symbol_of(random(), bits), symbol_of(random(), bits));
    ASSERT_LT(match.position, stream.size() - 1);
    ASSERT_LE(match.length, match.position + 1);
  }
  stream.rewind(stream.size() - size);
  const Bytes saved = stream.save();
  ASSERT_EQ(StreamingMatcher::load(saved).save(), saved);
  stream.rewind(static_cast<int64_t>(random() % static_cast<uint64_t>(stream.document_size() + 1)));
  stream.append(random(), random());
  stream.rewind(stream.document_size());
  ASSERT_EQ(stream.append(1, 1), Match{});
}

// Loads and uses, or sees it refused; returns whether it was refused. Any other error ends the test.
bool is_refused(const Bytes& bytes, int bits, std::mt19937_64& random) {
  try {
    StreamingMatcher loaded = StreamingMatcher::load(bytes);
    EXPECT_LE(loaded.num_bytes(), sizeof(StreamingMatcher) + 12 * bytes.size() + 1024);
    use(loaded, bits, random);
    return false;
  } catch (const base::DataError& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return true;
  }
}

Bytes saved_state(int bits, std::mt19937_64& random) {
  StreamingMatcher stream;
  if (random() % 2 == 0) stream.append(1, 1);
  if (random() % 2 == 0) stream.start_document();
  for (int t = 0; t < 40; ++t) {
    const uint64_t key = symbol_of(random(), random() % 2 == 0 ? 1 : bits);
    stream.append(random() % 3 == 0 ? symbol_of(random(), bits) : key, key);
    if (random() % 8 == 0) stream.rewind(std::min<int64_t>(3, stream.document_size()));
  }
  return stream.save();
}

TEST(StreamingBytesTest, EveryPrefixIsRefused) {
  std::mt19937_64 random(31);
  for (const int bits : {1, 8, 9, 64}) {
    const Bytes bytes = saved_state(bits, random);
    ASSERT_FALSE(is_refused(bytes, bits, random));
    for (size_t size = 0; size < bytes.size(); ++size) {
      Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      ASSERT_TRUE(is_refused(cut, bits, random)) << "of " << size << " bytes";
      seal(cut);
      ASSERT_TRUE(is_refused(cut, bits, random)) << "of " << size << " bytes, sealed";
    }
  }
}

TEST(StreamingBytesTest, GarbledBytesOfEveryWidthAreRefusedOrWork) {
  std::mt19937_64 random(32);
  int num_refused = 0;
  int num_taken = 0;
  for (int bits = 1; bits <= 64; ++bits) {
    const Bytes bytes = saved_state(bits, random);
    for (int round = 0; round < 200; ++round) {
      Bytes garbled = bytes;
      const uint64_t num_changes = 1 + random() % 3;
      for (uint64_t i = 0; i < num_changes; ++i) {
        std::byte& each = garbled[random() % garbled.size()];
        each = random() % 2 == 0 ? static_cast<std::byte>(random()) : each ^ std::byte{1} << (random() % 8);
      }
      if (random() % 8 == 0) garbled.insert(garbled.end(), random() % 30, static_cast<std::byte>(random()));
      seal(garbled);
      (is_refused(garbled, bits, random) ? num_refused : num_taken) += 1;
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(num_refused, 1000);
  EXPECT_GT(num_taken, 1000);
}

// Numbers at every edge in every field of the header: nothing overflows, and nothing is made before it is known to fit.
TEST(StreamingBytesTest, HeadersThatPromiseTooMuchAreRefused) {
  std::mt19937_64 random(33);
  const Bytes bytes = saved_state(5, random);
  const std::vector<uint64_t> edges{0,
                                    1,
                                    uint64_t{1} << 30,
                                    (uint64_t{1} << 30) + 1,
                                    uint64_t{1} << 31,
                                    uint64_t{1} << 32,
                                    uint64_t{1} << 61,
                                    (uint64_t{1} << 63) - 1,
                                    uint64_t{1} << 63,
                                    ~uint64_t{0}};
  const auto tried = [&](size_t offset, size_t width, uint64_t value, Bytes from) {
    put(from, offset, value, width);
    seal(from);
    return is_refused(from, 5, random);
  };
  for (const uint64_t edge : edges) {
    const uint64_t key_bytes = edge & 0xFFFFFFFFu;
    if (key_bytes != 1) {
      EXPECT_TRUE(tried(12, 4, key_bytes, bytes)) << "key bytes " << key_bytes;
    }
    EXPECT_TRUE(tried(24, 8, edge, bytes)) << "keys " << edge;
    EXPECT_TRUE(tried(32, 8, edge, bytes)) << "breaks " << edge;
    if (edge >= uint64_t{1} << 30) {
      EXPECT_TRUE(tried(16, 8, edge, bytes)) << "document start " << edge;
    }
    for (const uint64_t other : edges) {
      Bytes both = bytes;
      put(both, 24, edge, 8);
      EXPECT_TRUE(tried(32, 8, other, both)) << edge << " keys, " << other << " breaks";
    }
  }
}

// A stream that is as long as it may be takes no symbol more, and says so.
TEST(StreamingBytesTest, AFullStreamGoesOnRefusing) {
  Bytes bytes = StreamingMatcher().save();
  put(bytes, 16, (uint64_t{1} << 30) - 1, 8);
  seal(bytes);
  StreamingMatcher stream = StreamingMatcher::load(bytes);
  EXPECT_EQ(stream.append(1, 1), Match{});
  EXPECT_THROW(stream.append(1, 1), base::ArgumentError);
  stream.rewind(1);
  EXPECT_EQ(stream.append(1, 1), Match{});
}

TEST(StreamingBytesTest, AnEmptyStreamIsSmall) {
  EXPECT_EQ(StreamingMatcher().save().size(), StreamingMatcher::kMinSavedBytes);
  EXPECT_LE(StreamingMatcher().num_bytes(), 256u);
}

}  // namespace
}  // namespace rosa::automaton
