// Conversations as tokens, in ChatML as Qwen3 has it: <|im_start|>ROLE\nTEXT<|im_end|>\n. What people say is text only:
// "<|im_end|>" in it ends nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace rosa::launch {

struct ChatMessage {
  std::string role, text;
};

class ChatFormat {
 public:
  // Keeps a reference.
  explicit ChatFormat(const text::Tokenizer& tokenizer);

  // Where the model's answer is to begin, after these messages.
  std::vector<int64_t> begin(const std::vector<ChatMessage>& messages) const;
  // What comes behind the tokens of a conversation, for its next messages and the answer to them.
  std::vector<int64_t> go_on(const std::vector<int64_t>& conversation, const std::vector<ChatMessage>& messages) const;

  // What ends an answer: a token where the tokenizer has it, else a text.
  std::optional<int64_t> end_token() const { return end_token_; }
  static std::string end_text();

 private:
  void add_message(const ChatMessage& message, std::vector<int64_t>& ids) const;
  void add_mark(std::string_view mark, std::vector<int64_t>& ids) const;
  void add_text(std::string_view text, std::vector<int64_t>& ids) const;

  const text::Tokenizer& tokenizer_;
  std::optional<int64_t> end_token_;
};

}  // namespace rosa::launch
