// Tokenizer: text to token ids and back. One object serves any number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rosa::text {

struct EncodeOptions {
  // Adds what the tokenizer puts around a text (its post-processor), such as a token for its beginning.
  bool add_special_tokens = true;
  // Text that reads like a special token ("<|endoftext|>") becomes that token; else it is text as any other.
  bool recognize_special_tokens = true;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Every id is below it.
  virtual int64_t vocabulary_size() const = 0;
  // What people call it: the last part of its folder's path, or "bytes".
  virtual const std::string& name() const = 0;
  // Tells tokenizers apart: equal for those that give every text the same ids, be their files written differently; the
  // name does not count.
  virtual uint64_t fingerprint() const = 0;
  // The token that ends a text, where it has one.
  virtual std::optional<int64_t> end_of_text() const = 0;
  // Whether ids are bytes: then any bytes are a text, and decode() gives them back as they were.
  virtual bool is_bytes() const = 0;

  // Appends the ids of `text` to `ids`. Bytes that are no UTF-8 count as U+FFFD, unless is_bytes().
  virtual void encode(std::string_view text, const EncodeOptions& options, std::vector<int64_t>& ids) const = 0;
  std::vector<int64_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The text of `ids`; what is no UTF-8 becomes U+FFFD, unless is_bytes(). An id without a token is left out.
  virtual std::string decode(std::span<const int64_t> ids, bool skip_special_tokens = false) const = 0;

  // The bytes that a token stands for within a text: part of a character perhaps. Empty for an id without a token.
  virtual std::string_view bytes_of(int64_t id) const = 0;
  virtual bool is_special(int64_t id) const = 0;
  // Whether some token has the id: a vocabulary may have holes.
  virtual bool has_token(int64_t id) const = 0;
  // The id of an added or special token by its exact content, such as "<|im_end|>".
  virtual std::optional<int64_t> id_of(std::string_view content) const = 0;
};

// A byte is a token; vocabulary 256, no special tokens, fingerprint 0.
std::unique_ptr<Tokenizer> make_byte_tokenizer();

// The tokenizer of a Hugging Face model folder (tokenizer.json and the files beside it), or of a tokenizer.json itself.
// Throws FileError where there is none and DataError, naming file and place, for one that is damaged or asks for what
// is not implemented.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

}  // namespace rosa::text
