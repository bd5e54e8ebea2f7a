// Normalizer: Unicode's normalisation forms (UAX 15) in a row, by utf8proc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rosa::text {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

class Normalizer {
 public:
  // In this order; none: text stays as it is.
  explicit Normalizer(std::vector<NormalForm> forms = {}) : forms_(std::move(forms)) {}

  // `text` is UTF-8. Returns it, or a view of `buffer`, which is overwritten.
  std::string_view operator()(std::string_view text, std::string& buffer) const;

 private:
  std::vector<NormalForm> forms_;
};

}  // namespace rosa::text
