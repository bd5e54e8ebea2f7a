#include "training/data/parquet/values.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <type_traits>

namespace rosa::training::parquet {
namespace {

using arrow::Type;

// Calls `use` with the array as what it is.
template <class Use>
void with_integers(const arrow::Array& array, const Use& use) {
  switch (array.type_id()) {
    case Type::INT8:
      return use(static_cast<const arrow::Int8Array&>(array));
    case Type::INT16:
      return use(static_cast<const arrow::Int16Array&>(array));
    case Type::INT32:
      return use(static_cast<const arrow::Int32Array&>(array));
    case Type::INT64:
      return use(static_cast<const arrow::Int64Array&>(array));
    case Type::UINT8:
      return use(static_cast<const arrow::UInt8Array&>(array));
    case Type::UINT16:
      return use(static_cast<const arrow::UInt16Array&>(array));
    case Type::UINT32:
      return use(static_cast<const arrow::UInt32Array&>(array));
    default:
      return use(static_cast<const arrow::UInt64Array&>(array));
  }
}

template <class Number>
void append_number(Number number, std::string& json) {
  std::array<char, 40> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  json.append(digits.data(), end);
}

void append_float(double number, std::string& json) {
  if (std::isfinite(number)) {
    append_number(number, json);
  } else {
    json += "null";
  }
}

void append_list(const arrow::Array& array, int64_t row, std::string& json) {
  const ListItems items = items_of(array, row);
  json += '[';
  for (int64_t i = items.begin; i < items.end; ++i) {
    if (i > items.begin) json += ',';
    append_json(*items.values, i, json);
  }
  json += ']';
}

void append_struct(const arrow::Array& array, int64_t row, std::string& json) {
  const auto& structs = static_cast<const arrow::StructArray&>(array);
  json += '{';
  bool is_first = true;
  for (int i = 0; i < structs.num_fields(); ++i) {
    const arrow::Array& field = *structs.field(i);
    if (is_null(field, row)) continue;
    if (!is_first) json += ',';
    is_first = false;
    append_json(structs.struct_type()->field(i)->name(), json);
    json += ':';
    append_json(field, row, json);
  }
  json += '}';
}

}  // namespace

bool holds_strings(const arrow::DataType& type) {
  if (type.id() == Type::DICTIONARY)
    return holds_strings(*static_cast<const arrow::DictionaryType&>(type).value_type());
  return type.id() == Type::STRING || type.id() == Type::LARGE_STRING || type.id() == Type::STRING_VIEW;
}

bool holds_integers(const arrow::DataType& type) { return arrow::is_integer(type.id()); }

bool holds_lists(const arrow::DataType& type) {
  return type.id() == Type::LIST || type.id() == Type::LARGE_LIST || type.id() == Type::FIXED_SIZE_LIST;
}

const arrow::DataType& item_type(const arrow::DataType& list) {
  return *static_cast<const arrow::BaseListType&>(list).value_type();
}

const arrow::DataType* first_without_json(const arrow::DataType& type) {
  if (holds_lists(type)) return first_without_json(item_type(type));
  if (type.id() == Type::STRUCT) {
    for (const auto& field : type.fields()) {
      if (const auto* found = first_without_json(*field->type())) return found;
    }
    return nullptr;
  }
  const bool is_known = holds_strings(type) || holds_integers(type) || type.id() == Type::BOOL ||
                        type.id() == Type::FLOAT || type.id() == Type::DOUBLE || type.id() == Type::NA;
  return is_known ? nullptr : &type;
}

bool is_null(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return true;
  if (array.type_id() != Type::DICTIONARY) return false;
  const auto& encoded = static_cast<const arrow::DictionaryArray&>(array);
  return encoded.dictionary()->IsNull(encoded.GetValueIndex(row));
}

std::string_view string_of(const arrow::Array& strings, int64_t row) {
  switch (strings.type_id()) {
    case Type::DICTIONARY: {
      const auto& encoded = static_cast<const arrow::DictionaryArray&>(strings);
      return string_of(*encoded.dictionary(), encoded.GetValueIndex(row));
    }
    case Type::LARGE_STRING:
      return static_cast<const arrow::LargeStringArray&>(strings).GetView(row);
    case Type::STRING_VIEW:
      return static_cast<const arrow::StringViewArray&>(strings).GetView(row);
    default:
      return static_cast<const arrow::StringArray&>(strings).GetView(row);
  }
}

ListItems items_of(const arrow::Array& lists, int64_t row) {
  const auto items = [row](const auto& array) {
    return ListItems{array.values().get(), array.value_offset(row), array.value_offset(row) + array.value_length(row)};
  };
  switch (lists.type_id()) {
    case Type::LARGE_LIST:
      return items(static_cast<const arrow::LargeListArray&>(lists));
    case Type::FIXED_SIZE_LIST:
      return items(static_cast<const arrow::FixedSizeListArray&>(lists));
    default:
      return items(static_cast<const arrow::ListArray&>(lists));
  }
}

bool integer_of(const arrow::Array& integers, int64_t row, int64_t& value) {
  bool fits = true;
  with_integers(integers, [&](const auto& array) {
    const auto number = array.Value(row);
    if constexpr (std::is_same_v<decltype(number), const uint64_t>) {
      fits = number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    }
    value = static_cast<int64_t>(number);
  });
  return fits;
}

void append_json(const arrow::Array& array, int64_t row, std::string& json) {
  const arrow::DataType& type = *array.type();
  if (is_null(array, row)) {
    json += "null";
  } else if (holds_strings(type)) {
    append_json(string_of(array, row), json);
  } else if (holds_integers(type)) {
    with_integers(array, [&](const auto& integers) { append_number(integers.Value(row), json); });
  } else if (holds_lists(type)) {
    append_list(array, row, json);
  } else if (type.id() == Type::STRUCT) {
    append_struct(array, row, json);
  } else if (type.id() == Type::BOOL) {
    json += static_cast<const arrow::BooleanArray&>(array).Value(row) ? "true" : "false";
  } else if (type.id() == Type::FLOAT) {
    append_float(static_cast<const arrow::FloatArray&>(array).Value(row), json);
  } else {
    append_float(static_cast<const arrow::DoubleArray&>(array).Value(row), json);
  }
}

void append_json(std::string_view text, std::string& json) {
  constexpr std::string_view kHexadecimal = "0123456789abcdef";
  json += '"';
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 0x20) {
      json += "\\u00";
      json += kHexadecimal[byte >> 4];
      json += kHexadecimal[byte & 15];
      continue;
    }
    if (byte == '"' || byte == '\\') json += '\\';
    json += character;
  }
  json += '"';
}

}  // namespace rosa::training::parquet
