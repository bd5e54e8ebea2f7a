// FieldVisitor: how a configuration struct names, explains and bounds its fields, once, for the YAML reader,
// the dump and the reference document. Holds no YAML.
//
// A struct `FooConfig` has beside it a function `void describe(base::FieldVisitor& visitor, FooConfig& config)`
// that calls one of the functions below for each field, in the order of the documentation. Every field says its role;
// a new one without a role does not compile.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace rosa::base {

// The closed range of values a number may take.
template <class Number>
struct Range {
  Number min = std::numeric_limits<Number>::lowest();
  Number max = std::numeric_limits<Number>::max();
};

// Counts of steps: no run is longer, and sums of a few of them stay far from overflow.
inline constexpr int64_t kMaxSteps = 1'000'000'000;

// What a field decides, and so whether it may differ when a run is resumed.
enum class Role {
  recipe,  // what is learnt, to the last bit: compared with the checkpoint
  place,   // where and how the work is done: paths, devices, timeouts, intervals, what is kept
  free,    // anything else: texts, what is measured beside the training, what counts at the start only
};

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  virtual void field(std::string_view name, bool& value, Role role, std::string_view help) = 0;
  virtual void field(std::string_view name, int64_t& value, Role role, std::string_view help,
                     Range<int64_t> range = {}) = 0;
  virtual void field(std::string_view name, double& value, Role role, std::string_view help,
                     Range<double> range = {}) = 0;
  // An empty `choices` allows any text.
  virtual void field(std::string_view name, std::string& value, Role role, std::string_view help,
                     const std::vector<std::string>& choices = {}) = 0;
  virtual void field(std::string_view name, std::vector<int64_t>& value, Role role, std::string_view help,
                     Range<int64_t> range = {}) = 0;
  virtual void field(std::string_view name, std::vector<double>& value, Role role, std::string_view help,
                     Range<double> range = {}) = 0;
  virtual void field(std::string_view name, std::vector<std::string>& value, Role role, std::string_view help) = 0;

  // One number, or a list of numbers, whichever of the two the input has. An empty list: the number holds.
  virtual void number_or_list(std::string_view name, int64_t& value, std::vector<int64_t>& list, Role role,
                              std::string_view help, Range<int64_t> range, Range<int64_t> range_in_list) {
    if (list.empty()) {
      field(name, value, role, help, range);
    } else {
      field(name, list, role, help, range_in_list);
    }
  }

  // A text that names a file or folder: readers put the home folder for ~ and the environment for $NAME.
  virtual void path(std::string_view name, std::string& value, Role role, std::string_view help) {
    field(name, value, role, help);
  }

  virtual void begin_section(std::string_view name, std::string_view help) = 0;
  virtual void end_section() = 0;

  // The length that a list of structs is to have, which has `size` now: readers say what the input has.
  virtual size_t begin_list(std::string_view /*name*/, size_t size, Role /*role*/, std::string_view /*help*/) {
    return size;
  }
  virtual void end_list() {}

  // A list of small structs, each described by its own `describe`; keys of an entry are "sources[0].path".
  template <class Entry>
  void list(std::string_view name, std::vector<Entry>& values, Role role, std::string_view help) {
    const size_t size = begin_list(name, values.size(), role, help);
    if (size != values.size()) values.assign(size, Entry{});
    for (size_t i = 0; i < size; ++i) section(std::string(name) + "[" + std::to_string(i) + "]", values[i], "");
    end_list();
  }

  // A nested struct, described by its own `describe`.
  template <class Section>
  void section(std::string_view name, Section& value, std::string_view help) {
    begin_section(name, help);
    describe(*this, value);
    end_section();
  }

  // Texts that the field of this name, visited next, was given by before, each with what it is now.
  virtual void earlier_spellings(std::string_view /*name*/,
                                 const std::vector<std::pair<std::string, std::string>>& /*spellings*/) {}

  // An enumeration, written by name.
  template <class Enum>
  void choice(std::string_view name, Enum& value, Role role, const std::vector<std::pair<std::string, Enum>>& names,
              std::string_view help) {
    std::string text;
    std::vector<std::string> choices;
    for (const auto& [choice_name, choice_value] : names) {
      choices.push_back(choice_name);
      if (choice_value == value) text = choice_name;
    }
    field(name, text, role, help, choices);
    for (const auto& [choice_name, choice_value] : names) {
      if (choice_name == text) value = choice_value;
    }
  }
};

}  // namespace rosa::base
