#include "text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "text/unicode_stand_ins.h"
#include "text/utf8.h"

namespace rosa::text {
namespace {

uint64_t child_key(uint32_t node, char byte) { return uint64_t{node} << 8 | static_cast<unsigned char>(byte); }

// What a word is made of (UTS 18, annex C), and white space.
const Pattern& word_at_begin() {
  static const Pattern pattern("\\A[\\w\\u200c\\u200d]", "a word");
  return pattern;
}
const Pattern& word_at_end() {
  static const Pattern pattern("[\\w\\u200c\\u200d]\\z", "a word");
  return pattern;
}
const Pattern& space_at_begin() {
  static const Pattern pattern("\\A\\s+", "white space");
  return pattern;
}
const Pattern& last_space() {
  static const Pattern pattern("\\A\\s\\z", "white space");
  return pattern;
}

bool matches(const Pattern& pattern, std::string_view character) {
  size_t begin = 0, end = 0;
  std::string buffer;
  return Pattern::Matches(pattern).find(with_stand_ins(character, buffer), 0, &begin, &end);
}

std::string_view first_character(std::string_view text) {
  size_t end = 0;
  if (!text.empty()) next_character(text, end);
  return text.substr(0, end);
}

// The last character of a text that is not empty.
std::string_view last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0u) == 0x80) --at;
  return text.substr(at);
}

bool ends_with_word(std::string_view text) { return !text.empty() && matches(word_at_end(), last_character(text)); }

size_t without_space_at_end(std::string_view text) {
  while (!text.empty() && matches(last_space(), last_character(text))) text.remove_suffix(last_character(text).size());
  return text.size();
}

size_t space_at_begin_of(std::string_view text) {
  size_t begin = 0, end = 0;
  return Pattern::Matches(space_at_begin()).find(text, 0, &begin, &end) ? end : 0;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& written)
    : tokens_(std::move(tokens)), token_of_node_(1, -1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (written[i].empty()) continue;
    begins_[static_cast<unsigned char>(written[i][0])] = true;
    uint32_t node = 0;
    for (const char byte : written[i]) {
      const auto [child, is_new] =
          children_.try_emplace(child_key(node, byte), static_cast<uint32_t>(token_of_node_.size()));
      if (is_new) token_of_node_.push_back(-1);
      node = child->second;
    }
    if (token_of_node_[node] < 0) token_of_node_[node] = static_cast<int32_t>(i);
  }
}

const AddedToken* AddedTokens::longest_at(std::string_view text, size_t at, size_t* end) const {
  const AddedToken* longest = nullptr;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto child = children_.find(child_key(node, text[i]));
    if (child == children_.end()) break;
    node = child->second;
    if (token_of_node_[node] < 0) continue;
    longest = &tokens_[static_cast<size_t>(token_of_node_[node])];
    *end = i + 1;
  }
  return longest;
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool special) const {
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !tokens_.empty();) {
    size_t begin = at, end = 0;
    const AddedToken* token = begins_[static_cast<unsigned char>(text[at])] ? longest_at(text, at, &end) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    at = end;
    if (token->special && !special) continue;
    if (token->single_word &&
        (ends_with_word(text.substr(0, begin)) || matches(word_at_begin(), first_character(text.substr(end))))) {
      continue;
    }
    // White space that the token before has taken is gone.
    if (token->lstrip) begin = begin > done ? done + without_space_at_end(text.substr(done, begin - done)) : done;
    if (token->rstrip) end += space_at_begin_of(text.substr(end));
    // A token that is white space itself may be gone with it.
    if (begin >= end) {
      done = end;
      continue;
    }
    if (done < begin) parts.push_back({text.substr(done, begin - done)});
    parts.push_back({text.substr(begin, end - begin), token});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done)});
  return parts;
}

}  // namespace rosa::text
