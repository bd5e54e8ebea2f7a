// librosa_parquet: ParquetFile by Apache Arrow.
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <algorithm>
#include <exception>
#include <numeric>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "training/data/parquet/column.h"
#include "training/data/parquet/values.h"
#include "training/data/parquet_file.h"

namespace rosa::training::parquet {
namespace {

using base::DataError;

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr int64_t kMaxBatchRows = 4096;
// Of what Arrow holds for one file: a small file may claim to unpack to any size.
constexpr int64_t kMaxMemoryBytes = int64_t{4} << 30;
constexpr int64_t kMaxDocumentBytes = int64_t{1} << 30;
constexpr int64_t kReadBytes = int64_t{1} << 20;

// Damage that Arrow found.
[[noreturn]] void refuse(const std::string& reason) {
  constexpr size_t kMaxReasonBytes = 300;
  throw DataError(base::concat("is a damaged Parquet file, or one that is not supported (",
                               base::excerpt(reason, kMaxReasonBytes), ")"));
}

void check(const arrow::Status& status) {
  base::require<DataError>(!status.IsOutOfMemory(), "needs more than ", kMaxMemoryBytes >> 30,
                           " GB for a few of its rows; write it again with smaller pages or shorter rows");
  if (!status.ok()) refuse(status.message());
}

template <class T>
T check(arrow::Result<T> result) {
  check(result.status());
  return std::move(result).ValueUnsafe();
}

// Calls `work`; what it throws names the file.
template <class Work>
auto naming(const std::filesystem::path& path, const Work& work) {
  try {
    try {
      return work();
    } catch (const base::Error&) {
      throw;
    } catch (const std::exception& error) {
      refuse(error.what());
    }
  } catch (const DataError& error) {
    throw DataError(base::concat("'", path.string(), "' ", error.what()));
  }
}

// A column of a batch: its array, and the structs around it.
class Column {
 public:
  Column() = default;
  Column(const arrow::RecordBatch& batch, const FoundColumn& found) {
    array_ = batch.GetColumnByName(found.steps.front());
    for (size_t i = 1; array_ != nullptr && i < found.steps.size(); ++i) {
      outer_.push_back(array_);
      array_ = static_cast<const arrow::StructArray&>(*array_).GetFieldByName(found.steps[i]);
    }
    if (array_ == nullptr) refuse("a column is not where the footer says");
  }

  bool is_null(int64_t row) const {
    for (const auto& array : outer_) {
      if (array->IsNull(row)) return true;
    }
    return parquet::is_null(*array_, row);
  }
  const arrow::Array& array() const { return *array_; }

 private:
  std::vector<std::shared_ptr<arrow::Array>> outer_;
  std::shared_ptr<arrow::Array> array_;
};

class ArrowFile : public ParquetFile {
 public:
  ArrowFile(const ParquetColumn& column, std::shared_ptr<const PackInput> input)
      : column_(column), input_(std::move(input)), pool_(arrow::default_memory_pool(), kMaxMemoryBytes) {
    naming(input_->path, [this] { open(); });
  }

  bool read(RawDocuments& documents) override {
    return naming(input_->path, [&] { return read_rows(documents); });
  }

  double share_read() const override {
    return num_rows_ > 0 ? static_cast<double>(next_row_) / static_cast<double>(num_rows_) : 1.0;
  }

 private:
  void open() {
    ::parquet::ReaderProperties properties(&pool_);
    // Else a column of a row group, which may be gigabytes, is read at once.
    properties.enable_buffered_stream();
    properties.set_buffer_size(kReadBytes);
    properties.set_page_checksum_verification(true);
    ::parquet::arrow::FileReaderBuilder builder;
    check(builder.Open(check(arrow::io::ReadableFile::Open(input_->path.string(), &pool_)), properties));
    const std::shared_ptr<::parquet::FileMetaData> metadata = builder.raw_reader()->metadata();
    num_rows_ = metadata->num_rows();

    ::parquet::ArrowReaderProperties arrow_properties(/*use_threads=*/false);
    std::shared_ptr<arrow::Schema> schema;
    check(::parquet::arrow::FromParquetSchema(metadata->schema(), arrow_properties, metadata->key_value_metadata(),
                                              &schema));
    columns_ = {find_column(*schema, *metadata->schema(), column_)};
    if (column_.kind == DocumentKind::chat_line) {
      for (FoundColumn& found : find_refused_columns(*schema, *metadata->schema())) {
        columns_.push_back(std::move(found));
      }
    }
    std::set<int> leaves;
    for (const FoundColumn& found : columns_) leaves.insert(found.leaves.begin(), found.leaves.end());
    const std::vector<int> wanted(leaves.begin(), leaves.end());

    arrow_properties.set_batch_size(num_batch_rows(*metadata, wanted));
    arrow_properties.set_pre_buffer(false);
    builder.memory_pool(&pool_);
    builder.properties(arrow_properties);
    check(builder.Build(&file_));
    std::vector<int> row_groups(static_cast<size_t>(file_->num_row_groups()));
    std::iota(row_groups.begin(), row_groups.end(), 0);
    batches_ = check(file_->GetRecordBatchReader(row_groups, wanted));
  }

