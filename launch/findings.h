// What a report of the program is made of: lines with a name, a value and perhaps a warning. For doctor and --dry-run.
#pragma once

#include <string>
#include <vector>

namespace rosa::launch {

struct Finding {
  std::string name, value;
  std::string warning;  // empty: nothing looks wrong
};

// Writes a title and its findings to standard output; returns the number of warnings.
int print_findings(const std::string& title, const std::vector<Finding>& findings);

// The last line of a report.
void print_warning_count(int num_warnings);

}  // namespace rosa::launch
