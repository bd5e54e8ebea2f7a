// Documents to tokens, in the threads of `rosa data pack`.
#include <span>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/printable.h"
#include "text/utf8.h"
#include "training/data/json_line.h"
#include "training/data/pack_documents.h"

namespace rosa::training {
namespace {

using base::ConfigError;
using base::DataError;

constexpr text::EncodeOptions kPlain{.add_special_tokens = false, .recognize_special_tokens = false};

int64_t required_token(const text::Tokenizer& tokenizer, const char* content) {
  const std::optional<int64_t> id = tokenizer.id_of(content);
  base::require<ConfigError>(id.has_value(), "--format chat needs a tokenizer with the token ", content, ", and '",
                             base::printable(tokenizer.name()), "' has none");
  return *id;
}

std::string place_of(const RawDocuments::Document& document) {
  const char* what = document.input->is_parquet                   ? "', row "
                     : document.input->kind == DocumentKind::text ? "', document at offset "
                     : document.input->kind == DocumentKind::ids  ? "', document "
                                                                  : "', line ";
  return base::concat("'", document.input->path.string(), what, document.place);
}

}  // namespace

std::optional<int64_t> token_to_append(const PackOptions& options) {
  const std::string& wanted = options.append;
  const bool is_text = !options.ids && options.format != PackFormat::chat;
  const bool is_default = wanted.empty();
  if (wanted == "none" || !options.tokenizer) {
    base::require<ConfigError>(wanted == "none" || is_default, "--append needs a tokenizer that has the token");
    return std::nullopt;
  }
  const text::Tokenizer& tokenizer = *options.tokenizer;
  if (is_default && (!is_text || tokenizer.is_bytes())) return std::nullopt;
  // A model for conversations ends its turns, and names the token for that, by another one.
  std::optional<int64_t> id =
      tokenizer.id_of(is_default || wanted == "end-of-text" ? std::string_view("<|endoftext|>") : wanted);
  if (!id && (is_default || wanted == "end-of-text")) id = tokenizer.end_of_text();
  base::require<ConfigError>(id.has_value(), "--append ", is_default ? "end-of-text" : base::printable(wanted),
                             ": the tokenizer '", base::printable(tokenizer.name()),
                             "' has no such token; --append none leaves it out");
  return id;
}

struct DocumentEncoder::Work {
  PackedDocuments packed;
  std::string text;  // of the document, as it is encoded
};

DocumentEncoder::DocumentEncoder(const PackOptions& options) : options_(options), appended_(token_to_append(options)) {
  if (options.format != PackFormat::chat) return;
  turn_start_ = required_token(*options.tokenizer, "<|im_start|>");
  turn_end_ = required_token(*options.tokenizer, "<|im_end|>");
}

// What is no UTF-8 is a text too where bytes are tokens.
void DocumentEncoder::clean(std::string& text, Work& work) const {
  if (options_.tokenizer && options_.tokenizer->is_bytes()) return;
  if (base::is_utf8(text)) return;
  base::require<DataError>(!options_.fail_on_invalid, "it is no UTF-8 (--invalid replace puts U+FFFD there)");
  std::string replaced;
  work.packed.num_invalid += static_cast<int64_t>(text::append_as_utf8(text, replaced));
  text = std::move(replaced);
}

bool DocumentEncoder::is_held_out(std::string_view content) const {
  if (options_.held_out_share <= 0) return false;
  constexpr double kScale = 1.0 / 9007199254740992.0;  // 2^-53
  return static_cast<double>(base::checksum(content) >> 11) * kScale < options_.held_out_share;
}

void DocumentEncoder::encode_text(std::string_view text, Work& work) const {
  options_.tokenizer->encode(
      text, {.add_special_tokens = true, .recognize_special_tokens = options_.recognize_special_tokens},
      work.packed.tokens);
}

// <|im_start|>role\ncontent<|im_end|>\n for each turn. An answer is encoded apart from what stands before it, as it is
// when the model writes it; everything else as one text.
void DocumentEncoder::encode_chat(std::string_view line, Work& work) const {
  std::vector<int64_t>& tokens = work.packed.tokens;
  const auto count_from_here = [&](bool counts) { work.packed.counts.resize(tokens.size(), counts ? 1 : 0); };
  work.text.clear();
  for (const ChatMessage& message : messages_of_line(line)) {
    work.text += base::concat("<|im_start|>", message.role, "\n", message.content, "<|im_end|>\n");
    tokens.push_back(turn_start_);
    if (message.role == "assistant") {
      options_.tokenizer->encode(message.role + "\n", kPlain, tokens);
      count_from_here(false);
      options_.tokenizer->encode(message.content, kPlain, tokens);
    } else {
      options_.tokenizer->encode(message.role + "\n" + message.content, kPlain, tokens);
    }
    tokens.push_back(turn_end_);  // an answer must learn where it ends
    count_from_here(message.counts);
    options_.tokenizer->encode("\n", kPlain, tokens);
    count_from_here(false);
  }
}

void DocumentEncoder::encode_document(const RawDocuments::Document& document, std::string_view raw, Work& work) const {
  PackedDocuments& packed = work.packed;
  const size_t first = packed.tokens.size();
  bool held_out = false;
  const DocumentKind kind = document.input->kind;
  if (kind == DocumentKind::ids_line) {
    const std::vector<int64_t> ids = ids_of_line(raw);
    packed.tokens.insert(packed.tokens.end(), ids.begin(), ids.end());
    work.text.clear();
  } else {
    work.text = raw;
    if (kind != DocumentKind::text) {
      const int64_t num_invalid = replace_invalid(work.text);
      base::require<DataError>(num_invalid == 0 || !options_.fail_on_invalid,
                               "it is no UTF-8 (--invalid replace puts U+FFFD there)");
      packed.num_invalid += num_invalid;
    }
    if (kind == DocumentKind::chat_line) {
      const std::string line = std::exchange(work.text, {});
      encode_chat(line, work);
    } else {
      if (kind == DocumentKind::text_line) work.text = text_of_line(work.text, options_.text_fields);
      clean(work.text, work);
      if (!work.text.empty()) encode_text(work.text, work);
    }
    held_out = is_held_out(work.text);
  }
  if (kind == DocumentKind::ids_line) {
    const auto ids = std::span(packed.tokens).subspan(first);
    held_out = is_held_out({reinterpret_cast<const char*>(ids.data()), ids.size_bytes()});
  }
  add_pieces(first, held_out, static_cast<int64_t>(work.text.size()), packed);
}

// The tokens from `first` on are a document: left out, or cut, or whole.
void DocumentEncoder::add_pieces(size_t first, bool is_held_out, int64_t num_text_bytes,
                                 PackedDocuments& packed) const {
  const size_t size = packed.tokens.size() - first;
  if (size == 0) return;
  for (size_t i = first; i < packed.tokens.size(); ++i) {
    if (packed.tokens[i] < options_.vocabulary_size) continue;
    throw DataError(base::concat("token ", i - first, " of the document is ", packed.tokens[i], ", expected 0 to ",
                                 options_.vocabulary_size - 1, " (the vocabulary size is ", options_.vocabulary_size,
                                 "; --vocabulary-size gives another)"));
  }
  if (size < static_cast<size_t>(options_.min_tokens)) {
    ++packed.num_too_short;
    packed.tokens.resize(first);
    if (!packed.counts.empty()) packed.counts.resize(first);
    return;
  }
  if (appended_) {
    packed.tokens.push_back(*appended_);
    // Behind a conversation nothing is predicted that an answer would need.
    if (options_.format == PackFormat::chat) packed.counts.push_back(0);
  }
  const auto longest = static_cast<size_t>(options_.split_long);
  if (longest > 0 && packed.tokens.size() - first > longest) {
    ++packed.num_split;
    for (size_t end = first + longest; end < packed.tokens.size(); end += longest) {
      packed.documents.push_back({end, is_held_out, 0});
    }
  }
  packed.documents.push_back({packed.tokens.size(), is_held_out, num_text_bytes});
}

PackedDocuments DocumentEncoder::encode(const RawDocuments& documents) const {
  Work work;
  work.packed.num_null = documents.num_null;
  size_t text_start = 0, ids_start = 0;
  for (const RawDocuments::Document& document : documents.documents) {
    try {
      if (document.input->kind == DocumentKind::ids) {
        const auto ids = std::span(documents.ids).subspan(ids_start, document.end - ids_start);
        const size_t first = work.packed.tokens.size();
        work.packed.tokens.insert(work.packed.tokens.end(), ids.begin(), ids.end());
        add_pieces(first, is_held_out({reinterpret_cast<const char*>(ids.data()), ids.size_bytes()}), 0, work.packed);
        ids_start = document.end;
      } else {
        encode_document(document, std::string_view(documents.text).substr(text_start, document.end - text_start), work);
        text_start = document.end;
      }
    } catch (const DataError& error) {
      std::string_view what = error.what();
      // Of the line that was made of a row nobody knows the columns.
      if (document.input->is_parquet && what.starts_with("column ")) what.remove_prefix(what.find(": ") + 2);
      throw DataError(base::concat(place_of(document), ": ", what));
    }
  }
  return std::move(work.packed);
}

}  // namespace rosa::training
