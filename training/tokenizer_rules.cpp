#include "training/tokenizer_rules.h"

#include <filesystem>
#include <system_error>

#include "base/checksum.h"
#include "base/error.h"
#include "base/printable.h"

namespace rosa::training {
namespace {

using base::concat;
using base::printable;

// A vocabulary of so many tokens is hardly one of bytes.
constexpr int64_t kManyWords = 1024;
constexpr const char* kAccept = "data.accept_other_tokenizer: true takes the data all the same";

}  // namespace

TokenizerRules::TokenizerRules(const RunConfig& config, bool has_folder, int64_t vocab_size)
    : folder_(has_folder && !config.data.accept_other_tokenizer ? config.model.folder : ""), vocab_size_(vocab_size) {
  std::error_code error;
  has_tokenizer_ =
      !folder_.empty() && std::filesystem::exists(std::filesystem::path(folder_) / "tokenizer.json", error);
}

TokenizerRules::~TokenizerRules() = default;

std::string TokenizerRules::trouble_with_bytes() const {
  if (!has_tokenizer_ && vocab_size_ < kManyWords) return "";
  return concat("the data's tokens are bytes, but the model in ", printable(folder_), " knows ", vocab_size_, " tokens",
                has_tokenizer_ ? " of a tokenizer of its own" : "",
                "; pack the text with `rosa data pack --tokenizer` and take data.kind token_file, or ", kAccept);
}

std::string TokenizerRules::trouble_with(const DataSource& data) {
  const auto mark = data.tokenizer();
  if (folder_.empty() || !mark) return "";
  if (mark->is_bytes) return trouble_with_bytes();
  if (!has_tokenizer_) return "";
  if (!tokenizer_) {
    try {
      tokenizer_ = text::load_tokenizer(folder_);
    } catch (const base::DataError& error) {
      throw base::DataError(concat(error.what(), "; the data's tokenizer can't be compared with it: ", kAccept));
    }
  }
  if (tokenizer_->fingerprint() == mark->fingerprint) return "";
  return concat("the data was packed with the tokenizer '", printable(mark->name), "' (fingerprint ",
                base::to_hex(mark->fingerprint), "), but that of the model, in ", printable(folder_),
                ", has the fingerprint ", base::to_hex(tokenizer_->fingerprint()),
                "; pack the text again with --tokenizer ", printable(folder_), ", or ", kAccept);
}

}  // namespace rosa::training
