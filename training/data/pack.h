// Making token files: the library side of `rosa data pack`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace rosa::training {

enum class PackFormat {
  unnamed,  // by name and content: jsonl or text; what looks like something else is refused with what to do
  text,     // whole files, or what stands between separators
  jsonl,    // a line is an object with a text
  chat,     // a line is {"messages": [...]}
};

struct PackProgress {
  int64_t num_bytes = 0, num_bytes_total = 0;  // of the input files, as they lie there; total 0: unknown
  int64_t num_documents = 0, num_tokens = 0;
};

struct PackOptions {
  std::vector<std::filesystem::path> inputs;  // files, folders, or pipes such as /dev/stdin
  std::filesystem::path output;
  PackFormat format = PackFormat::unnamed;
  // Lines or Megatron-LM's files of token ids instead of text.
  bool ids = false;
  // Of a text; of ids the one that they are said to come from, or null.
  std::shared_ptr<const text::Tokenizer> tokenizer;
  int64_t vocabulary_size = 0;  // every id is below it; 0: the tokenizer's

  std::string separator;                            // text: stands between documents and belongs to none; empty: a file
  std::vector<std::string> text_fields = {"text"};  // jsonl: the first of them that a line has
  std::string parquet_column;             // Parquet: "a.b" is b of the struct a; empty: text, input_ids or messages
  std::filesystem::path parquet_library;  // librosa_parquet.so; where it isn't, Parquet files are refused
  bool recognize_special_tokens = false;  // text that reads like a special token becomes it
  bool fail_on_invalid = false;           // for bytes that are no UTF-8; else they become U+FFFD
  std::string append = "";  // end-of-text, none, or a special token; empty: end-of-text of a text with a tokenizer
  int64_t min_tokens = 0;   // shorter documents are left out (what is appended does not count)
  int64_t split_long = 0;   // longer documents are cut into such of so many tokens; 0: never
  std::optional<uint64_t> shuffle_seed;  // the order of the documents is drawn
  double held_out_share = 0;             // of the documents, by the hash of their text: into held_out_output
  std::filesystem::path held_out_output;

  int num_threads = 1;  // that make tokens; what is written does not depend on it
  std::function<void(const PackProgress&)> on_progress = {};
  std::function<bool()> should_stop = {};  // asked between pieces of work; true ends it with PackStopped
};

struct PackResult {
  int64_t num_documents = 0, num_tokens = 0, token_width_bytes = 0, vocabulary_size = 0;  // written, without held-out
  int64_t num_held_out_documents = 0, num_held_out_tokens = 0;
  int64_t num_text_bytes = 0;
  int64_t num_invalid = 0;    // places that were no UTF-8
  int64_t num_null = 0;       // rows of Parquet files without a value, which are no documents
  int64_t num_too_short = 0;  // documents below min_tokens
  int64_t num_split = 0;      // documents that were cut
  int64_t num_counted = 0;    // tokens that count in the loss
  bool has_loss_mask = false;
};

// should_stop said so: no output is left.
class PackStopped : public base::Error {
 public:
  using base::Error::Error;
};

// Writes options.output (and held_out_output) atomically. Memory does not grow with the inputs, but a document must fit
// into it. Throws FileError, ConfigError for options that do not fit each other, and DataError naming file and line or
// offset where an input does not fit; then no output is left. A token file is never an input.
PackResult pack(const PackOptions& options);

// The files that `inputs` stand for: folders are walked, in the order of names, without what begins with a dot; a file
// or folder that is met again within one is left out. Throws FileError, and DataError for a folder without files.
std::vector<std::filesystem::path> files_of(const std::vector<std::filesystem::path>& inputs);

// What `append` stands for. Throws ConfigError where the tokenizer has no such token.
std::optional<int64_t> token_to_append(const PackOptions& options);

}  // namespace rosa::training
