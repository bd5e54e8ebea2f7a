// What a long-context evaluation found: the rows that `rosa eval --suite -o FILE` and the evaluations of a training
// write (docs/evaluation.md). Computes nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "report/scale.h"

namespace rosa::report {

struct SuiteFigure {
  double value = 0;
  std::optional<Interval> interval;  // 95 %
};

// What one variant reached in one group of tokens of one task, length and depth.
struct SuiteRow {
  std::string task, group, variant;
  int64_t length = 0;
  std::optional<int64_t> depth;  // percent
  int64_t num_tokens = 0, num_sequences = 0, num_answers = 0;
  int64_t num_documents = 0;                   // as many as sequences where the file does not say
  std::map<std::string, SuiteFigure> figures;  // those that are finite

  // Nothing where the row does not have it.
  const SuiteFigure* figure(const std::string& name) const;
};

struct SuiteResult {
  std::string name;            // unique on a page
  std::filesystem::path file;  // empty: of an evaluation of a training
  std::string suite;           // its name or file; may be empty
  std::string run;             // whose it is, as the file says; may be empty
  std::optional<double> num_steps_done;
  std::vector<SuiteRow> rows;

  // In the order in which they come.
  std::vector<std::string> variants() const;
  std::vector<std::string> tasks() const;
};

// The rows in a list of a line or file. Throws DataError where one is damaged, or there are more than a page can hold.
std::vector<SuiteRow> read_suite_rows(const base::JsonFields& fields, const char* key);

// A file of `rosa eval --suite -o FILE`. Throws DataError, naming the file, where it is none, and FileError.
SuiteResult read_suite_file(const std::filesystem::path& path);

// Gives each file the shortest name that tells it from the others: its own without the extension, or its whole path.
void name_suites(std::vector<SuiteResult>& results);

}  // namespace rosa::report
