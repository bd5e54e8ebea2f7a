#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "base/error.h"

namespace rosa::text {
namespace {

using base::concat;
using base::DataError;

constexpr size_t kMaxExpressionBytes = 1 << 16;
constexpr size_t kJitStackBytes = size_t{8} << 20;

// Escapes that both libraries understand, but differently: \s of PCRE2 takes U+180E too, and so on. Oniguruma's \w
// takes the numbers among Latin-1's signs, but not in a class.
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}", kSigns = "\\xb2\\xb3\\xb9\\xbc-\\xbe";

// Scripts to which both libraries count the same characters, once with_stand_ins() has been there.
constexpr auto kScripts =
    std::to_array<std::string_view>({"Armenian",  "Bengali",   "Bopomofo", "Braille",  "Canadian_Aboriginal",
                                     "Cherokee",  "Coptic",    "Ethiopic", "Georgian", "Greek",
                                     "Gujarati",  "Gurmukhi",  "Han",      "Hangul",   "Hebrew",
                                     "Hiragana",  "Katakana",  "Khmer",    "Latin",    "Limbu",
                                     "Malayalam", "Mongolian", "Oriya",    "Sinhala",  "Syriac",
                                     "Tagalog",   "Tai_Le",    "Tamil",    "Telugu",   "Thaana",
                                     "Thai",      "Tibetan",   "Tifinagh"});

// Without regard to case, Oniguruma also matches one character for two: \u00df for ss.
constexpr auto kFoldedPairs = std::to_array<std::string_view>({"ff", "fi", "fl", "ss", "st"});

// ^ and $ are about lines in Ruby's syntax. PCRE2 10.42 misses matches where it optimises, as in (?=a)\P{L}?a and
// [^ba]?(?:b)?+s of text that is not ASCII.
constexpr uint32_t kOptions =
    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_START_OPTIMIZE | PCRE2_NO_AUTO_POSSESS;

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// Null where it is wrong.
pcre2_code* compiled(std::string_view expression, int* error) {
  PCRE2_SIZE offset = 0;
  return pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(), kOptions, error, &offset,
                       nullptr);
}

bool may_match_nothing(std::string_view expression) {
  int error = 0;
  uint32_t answer = 0;
  pcre2_code* code = compiled(expression, &error);
  if (code != nullptr) pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &answer);
  pcre2_code_free(code);
  return answer != 0;
}

