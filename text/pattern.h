// Pattern: a regular expression as Hugging Face's `tokenizers` means it (Oniguruma, Ruby's syntax), matched by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace rosa::text {

class Pattern {
 public:
  // Throws DataError, beginning with `place`, where the expression is wrong, or where PCRE2 could mean something else
  // by it than Oniguruma.
  Pattern(const std::string& expression, const std::string& place);
  // Matches the text itself.
  static Pattern literal(const std::string& text, const std::string& place);
  ~Pattern();
  Pattern(Pattern&&) noexcept;

  // Finds matches one after the other. One for each thread; keeps a reference to the pattern.
  class Matches {
   public:
    explicit Matches(const Pattern& pattern);
    ~Matches();
    Matches(const Matches&) = delete;
    Matches& operator=(const Matches&) = delete;

    // The next match in `text` (UTF-8) that begins at `at` or later. Throws DataError where the search takes more than
    // its limits.
    bool find(std::string_view text, size_t at, size_t* begin, size_t* end);

   private:
    struct Memory;
    const Pattern& pattern_;
    std::unique_ptr<Memory> memory_;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
  std::string place_;
};

// The expression in PCRE2's syntax. Throws DataError as Pattern does; for tests.
std::string pcre_of_oniguruma(std::string_view expression, const std::string& place);

}  // namespace rosa::text
