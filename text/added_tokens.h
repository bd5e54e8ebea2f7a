// AddedTokens: tokens beside the vocabulary that are found in a text as they are written ("<|im_start|>").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/pattern.h"

namespace rosa::text {

struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  // not within a word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // is looked for in the normalised text
};

// Finds some added tokens: at each place the longest. Immutable; one for all threads.
class AddedTokens {
 public:
  // `written`: what each of `tokens` looks like in the text. Of equal ones the first counts.
  AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& written);

  bool empty() const { return tokens_.empty(); }

  struct Part {
    std::string_view text;
    const AddedToken* token = nullptr;  // null: text between tokens
  };
  // Cuts `text` (UTF-8) into parts. Without `special` special tokens are text as any other.
  std::vector<Part> split(std::string_view text, bool special) const;

 private:
  // The longest token at `at`, and where it ends; null where there is none.
  const AddedToken* longest_at(std::string_view text, size_t at, size_t* end) const;

  std::vector<AddedToken> tokens_;
  std::array<bool, 256> begins_{};                   // first bytes
  std::unordered_map<uint64_t, uint32_t> children_;  // of a node and a byte: a trie
  std::vector<int32_t> token_of_node_;               // -1: none ends there
};

}  // namespace rosa::text
