#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string repeated(size_t count, const std::string& piece) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += piece;
  return text;
}

// What a text is refused with; empty: it is taken.
template <class Json = nlohmann::json>
std::string refusal(std::string_view text) {
  try {
    parse_json<CheckpointError, Json>(text, "f.json");
    return "";
  } catch (const CheckpointError& error) {
    return error.what();
  }
}

TEST(Json, NamesFileLineAndColumn) {
  EXPECT_THAT(refusal("{\"a\": 1,\n \"b\": 2,,}"), StartsWith("f.json:2:9: no valid JSON: "));
  EXPECT_THAT(refusal(""), StartsWith("f.json:1:1: no valid JSON: "));
  EXPECT_THAT(refusal("{\"a\": \"\x1b[2J\"}"), StartsWith("f.json:1:8: no valid JSON: "));
  EXPECT_THAT(refusal("{} {}"), HasSubstr("no valid JSON"));
  EXPECT_THROW(parse_json("{", "x"), DataError);
  try {
    parse_json("{", "log.jsonl", 17);
    ADD_FAILURE();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), StartsWith("log.jsonl:17:"));
  }
}

TEST(Json, RefusesNumbersBeyondDouble) {
  EXPECT_EQ(refusal("{\"a\":\n1e999}"), "f.json:2:5: no valid JSON: number overflow parsing '1e999'");
  EXPECT_EQ(refusal("[1e308, -1e308, 1e-999, 18446744073709551615]"), "");
}

TEST(Json, RefusesDepthWithoutUsingTheStack) {
  const auto nested = [](size_t depth) { return repeated(depth, "[") + repeated(depth, "]"); };
  EXPECT_EQ(refusal(nested(kMaxJsonDepth)), "");
  EXPECT_EQ(refusal(nested(kMaxJsonDepth + 1)), "f.json:1:65: nested deeper than 64 levels");
  EXPECT_THAT(refusal(nested(2'000'000)), HasSubstr("nested deeper"));
  EXPECT_THAT(refusal(repeated(1'000'000, "{\"a\":")), HasSubstr("nested deeper"));
  EXPECT_THAT(refusal<nlohmann::ordered_json>(nested(2'000'000)), HasSubstr("nested deeper"));
}

TEST(Json, RefusesAKeyThatIsThereTwice) {
  EXPECT_EQ(refusal(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})"), "");
  EXPECT_THAT(refusal("{\"a\": 1, \"\\u0061\": 2}"), HasSubstr("the key 'a' is there twice"));
}

TEST(Json, BoundsTheMembersOfOrderedObjects) {
  std::string many = "{";
  for (size_t i = 0; i <= kMaxOrderedMembers; ++i) many += concat(i == 0 ? "\"" : ",\"", i, "\":0");
  many += "}";
  EXPECT_EQ(refusal(many), "");
  EXPECT_THAT(refusal<nlohmann::ordered_json>(many), HasSubstr("more than 10000 members"));
}

TEST(Json, AMessageDoesNotRepeatWhatIsHostileOrLong) {
  const std::string message = refusal("{\"a\": \"" + repeated(1000, "x\xc2\x9b") + "\"\x1b}");
  EXPECT_LT(message.size(), 1200u);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_EQ(message.find('\x9b'), std::string::npos);
}

// Every cut and many changed bytes of a text end in a value or in the caller's error, never in anything else.
TEST(Json, DamageIsAlwaysTheCallersError) {
  const std::string whole =
      R"({"a": [1, -2.5e3, true, null], "b\u00e9": {"c": "text\n", "d": {}}, "e": 12345678901234567890})";
  for (size_t length = 0; length < whole.size(); ++length) EXPECT_NE(refusal(whole.substr(0, length)), "") << length;
  for (size_t place = 0; place < whole.size(); ++place) {
    for (const char byte : {'\0', '"', '[', '}', ',', '9', 'e', '\\', '\xff', '\x1b', '\n'}) {
      std::string changed = whole;
      changed[place] = byte;
      const std::string message = refusal(changed);
      EXPECT_EQ(message.find_first_of("\n\x1b"), std::string::npos) << changed;
    }
  }
}