class Translation {
 public:
  Translation(std::string_view expression, const std::string& place) : in_(expression), place_(place) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        escape(/*in_class=*/false);
      } else if (c == '[') {
        character_class();
      } else if (c == '(') {
        group();
      } else if (c == ')') {
        end_of_group();
      } else if (c == '{') {
        interval();
      } else {
        literal(static_cast<unsigned char>(c), /*in_class=*/false);
        take(1, in_.substr(at_, 1));
      }
    }
    return out_;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw DataError(
        concat(place_, ": the regular expression uses ", what, " (at byte ", at_, "), which is not implemented"));
  }

  char next() const { return at_ + 1 < in_.size() ? in_[at_ + 1] : '\0'; }

  void take(size_t size, std::string_view output) {
    out_ += output;
    at_ += size;
  }

  // A character that stands for itself, or for a repetition, an end of a line and so on.
  void literal(uint32_t character, bool in_class) {
    if (!groups_.back().ignores_case) {
      last_ = '\0';
      return;
    }
    if (character >= 0x80) refuse("a character that is not ASCII without regard to case");
    if (in_class) return;
    const char lower = static_cast<char>(character >= 'A' && character <= 'Z' ? character | 0x20 : character);
    const std::string pair = {last_, lower};
    if (std::find(kFoldedPairs.begin(), kFoldedPairs.end(), pair) != kFoldedPairs.end()) {
      refuse(concat("'", pair, "' without regard to case"));
    }
    last_ = lower;
  }

  void escape(bool in_class) {
    const char c = next();
    if (in_class && groups_.back().ignores_case && std::string_view("SDwWpP").find(c) != std::string_view::npos) {
      refuse(concat("\\", c, " in a class without regard to case"));
    }
    if (!in_class && c != 'x' && c != 'u') last_ = '\0';
    const auto word = [&](bool negated) {
      if (in_class && negated) refuse("\\W in a class");
      take(2, in_class ? std::string(kWord) : concat(negated ? "[^" : "[", kWord, kSigns, "]"));
    };
    switch (c) {
      case 's':
        return take(2, "\\p{White_Space}");
      case 'S':
        return take(2, "\\P{White_Space}");
      case 'd':
        return take(2, "\\p{Nd}");
      case 'D':
        return take(2, "\\P{Nd}");
      case 'w':
        return word(false);
      case 'W':
        return word(true);
      case 'p':
      case 'P':
        return property();
      case 'v':
        return take(2, "\\x0b");
      case 'r':
      case 'n':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        return take(2, in_.substr(at_, 2));
      case 'A':
      case 'z':
        if (in_class) refuse(concat("\\", c, " in a class"));
        return take(2, in_.substr(at_, 2));
      case 'u':
      case 'x':
        return code_point(c, in_class);
      default:
        break;
    }
    const auto byte = static_cast<unsigned char>(c);
    const bool is_letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
    if (byte == 0) refuse("a backslash at its end");
    if (is_letter || (byte >= '0' && byte <= '9') || byte >= 0x80) refuse(concat("\\", c));
    take(2, in_.substr(at_, 2));
  }

  // \p{Name}, \p{^Name}: a category, or a script as Unicode's Scripts.txt has it (PCRE2's own choice is wider).
  void property() {
    const size_t end = in_.find('}', at_);
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{' || end == std::string_view::npos) refuse("\\p without {name}");
    const std::string_view whole = in_.substr(at_, end + 1 - at_);
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    bool negated = next() == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    for (const char c : name) {
      const auto lower = static_cast<unsigned char>(c) | 0x20;
      if (!((lower >= 'a' && lower <= 'z') || c == '_')) refuse(whole);
    }
    const bool is_script = std::find(kScripts.begin(), kScripts.end(), name) != kScripts.end();
    // Names of one letter or two are categories.
    if (!is_script && name.size() > 2 && name != "Any" && name != "White_Space") refuse(whole);
    take(whole.size(), concat(negated ? "\\P{" : "\\p{", is_script ? "sc:" : "", name, "}"));
  }

  // \uHHHH, \xHH, \x{H...}
  void code_point(char kind, bool in_class) {
    const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); };
    size_t begin = at_ + 2, end = begin;
    const bool braced = kind == 'x' && begin < in_.size() && in_[begin] == '{';
    if (braced) end = ++begin;
    const size_t most = braced ? 8 : kind == 'u' ? 4 : 2;
    while (end < in_.size() && end - begin < most && is_hex(in_[end])) ++end;
    const bool whole = braced ? end > begin && end < in_.size() && in_[end] == '}' : end - begin == most;
    if (!whole) refuse(concat("\\", kind, " without its digits"));
    const std::string digits(in_.substr(begin, end - begin));
    // One byte of several is no character.
    if (kind == 'x' && !braced && (digits[0] >= '8')) refuse("\\x of a byte that is no character");
    literal(static_cast<uint32_t>(std::stoul(digits, nullptr, 16)), in_class);
    take(end + (braced ? 1 : 0) - at_, concat("\\x{", digits, "}"));
  }

  void character_class() {
    last_ = '\0';
    take(1, "[");
    if (at_ < in_.size() && in_[at_] == '^') take(1, "^");
    if (at_ < in_.size() && in_[at_] == ']') refuse("] as the first of a class");
    while (at_ < in_.size() && in_[at_] != ']') {
      if (in_[at_] == '\\') {
        escape(/*in_class=*/true);
      } else if (in_[at_] == '[') {
        refuse("[ in a class");
      } else if (in_[at_] == '&' && next() == '&') {
        refuse("&& in a class");
      } else {
        literal(static_cast<unsigned char>(in_[at_]), /*in_class=*/true);
        take(1, in_.substr(at_, 1));
      }
    }
    if (at_ == in_.size()) refuse("[ without ]");
    take(1, "]");
  }

  void group() {
    constexpr std::array<std::string_view, 8> kGroups = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)"};
    std::string_view kind = "(";
    if (next() == '*') refuse("(*");
    if (next() == '?') {
      const auto found = std::find_if(kGroups.begin(), kGroups.end(),
                                      [&](std::string_view group) { return in_.substr(at_).starts_with(group); });
      // A flag without a group holds up to the end of the alternation in one of them, and of the group in the other.
      if (found == kGroups.end() || (*found == "(?i)" && at_ != 0)) refuse(in_.substr(at_, 4));
      kind = *found;
    }
    if (kind == "(?i)") {
      groups_.back().ignores_case = true;
    } else {
      groups_.push_back({groups_.back().ignores_case || kind == "(?i:", out_.size()});
    }
    take(kind.size(), kind);
  }

  void end_of_group() {
    if (groups_.size() == 1) refuse(") without (");
    take(1, ")");
    // They end such repetitions at different times.
    const std::string_view group = std::string_view(out_).substr(groups_.back().begin);
    if (at_ < in_.size() && in_[at_] == '{' && may_match_nothing(group)) refuse("{ after a group that may be empty");
    groups_.pop_back();
  }

  // {n,m} and what may follow it: in Ruby's syntax {n,m}+ repeats the repetition.
  void interval() {
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) refuse("{ without }");
    for (const char c : in_.substr(at_ + 1, end - at_ - 1)) {
      if (!(c >= '0' && c <= '9') && c != ',') refuse("{ that is no number of repetitions");
    }
    if (end == at_ + 1 || in_[at_ + 1] == ',') refuse("{ without a least number of repetitions");
    if (end + 1 < in_.size() && in_[end + 1] == '+') refuse("{n,m}+");
    take(end + 1 - at_, in_.substr(at_, end + 1 - at_));
  }

  std::string_view in_;
  const std::string& place_;
  std::string out_;
  size_t at_ = 0;
  struct Group {
    bool ignores_case;
    size_t begin;  // in out_
  };
  std::vector<Group> groups_ = {{false, 0}};  // those that are open, in the whole
  char last_ = '\0';  // the character before this one, where case is not regarded; groups do not count
};

}  // namespace

