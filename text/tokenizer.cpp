#include "text/tokenizer.h"

namespace rosa::text {

std::vector<int64_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<int64_t> ids;
  encode(text, options, ids);
  return ids;
}

}  // namespace rosa::text
