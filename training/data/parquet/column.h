// Which column of a Parquet file holds the documents.
#pragma once

#include <arrow/api.h>
#include <parquet/metadata.h>

#include <memory>
#include <string>
#include <vector>

#include "training/data/parquet_file.h"

namespace rosa::training::parquet {

// A column, or one inside structs.
struct FoundColumn {
  std::vector<std::string> steps;  // names, from the outside
  std::vector<int> leaves;         // its numbers among Parquet's own columns
};

// The column `wanted`, checked to hold what its kind needs. Throws DataError, with the nearest name and those that are
// there.
FoundColumn find_column(const arrow::Schema& schema, const ::parquet::SchemaDescriptor& descriptor,
                        const ParquetColumn& wanted);

// The columns beside a conversation that change what it means (tools, images).
std::vector<FoundColumn> find_refused_columns(const arrow::Schema& schema,
                                              const ::parquet::SchemaDescriptor& descriptor);

}  // namespace rosa::training::parquet
