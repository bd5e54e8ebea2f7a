#include "launch/chat_format.h"

#include <algorithm>

#include "base/error.h"

namespace rosa::launch {
namespace {

constexpr const char* kStart = "<|im_start|>";
constexpr const char* kEnd = "<|im_end|>";

}  // namespace

ChatFormat::ChatFormat(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer), end_token_(tokenizer.id_of(kEnd)) {
  base::require<base::ConfigError>(tokenizer.is_bytes() || (end_token_ && tokenizer.id_of(kStart)),
                                   "--chat: the tokenizer ", tokenizer.name(), " has no tokens ", kStart, " and ", kEnd,
                                   "; is this the tokenizer of a chat model? Leave --chat out");
}

std::string ChatFormat::end_text() { return kEnd; }

std::vector<int64_t> ChatFormat::begin(const std::vector<ChatMessage>& messages) const {
  std::vector<int64_t> ids;
  for (const ChatMessage& message : messages) add_message(message, ids);
  add_mark(kStart, ids);
  add_text("assistant\n", ids);
  return ids;
}

std::vector<int64_t> ChatFormat::go_on(const std::vector<int64_t>& conversation,
                                       const std::vector<ChatMessage>& messages) const {
  std::vector<int64_t> end, ids;
  add_mark(kEnd, end);
  const bool has_ended =
      conversation.size() >= end.size() && std::equal(end.rbegin(), end.rend(), conversation.rbegin());
  if (!has_ended) ids = end;
  add_text("\n", ids);
  const std::vector<int64_t> rest = begin(messages);
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

void ChatFormat::add_message(const ChatMessage& message, std::vector<int64_t>& ids) const {
  add_mark(kStart, ids);
  add_text(message.role + '\n' + message.text, ids);
  add_mark(kEnd, ids);
  add_text("\n", ids);
}

void ChatFormat::add_mark(std::string_view mark, std::vector<int64_t>& ids) const {
  if (const std::optional<int64_t> id = tokenizer_.id_of(mark)) {
    ids.push_back(*id);
  } else {
    add_text(mark, ids);
  }
}

void ChatFormat::add_text(std::string_view text, std::vector<int64_t>& ids) const {
  tokenizer_.encode(text, {.add_special_tokens = false, .recognize_special_tokens = false}, ids);
}

}  // namespace rosa::launch
