// What a Hugging Face tokenizer.json asks for, as far as it is implemented. What is not is refused by its name and
// place: there is no tokenizer that is nearly right.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace rosa::text {

struct TokenizerFile {
  std::vector<NormalForm> normal_forms;
  std::vector<PreTokenizerStep> steps;
  std::unordered_map<std::string, int32_t> vocabulary;  // as written: characters of the byte-level alphabet
  BpeVocabulary bpe;                                    // `ids` is empty: it follows from `vocabulary`
  std::vector<AddedToken> added_tokens;                 // ids as the file has them
  std::vector<int64_t> ids_before, ids_after;           // what stands around a text
  uint64_t fingerprint = 0;                             // of all of it, however it was written
};

// Throws FileError, and DataError naming file and place.
TokenizerFile read_tokenizer_file(const std::filesystem::path& path);

}  // namespace rosa::text
