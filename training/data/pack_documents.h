// What lies between the reader of `rosa data pack`, the threads that make tokens, and its writer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "training/data/pack.h"

namespace rosa::training {

// What the documents of an input are.
enum class DocumentKind { text, text_line, chat_line, ids_line, ids };

struct PackInput {
  std::filesystem::path path;
  DocumentKind kind = DocumentKind::text;
  bool is_parquet = false;
};

// Some documents as they were read: a piece of work for one thread.
struct RawDocuments {
  struct Document {
    std::shared_ptr<const PackInput> input;
    size_t end = 0;     // in `text`; for kind ids: in `ids`
    int64_t place = 0;  // offset of a text, number of a line, a row or a sequence, in its input
  };
  std::string text;
  std::vector<int64_t> ids;
  std::vector<Document> documents;
  int64_t num_null = 0;  // rows without a value, which are no documents

  size_t num_bytes() const { return text.size() + ids.size() * sizeof(int64_t); }
};

// The same as tokens.
struct PackedDocuments {
  struct Document {
    size_t end = 0;  // in `tokens`
    bool is_held_out = false;
    int64_t num_text_bytes = 0;  // that it was made of
  };
  std::vector<int64_t> tokens;
  std::vector<uint8_t> counts;  // beside the tokens, for conversations; else empty
  std::vector<Document> documents;
  int64_t num_invalid = 0, num_null = 0, num_too_short = 0, num_split = 0;
};

// Makes tokens of documents. Any number of threads may use one.
class DocumentEncoder {
 public:
  // Throws ConfigError where the tokenizer lacks a token that is needed.
  explicit DocumentEncoder(const PackOptions& options);

  // Throws DataError naming file and place.
  PackedDocuments encode(const RawDocuments& documents) const;

 private:
  struct Work;

  void encode_document(const RawDocuments::Document& document, std::string_view text, Work& work) const;
  void encode_text(std::string_view text, Work& work) const;
  void encode_chat(std::string_view line, Work& work) const;
  bool is_held_out(std::string_view content) const;
  void clean(std::string& text, Work& work) const;
  void add_pieces(size_t first, bool is_held_out, int64_t num_text_bytes, PackedDocuments& packed) const;

  const PackOptions& options_;
  std::optional<int64_t> appended_;
  int64_t turn_start_ = -1, turn_end_ = -1;  // <|im_start|>, <|im_end|>
};

// Cuts inputs into documents.
class DocumentReader {
 public:
  // Throws FileError.
  DocumentReader(const PackOptions& options, const std::vector<std::filesystem::path>& files);
  ~DocumentReader();

  // The next documents, a megabyte or so, or one that is larger; none at the end. Throws FileError and DataError.
  std::optional<RawDocuments> next();
  int64_t num_bytes() const;
  int64_t num_bytes_total() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace rosa::training