TEST(Json, FilesThatAreNone) {
  rosa::testing::TemporaryFolder folder;
  EXPECT_THROW(read_json(folder / "absent", 100), FileError);
  EXPECT_THROW(read_json(folder.path(), 100), FileError);
  write_file_atomically(folder / "long", repeated(100, " ") + "{}");
  EXPECT_THROW(read_json<CheckpointError>(folder / "long", 100), CheckpointError);
  EXPECT_TRUE(read_json(folder / "long", 102).is_object());
}

TEST(Json, LinesNameTheirLine) {
  rosa::testing::TemporaryFolder folder;
  const auto read = [&](const std::string& text) {
    write_file_atomically(folder / "x.jsonl", text);
    std::vector<int64_t> steps;
    read_json_lines(folder / "x.jsonl", [&](const JsonFields& fields, std::string_view line) {
      EXPECT_EQ(line.find('\n'), line.npos);
      steps.push_back(fields.required_integer("step"));
    });
    return steps;
  };
  const auto complaint = [&](const std::string& text) -> std::string {
    try {
      read(text);
      return "";
    } catch (const DataError& error) {
      return error.what();
    }
  };
  EXPECT_THAT(read("{\"step\": 1}\n\n{\"step\": 2}"), ElementsAre(1, 2));
  EXPECT_THAT(read("{\"step\": 1}\n{\"st"), ElementsAre(1)) << "was being written";
  EXPECT_THAT(read(repeated(200'000, "{\"step\": 7}\n")), ::testing::SizeIs(200'000)) << "more than one read";
  EXPECT_THAT(complaint("{\"step\": 1}\n{\"st\n"), HasSubstr("x.jsonl:2:"));
  EXPECT_THAT(complaint("{\"step\": 1}\n\n{\"step\": \"x\"}\n"), HasSubstr("x.jsonl:3: 'step' is string"));
  EXPECT_THAT(complaint("{\"step\": 1}\n[1]\n"), HasSubstr("x.jsonl:2: expected an object"));
  EXPECT_THAT(complaint("{\"step\": 1e999}\n"), HasSubstr("x.jsonl:1:"));
  EXPECT_THAT(complaint("{\"step\": 1e108}\n"), HasSubstr("expected a whole number"));
  EXPECT_THAT(complaint("{\"step\": 18446744073709551615}\n"), HasSubstr("18446744073709551615, expected a whole"));
}

TEST(Json, FieldsHaveTypes) {
  const auto value =
      parse_json(R"({"i": -3, "f": 2.5, "t": "x", "b": true, "n": null, "o": {"k": {}}, "l": [1, 2]})", "f");
  const JsonFields fields(value, "f", throw_json_error<CheckpointError>);
  EXPECT_EQ(fields.required_integer("i"), -3);
  EXPECT_EQ(fields.required_number("i"), -3.0);
  EXPECT_EQ(fields.required_number("f"), 2.5);
  EXPECT_EQ(fields.required_text("t"), "x");
  EXPECT_TRUE(fields.required_boolean("b"));
  EXPECT_THAT(fields.required_integers("l"), ElementsAre(1, 2));
  EXPECT_FALSE(fields.text("n").has_value());
  EXPECT_FALSE(fields.integer("absent").has_value());
  EXPECT_EQ(fields.required_object("o").members().front().first, "k");
  EXPECT_THROW(fields.required_integer("f"), CheckpointError);
  EXPECT_THROW(fields.required_integer("i", 0), CheckpointError);
  EXPECT_THROW(fields.required_integer("n"), CheckpointError);
  EXPECT_THROW(fields.text("i"), CheckpointError);
  EXPECT_THROW(fields.members(), CheckpointError) << "not all are objects";
  EXPECT_THROW(fields.objects("l"), CheckpointError);
}

TEST(Json, BytesThatAreNoUtf8ComeBack) {
  for (const std::string text : {"", "plain", "ré", "r\xe9", "\xff\xfe\n"}) {
    const std::string written = bytes_to_json(text).dump();  // throws where it can't be written
    EXPECT_EQ(bytes_from_json(nlohmann::json::parse(written)), text);
  }
  EXPECT_FALSE(bytes_from_json(3).has_value());
  EXPECT_FALSE(bytes_from_json({{"bytes", "0"}}).has_value());
  EXPECT_FALSE(bytes_from_json({{"bytes", "zz"}}).has_value());
}

}  // namespace
}  // namespace rosa::base
