// ParquetFile: the documents of one column of a Parquet file. Apache Arrow reads it, in a library of its own,
// librosa_parquet, that is loaded when the first such file is met: docs/dependencies.md says why.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "training/data/pack_documents.h"

namespace rosa::training {

struct ParquetColumn {
  std::string name;  // "a.b": b of the struct a
  // text: of strings; ids: lists of integers; chat_line: lists of structs, which become {"messages": [...]}.
  DocumentKind kind = DocumentKind::text;
};

class ParquetFile {
 public:
  virtual ~ParquetFile() = default;

  // Appends rows as documents, a megabyte or so, or one row that is larger. Returns whether there may be more. A row
  // without a value is counted as null, and its number, from 0 on, is every other document's place. Throws DataError
  // naming the file.
  virtual bool read(RawDocuments& documents) = 0;
  // Of its rows, 0 to 1.
  virtual double share_read() const = 0;
};

// Opens `input`, whose kind is the column's, by the library at the path `library`. Throws ConfigError where that is
// missing or cannot be loaded, and DataError for a file that is damaged, or a column that is not there or holds
// something else.
std::unique_ptr<ParquetFile> open_parquet(const std::filesystem::path& library, const ParquetColumn& column,
                                          std::shared_ptr<const PackInput> input);

// What the library exports, under the name kOpenParquet. A change of any type above is a new name.
using OpenParquet = ParquetFile*(const ParquetColumn& column, std::shared_ptr<const PackInput> input);
inline constexpr const char* kOpenParquet = "rosa_open_parquet_1";

}  // namespace rosa::training
