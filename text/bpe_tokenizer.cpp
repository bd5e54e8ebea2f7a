#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/byte_level.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"
#include "text/utf8.h"

namespace rosa::text {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
constexpr const char* kEndOfText = "<|endoftext|>";

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(TokenizerFile file, std::string name)
      : name_(std::move(name)),
        fingerprint_(file.fingerprint),
        normalizer_(file.normal_forms),
        steps_(std::move(file.steps)),
        ids_before_(std::move(file.ids_before)),
        ids_after_(std::move(file.ids_after)),
        raw_(chosen(file.added_tokens, /*normalized=*/false)),
        normalized_(chosen(file.added_tokens, /*normalized=*/true)),
        bpe_(with_ids(file)) {
    for (const auto& [token, id] : file.vocabulary) put(id, bytes_of_token(token));
    for (const AddedToken& token : file.added_tokens) {
      const std::string decoded = written(token);
      put(token.id, bytes_of_token(decoded));
      id_of_added_.emplace(token.content, token.id);
      // As in the reference: where the normal form is another text, it is none of the special tokens' texts.
      is_special_[static_cast<size_t>(token.id)] =
          std::any_of(file.added_tokens.begin(), file.added_tokens.end(),
                      [&](const AddedToken& other) { return other.special && other.content == decoded; });
    }
    for (const auto& [token, id] : file.vocabulary) {
      if (token == kEndOfText) end_of_text_ = id;
    }
    if (const auto id = id_of(kEndOfText)) end_of_text_ = id;
  }

  using Tokenizer::encode;
  int64_t vocabulary_size() const override { return static_cast<int64_t>(bytes_.size()); }
  const std::string& name() const override { return name_; }
  uint64_t fingerprint() const override { return fingerprint_; }
  std::optional<int64_t> end_of_text() const override { return end_of_text_; }
  bool is_bytes() const override { return false; }

  // Where there is no <|endoftext|>.
  void end_texts_with(int64_t id) {
    if (!end_of_text_ && has_token(id)) end_of_text_ = id;
  }

