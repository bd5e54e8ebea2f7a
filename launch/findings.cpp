#include "launch/findings.h"

#include <algorithm>
#include <iostream>

#include "base/printable.h"

namespace rosa::launch {

int print_findings(const std::string& title, const std::vector<Finding>& findings) {
  std::size_t num_columns = 18;
  for (const Finding& finding : findings) num_columns = std::max(num_columns, finding.name.size() + 2);
  int num_warnings = 0;
  std::cout << base::printable(title) << '\n';
  for (const Finding& finding : findings) {
    std::string name = finding.name;
    name.resize(num_columns, ' ');
    // A finding may be a warning alone.
    const bool has_value = !finding.value.empty() || finding.warning.empty();
    if (has_value) std::cout << "  " << name << base::printable(finding.value) << '\n';
    if (finding.warning.empty()) continue;
    ++num_warnings;
    std::cout << "  " << (has_value ? std::string(num_columns, ' ') : name)
              << "WARNING: " << base::printable(finding.warning) << '\n';
  }
  std::cout << std::flush;
  return num_warnings;
}

void print_warning_count(int num_warnings) {
  if (num_warnings == 0) {
    std::cout << "Nothing looks wrong." << std::endl;
  } else {
    std::cout << num_warnings << (num_warnings == 1 ? " warning." : " warnings.") << std::endl;
  }
}

}  // namespace rosa::launch