std::string pcre_of_oniguruma(std::string_view expression, const std::string& place) {
  base::require<DataError>(expression.size() <= kMaxExpressionBytes, place, ": a regular expression of ",
                           expression.size(), " bytes; at most ", kMaxExpressionBytes, " are taken");
  return Translation(expression, place).run();
}

struct Pattern::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* code;
};

Pattern::Pattern(const std::string& expression, const std::string& place) : place_(place) {
  const std::string translated = pcre_of_oniguruma(expression, place);
  int error = 0;
  pcre2_code* code = compiled(translated, &error);
  base::require<DataError>(code != nullptr, place, ": the regular expression is wrong: ", message_of(error));
  code_ = std::make_unique<Code>(code);
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it (another kind of CPU) it is interpreted
}

Pattern Pattern::literal(const std::string& text, const std::string& place) {
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = byte >= 0x80 || byte == '_' || (byte >= '0' && byte <= '9') ||
                          ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') || byte <= ' ';
    if (!is_plain) escaped += '\\';
    escaped += c;
  }
  return {escaped, place};
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;

struct Pattern::Matches::Memory {
  explicit Memory(const pcre2_code* code) : data(pcre2_match_data_create_from_pattern(code, nullptr)) {
    if (data == nullptr) throw std::bad_alloc();
  }
  ~Memory() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // The system's stack serves ordinary texts.
  void take_a_larger_stack() {
    context = pcre2_match_context_create(nullptr);
    stack = pcre2_jit_stack_create(size_t{1} << 16, kJitStackBytes, nullptr);
    if (context == nullptr || stack == nullptr) throw std::bad_alloc();
    pcre2_jit_stack_assign(context, nullptr, stack);
  }

  pcre2_match_data* data;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
};

Pattern::Matches::Matches(const Pattern& pattern)
    : pattern_(pattern), memory_(std::make_unique<Memory>(pattern.code_->code)) {}
Pattern::Matches::~Matches() = default;

bool Pattern::Matches::find(std::string_view text, size_t at, size_t* begin, size_t* end) {
  const auto match = [&] {
    return pcre2_match(pattern_.code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                       PCRE2_NO_UTF_CHECK, memory_->data, memory_->context);
  };
  int result = match();
  if (result == PCRE2_ERROR_JIT_STACKLIMIT && memory_->stack == nullptr) {
    memory_->take_a_larger_stack();
    result = match();
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  base::require<DataError>(result > 0, pattern_.place_, ": the regular expression gives up on a text of ", text.size(),
                           " bytes: ", message_of(result));
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(memory_->data);
  *begin = offsets[0];
  *end = offsets[1];
  return true;
}

}  // namespace rosa::text