  void encode(std::string_view text, const EncodeOptions& options, std::vector<int64_t>& ids) const override {
    std::string valid, buffer;
    if (!is_utf8(text)) {
      append_as_utf8(text, valid);
      text = valid;
    }
    if (options.add_special_tokens) ids.insert(ids.end(), ids_before_.begin(), ids_before_.end());
    PreTokenizer pre_tokenizer(steps_);
    for (const AddedTokens::Part& part : raw_.split(text, options.recognize_special_tokens)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
        continue;
      }
      for (const AddedTokens::Part& inner :
           normalized_.split(normalizer_(part.text, buffer), options.recognize_special_tokens)) {
        if (inner.token != nullptr) {
          ids.push_back(inner.token->id);
        } else {
          pre_tokenizer(inner.text, [&](std::string_view piece) { bpe_.encode(piece, ids); });
        }
      }
    }
    if (options.add_special_tokens) ids.insert(ids.end(), ids_after_.begin(), ids_after_.end());
  }

  std::string decode(std::span<const int64_t> ids, bool skip_special_tokens) const override {
    std::string bytes, text;
    for (const int64_t id : ids) {
      if (!(skip_special_tokens && is_special(id))) bytes += bytes_of(id);
    }
    if (is_utf8(bytes)) return bytes;
    append_as_utf8(bytes, text);
    return text;
  }

  std::string_view bytes_of(int64_t id) const override {
    return is_in_range(id) ? std::string_view(bytes_[static_cast<size_t>(id)]) : std::string_view();
  }
  bool is_special(int64_t id) const override { return is_in_range(id) && is_special_[static_cast<size_t>(id)]; }
  bool has_token(int64_t id) const override { return is_in_range(id) && has_token_[static_cast<size_t>(id)]; }

  std::optional<int64_t> id_of(std::string_view content) const override {
    const auto found = id_of_added_.find(std::string(content));
    return found == id_of_added_.end() ? std::nullopt : std::optional<int64_t>(found->second);
  }

 private:
  // What a token that is not of the byte-level alphabet is decoded to: itself.
  static std::string bytes_of_token(const std::string& token) { return bytes_of_characters(token).value_or(token); }

  static BpeVocabulary with_ids(TokenizerFile& file) {
    for (const auto& [token, id] : file.vocabulary) {
      if (auto bytes = bytes_of_characters(token)) file.bpe.ids.emplace(std::move(*bytes), id);
    }
    return std::move(file.bpe);
  }

  // What an added token looks like in a text, and is decoded to.
  std::string written(const AddedToken& token) const {
    std::string buffer;
    return std::string(token.normalized ? normalizer_(token.content, buffer) : std::string_view(token.content));
  }

  AddedTokens chosen(const std::vector<AddedToken>& tokens, bool normalized) const {
    std::vector<AddedToken> found;
    std::copy_if(tokens.begin(), tokens.end(), std::back_inserter(found),
                 [&](const AddedToken& token) { return token.normalized == normalized; });
    std::vector<std::string> texts;
    for (const AddedToken& token : found) texts.push_back(written(token));
    return {std::move(found), texts};
  }

  bool is_in_range(int64_t id) const { return id >= 0 && id < vocabulary_size(); }

  void put(int64_t id, std::string bytes) {
    const auto at = static_cast<size_t>(id);
    if (at >= bytes_.size()) {
      bytes_.resize(at + 1);
      has_token_.resize(at + 1, false);
      is_special_.resize(at + 1, false);
    }
    bytes_[at] = std::move(bytes);
    has_token_[at] = true;
  }

  const std::string name_;
  const uint64_t fingerprint_;
  const Normalizer normalizer_;
  const std::vector<PreTokenizerStep> steps_;
  const std::vector<int64_t> ids_before_, ids_after_;
  const AddedTokens raw_, normalized_;
  const ByteBpe bpe_;
  std::vector<std::string> bytes_;  // by id
  std::vector<bool> has_token_, is_special_;
  std::unordered_map<std::string, int64_t> id_of_added_;
  std::optional<int64_t> end_of_text_;
};

// The eos_token of tokenizer_config.json, or the first eos_token_id of the others.
std::optional<int64_t> end_of_text_beside(const fs::path& folder, const Tokenizer& tokenizer) {
  if (const fs::path path = folder / "tokenizer_config.json"; fs::exists(path)) {
    const nlohmann::json text = base::read_json(path, kMaxConfigBytes);
    const base::JsonFields fields(text, path.string());
    const bool is_object = fields.has("eos_token") && text.at("eos_token").is_object();
    const auto content = is_object ? fields.object("eos_token")->text("content") : fields.text("eos_token");
    if (content) {
      if (const auto id = tokenizer.id_of(*content)) return id;
    }
  }
  for (const char* name : {"config.json", "generation_config.json"}) {
    const fs::path path = folder / name;
    if (!fs::exists(path)) continue;
    const nlohmann::json text = base::read_json(path, kMaxConfigBytes);
    const base::JsonFields fields(text, path.string());
    if (!fields.has("eos_token_id")) continue;
    if (!text.at("eos_token_id").is_array()) return fields.integer("eos_token_id");
    const std::vector<int64_t> ids = fields.integers("eos_token_id");
    if (!ids.empty()) return ids.front();
  }
  return std::nullopt;
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  const bool is_folder = fs::is_directory(path);
  const fs::path file = is_folder ? path / "tokenizer.json" : path;
  base::require<base::FileError>(fs::exists(file), "'", file.string(), "' does not exist: expected a Hugging Face ",
                                 "model folder with a tokenizer.json, or such a file");
  const fs::path folder = fs::absolute(file).lexically_normal().parent_path();
  auto tokenizer = std::make_unique<BpeTokenizer>(read_tokenizer_file(file), folder.filename().string());
  if (!tokenizer->end_of_text()) {
    if (const auto id = end_of_text_beside(folder, *tokenizer)) tokenizer->end_texts_with(*id);
  }
  return tokenizer;
}

}  // namespace rosa::text
