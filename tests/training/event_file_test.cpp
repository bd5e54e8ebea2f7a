// The wire format and the framing of event files, and what is made of damaged ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "training/tensorboard/protobuf.h"
#include "training/tensorboard/record.h"

namespace rosa::training::tensorboard {
namespace {

// As the documentation of protocol buffers shows them.
TEST(Protobuf, IsWrittenAsTheFormatSays) {
  EXPECT_EQ(ProtoWriter().integer(1, 150).message(), "\x08\x96\x01");
  EXPECT_EQ(ProtoWriter().bytes(2, "testing").message(), "\x12\x07testing");
  EXPECT_EQ(ProtoWriter().bytes(3, ProtoWriter().integer(1, 150)).message(), "\x1a\x03\x08\x96\x01");
  EXPECT_EQ(ProtoWriter().integer(1, -1).message(), base::concat("\x08", std::string(9, '\xff'), "\x01"));
  EXPECT_EQ(ProtoWriter().number(1, 1.0f).message(), std::string("\x0d\0\0\x80\x3f", 5));
  EXPECT_EQ(ProtoWriter().number(1, 1.0).message(), std::string("\x09\0\0\0\0\0\0\xf0\x3f", 9));
  EXPECT_EQ(ProtoWriter().integer(16, 0).message(), std::string("\x80\x01\0", 3));
}

TEST(Protobuf, ReadsWhatItWrites) {
  const std::array<double, 2> list = {0.5, -1e300};
  const std::string message = ProtoWriter()
                                  .integer(1, std::numeric_limits<int64_t>::min())
                                  .number(2, -0.1)
                                  .number(3, 0.25f)
                                  .bytes(400, "text")
                                  .packed(5, list)
                                  .message();
  ProtoReader reader(message);
  EXPECT_EQ(static_cast<int64_t>(reader.next()->value), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(reader.next()->as_double(), -0.1);
  EXPECT_EQ(reader.next()->as_float(), 0.25f);
  const auto text = reader.next();
  EXPECT_EQ(text->number, 400);
  EXPECT_EQ(text->bytes, "text");
  EXPECT_EQ(reader.next()->bytes.size(), 16u);
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.is_damaged());
}

TEST(Protobuf, NoticesAMessageThatIsCutOrDamaged) {
  const std::string message = ProtoWriter().integer(1, 300).number(2, 1.0).bytes(3, "text").number(4, 1.0f).message();
  const std::vector<size_t> ends = {0, 3, 12, 18, 23};  // of the fields
  for (size_t size = 0; size <= message.size(); ++size) {
    ProtoReader reader(std::string_view(message).substr(0, size));
    while (reader.next()) {
    }
    const bool is_whole = std::find(ends.begin(), ends.end(), size) != ends.end();
    EXPECT_EQ(reader.is_damaged(), !is_whole) << size;
  }
  for (const std::string& damaged :
       {std::string("\x0b"), std::string("\0", 1), base::concat("\x08", std::string(11, '\xff')),
        base::concat("\x12", std::string(9, '\xff'), "\x01")}) {
    ProtoReader reader(damaged);
    EXPECT_FALSE(reader.next());
    EXPECT_TRUE(reader.is_damaged());
  }
}

class Records : public ::testing::Test {
 protected:
  // How many records can be read.
  static int count(RecordReader& reader) {
    int count = 0;
    while (reader.next()) ++count;
    return count;
  }

  const std::string content_ = framed("one") + framed("") + framed(std::string(300, 'x'));
};

TEST_F(Records, AreReadBack) {
  RecordReader reader(content_);
  EXPECT_EQ(reader.next(), "one");
  EXPECT_EQ(reader.position(), framed("one").size());
  EXPECT_EQ(reader.next(), "");
  EXPECT_EQ(reader.next(), std::string(300, 'x'));
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.is_at_end());
}

TEST_F(Records, ThatAreCutAreNoDamage) {
  const size_t first = framed("one").size(), second = first + framed("").size();
  for (size_t size = 0; size < content_.size(); ++size) {
    RecordReader reader(std::string_view(content_).substr(0, size));
    EXPECT_EQ(count(reader), size < first ? 0 : size < second ? 1 : 2) << size;
    EXPECT_EQ(reader.is_cut(), !reader.is_at_end()) << size;
  }
}

TEST_F(Records, ThatHaveAnyOtherByteAreDamaged) {
  for (size_t at = 0; at < content_.size(); ++at) {
    std::string damaged = content_;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    RecordReader reader(damaged);
    EXPECT_LT(count(reader), 3) << at;
    const bool is_header_left = content_.size() - reader.position() >= 12;
    EXPECT_EQ(reader.is_cut(), !is_header_left) << at;
  }
}

}  // namespace
}  // namespace rosa::training::tensorboard
