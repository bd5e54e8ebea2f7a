#include "launch/model_tokenizer.h"

#include <system_error>

namespace rosa::launch {

std::unique_ptr<text::Tokenizer> find_model_tokenizer(const std::filesystem::path& folder, int64_t vocab_size) {
  std::error_code ignored;
  if (std::filesystem::exists(folder / "tokenizer.json", ignored)) return text::load_tokenizer(folder);
  std::unique_ptr<text::Tokenizer> bytes = text::make_byte_tokenizer();
  return vocab_size <= bytes->vocabulary_size() ? std::move(bytes) : nullptr;
}

}  // namespace rosa::launch
