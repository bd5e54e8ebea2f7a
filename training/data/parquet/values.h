// The values of Arrow's arrays that `rosa data pack` takes: strings, integers, lists and structs.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace rosa::training::parquet {

// string, large_string, string_view, or a dictionary of such.
bool holds_strings(const arrow::DataType& type);
// Of 8 to 64 bits.
bool holds_integers(const arrow::DataType& type);
// list, large_list or fixed_size_list.
bool holds_lists(const arrow::DataType& type);
// Of a list.
const arrow::DataType& item_type(const arrow::DataType& list);
// The first part of the type that append_json does not know, or null.
const arrow::DataType* first_without_json(const arrow::DataType& type);

// Whether there is no value in a row; a dictionary's entry may be null too.
bool is_null(const arrow::Array& array, int64_t row);
std::string_view string_of(const arrow::Array& strings, int64_t row);

// Where a list's items lie among the array's values.
struct ListItems {
  const arrow::Array* values = nullptr;
  int64_t begin = 0, end = 0;
};
ListItems items_of(const arrow::Array& lists, int64_t row);

// Whether the integer fits into `value`.
bool integer_of(const arrow::Array& integers, int64_t row, int64_t& value);

// A value as JSON; null fields of structs are left out. Bytes that are no UTF-8 stay as they are.
void append_json(const arrow::Array& array, int64_t row, std::string& json);
void append_json(std::string_view text, std::string& json);

}  // namespace rosa::training::parquet
