// Strict reading of the scalars of a configuration, and the words of its error messages.
// YAML's own guesses (010 is 8, no is false, 1_000 is a number) are not made. Holds no YAML types.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/all_count.h"
#include "base/fields.h"

namespace rosa::launch {

// Each returns an empty text and sets `value`, or returns what is wrong ("expected ..., got ...").
std::string parse_bool(std::string_view text, bool& value);
std::string parse_integer(std::string_view text, base::Range<int64_t> range, int64_t& value);
std::string parse_number(std::string_view text, base::Range<double> range, double& value);

// Whether somebody meant infinity or "not a number", which no key takes.
bool is_infinite_text(std::string_view text);

// What a value may be: "an integer from 1 to 8", "a number", "one of sufa, soft_rosa".
std::string expected_integer(base::Range<int64_t> range);
std::string expected_number(base::Range<double> range);
std::string expected_choice(const std::vector<std::string>& choices);

// As parse_integer reads it.
std::string integer_text(int64_t value, base::Range<int64_t> range);

// The shortest text that reads back as exactly this number.
std::string number_text(double value);

// The text as YAML writes it: plain where that is read back as the same text, else in double quotes.
std::string yaml_text(std::string_view text);

}  // namespace rosa::launch
