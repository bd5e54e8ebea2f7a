#include "text/stream_decoder.h"

#include "text/utf8.h"

namespace rosa::text {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

std::string StreamDecoder::add(int64_t id) {
  if (skip_special_tokens_ && tokenizer_.is_special(id)) return {};
  if (tokenizer_.is_bytes()) return std::string(tokenizer_.bytes_of(id));
  torn_ += tokenizer_.bytes_of(id);
  const size_t whole = torn_.size() - torn_size(torn_);
  std::string text;
  append_as_utf8(std::string_view(torn_).substr(0, whole), text);
  torn_.erase(0, whole);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  append_as_utf8(torn_, text);
  torn_.clear();
  return text;
}

}  // namespace rosa::text
