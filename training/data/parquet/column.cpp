#include "training/data/parquet/column.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/nearest_name.h"
#include "base/printable.h"
#include "training/data/json_line.h"
#include "training/data/parquet/values.h"

namespace rosa::training::parquet {
namespace {

using base::DataError;
using Fields = std::vector<std::shared_ptr<arrow::Field>>;

constexpr size_t kMaxNameBytes = 100;
constexpr size_t kMaxTypeBytes = 200;

std::string shown(const std::string& name) { return base::excerpt(name, kMaxNameBytes); }

// Finds the field, and appends the names that lead to it. A name may hold dots itself.
const arrow::Field* find_field(const Fields& fields, std::string_view name, std::vector<std::string>& steps) {
  for (size_t end = name.size(); end != name.npos && end > 0; end = name.rfind('.', end - 1)) {
    const std::string_view head = name.substr(0, end);
    const auto is_it = [head](const auto& field) { return field->name() == head; };
    const auto field = std::find_if(fields.begin(), fields.end(), is_it);
    if (field == fields.end()) continue;
    base::require<DataError>(std::none_of(field + 1, fields.end(), is_it), "has two columns '",
                             shown(std::string(head)), "'");
    steps.emplace_back(head);
    if (end == name.size()) return field->get();
    const bool is_struct = (*field)->type()->id() == arrow::Type::STRUCT;
    const arrow::Field* inner =
        is_struct ? find_field((*field)->type()->fields(), name.substr(end + 1), steps) : nullptr;
    if (inner != nullptr) return inner;
    steps.pop_back();
  }
  return nullptr;
}

// "a", and "b.c" for a struct.
void append_names(const Fields& fields, const std::string& prefix, std::vector<std::string>& names) {
  for (const auto& field : fields) {
    const std::string name = prefix + field->name();
    if (field->type()->id() == arrow::Type::STRUCT) {
      append_names(field->type()->fields(), name + ".", names);
    } else {
      names.push_back(name);
    }
  }
}

[[noreturn]] void refuse_missing(const arrow::Schema& schema, const std::string& name) {
  constexpr size_t kMaxNames = 30;
  std::vector<std::string> names;
  append_names(schema.fields(), "", names);
  const std::string nearest = base::nearest_name(name, names);
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kMaxNames); ++i) {
    list += base::concat(i > 0 ? ", " : "", shown(names[i]));
  }
  if (names.size() > kMaxNames) list += base::concat(" and ", names.size() - kMaxNames, " more");
  const std::string meant = nearest.empty() ? "" : base::concat("; did you mean '", shown(nearest), "'?");
  throw DataError(base::concat("has no column '", shown(name), "'", meant, "; it has ", names.empty() ? "none" : list,
                               " (--text-column names one)"));
}

void check_type(const arrow::DataType& type, const ParquetColumn& wanted) {
  const auto require = [&](bool good, const char* expected) {
    base::require<DataError>(good, "has in its column '", shown(wanted.name), "' ",
                             base::excerpt(type.ToString(), kMaxTypeBytes), ", expected ", expected,
                             " (--text-column names another)");
  };
  if (wanted.kind == DocumentKind::text) return require(holds_strings(type), "strings");
  if (wanted.kind == DocumentKind::ids) {
    return require(holds_lists(type) && holds_integers(item_type(type)), "lists of integers (--ids)");
  }
  require(holds_lists(type) && item_type(type).id() == arrow::Type::STRUCT,
          "lists of structs with role and content (--format chat)");
  const arrow::DataType* strange = first_without_json(type);
  base::require<DataError>(strange == nullptr, "has in its column '", shown(wanted.name), "' a part of type ",
                           strange == nullptr ? "" : base::excerpt(strange->ToString(), kMaxTypeBytes),
                           ", which is not supported in conversations");
}

std::vector<int> leaves_of(const ::parquet::SchemaDescriptor& descriptor, const std::vector<std::string>& steps) {
  std::vector<int> leaves;
  for (int i = 0; i < descriptor.num_columns(); ++i) {
    const std::vector<std::string> path = descriptor.Column(i)->path()->ToDotVector();
    const bool is_below = path.size() >= steps.size() && std::equal(steps.begin(), steps.end(), path.begin());
    if (is_below) leaves.push_back(i);
  }
  return leaves;
}

}  // namespace

FoundColumn find_column(const arrow::Schema& schema, const ::parquet::SchemaDescriptor& descriptor,
                        const ParquetColumn& wanted) {
  FoundColumn found;
  const arrow::Field* field = find_field(schema.fields(), wanted.name, found.steps);
  if (field == nullptr) refuse_missing(schema, wanted.name);
  check_type(*field->type(), wanted);
  found.leaves = leaves_of(descriptor, found.steps);
  return found;
}

std::vector<FoundColumn> find_refused_columns(const arrow::Schema& schema,
                                              const ::parquet::SchemaDescriptor& descriptor) {
  std::vector<FoundColumn> found;
  for (const char* key : kRefusedChatKeys) {
    if (schema.GetFieldByName(key) == nullptr) continue;
    found.push_back({{key}, leaves_of(descriptor, {key})});
  }
  return found;
}

}  // namespace rosa::training::parquet