  // So many rows are about a piece.
  static int64_t num_batch_rows(const ::parquet::FileMetaData& metadata, const std::vector<int>& leaves) {
    int64_t num_rows = kMaxBatchRows;
    for (int g = 0; g < metadata.num_row_groups(); ++g) {
      const auto group = metadata.RowGroup(g);
      double num_bytes = 1;
      for (const int leaf : leaves) {
        num_bytes += std::max(0.0, static_cast<double>(group->ColumnChunk(leaf)->total_uncompressed_size()));
      }
      const double share = static_cast<double>(group->num_rows()) / num_bytes;
      num_rows = std::min(num_rows, static_cast<int64_t>(std::clamp(share * kPieceBytes, 1.0, double{kMaxBatchRows})));
    }
    return num_rows;
  }

  bool read_rows(RawDocuments& documents) {
    while (documents.num_bytes() < kPieceBytes) {
      if (batch_ == nullptr || row_ == batch_->num_rows()) {
        if (!read_batch()) return false;
      }
      for (; row_ < batch_->num_rows() && documents.num_bytes() < kPieceBytes; ++row_, ++next_row_) add(documents);
    }
    return true;
  }

  // Whether there was another.
  bool read_batch() {
    read_columns_.clear();
    check(batches_->ReadNext(&batch_));
    row_ = 0;
    if (batch_ == nullptr) {
      if (next_row_ != num_rows_) refuse(base::concat("of ", num_rows_, " rows it holds ", next_row_));
      return false;
    }
    for (const FoundColumn& found : columns_) read_columns_.emplace_back(*batch_, found);
    return true;
  }

  void add(RawDocuments& documents) {
    const Column& column = read_columns_.front();
    if (column.is_null(row_)) {
      ++documents.num_null;
      return;
    }
    const size_t before = documents.num_bytes();
    if (column_.kind == DocumentKind::text) {
      documents.text += string_of(column.array(), row_);
    } else if (column_.kind == DocumentKind::ids) {
      add_ids(column.array(), documents.ids);
    } else {
      add_chat(documents.text);
    }
    base::require<DataError>(documents.num_bytes() - before <= kMaxDocumentBytes, "has a row of more than ",
                             kMaxDocumentBytes >> 20, " MB, row ", next_row_);
    const size_t end = column_.kind == DocumentKind::ids ? documents.ids.size() : documents.text.size();
    documents.documents.push_back({input_, end, next_row_});
  }

  void add_ids(const arrow::Array& lists, std::vector<int64_t>& ids) const {
    const ListItems items = items_of(lists, row_);
    for (int64_t i = items.begin; i < items.end; ++i) {
      int64_t id = -1;
      const bool is_id =
          !items.values->IsNull(i) && integer_of(*items.values, i, id) && id >= 0 && id < int64_t{1} << 32;
      base::require<DataError>(is_id, "has no token id as entry ", i - items.begin, " of row ", next_row_);
      ids.push_back(id);
    }
  }

  // The row as a line: {"messages": ..., "tools": ...}.
  void add_chat(std::string& text) const {
    text += "{\"messages\":";
    append_json(read_columns_.front().array(), row_, text);
    for (size_t i = 1; i < columns_.size(); ++i) {
      if (read_columns_[i].is_null(row_)) continue;
      text += ',';
      append_json(columns_[i].steps.front(), text);
      text += ':';
      append_json(read_columns_[i].array(), row_, text);
    }
    text += '}';
  }

  ParquetColumn column_;
  std::shared_ptr<const PackInput> input_;
  arrow::CappedMemoryPool pool_;
  int64_t num_rows_ = 0;  // as the footer says

  std::vector<FoundColumn> columns_;  // the wanted one, then those that a conversation must not have
  std::unique_ptr<::parquet::arrow::FileReader> file_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::vector<Column> read_columns_;  // of the batch
  int64_t row_ = 0;                   // of the batch
  int64_t next_row_ = 0;
};

}  // namespace
}  // namespace rosa::training::parquet

extern "C" __attribute__((visibility("default"))) rosa::training::ParquetFile* rosa_open_parquet_1(
    const rosa::training::ParquetColumn& column, std::shared_ptr<const rosa::training::PackInput> input) {
  return new rosa::training::parquet::ArrowFile(column, std::move(input));
}
