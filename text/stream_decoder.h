// StreamDecoder: token ids to text as they come, never half a character.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace rosa::text {

// All pieces together are what Tokenizer::decode gives for all ids. Keeps a reference to the tokenizer.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = false);

  // The text that is certain now; bytes of a character whose rest is to come are held back.
  std::string add(int64_t id);
  // What was held back, as decode() ends a text with it.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  const bool skip_special_tokens_;
  std::string torn_;
};

}  // namespace rosa::text
