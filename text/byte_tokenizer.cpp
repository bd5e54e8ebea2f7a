#include <array>

#include "text/tokenizer.h"

namespace rosa::text {
namespace {

constexpr int64_t kNumBytes = 256;

class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() {
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<char>(i);
  }

  using Tokenizer::encode;
  int64_t vocabulary_size() const override { return kNumBytes; }
  const std::string& name() const override { return name_; }
  uint64_t fingerprint() const override { return 0; }
  std::optional<int64_t> end_of_text() const override { return std::nullopt; }
  bool is_bytes() const override { return true; }
  bool is_special(int64_t) const override { return false; }
  bool has_token(int64_t id) const override { return id >= 0 && id < kNumBytes; }
  std::optional<int64_t> id_of(std::string_view) const override { return std::nullopt; }

  void encode(std::string_view text, const EncodeOptions&, std::vector<int64_t>& ids) const override {
    ids.reserve(ids.size() + text.size());
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
  }

  std::string decode(std::span<const int64_t> ids, bool) const override {
    std::string text;
    text.reserve(ids.size());
    for (const int64_t id : ids) text += bytes_of(id);
    return text;
  }

  std::string_view bytes_of(int64_t id) const override {
    return has_token(id) ? std::string_view(bytes_.data() + id, 1) : std::string_view();
  }

 private:
  const std::string name_ = "bytes";
  std::array<char, kNumBytes> bytes_{};
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

}  // namespace rosa::text
