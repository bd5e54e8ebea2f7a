#include "base/nearest_name.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>

namespace rosa::base {
namespace {

// Longer names are no slips of a name.
constexpr std::size_t kMaxNameLength = 64;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char character) { return static_cast<char>(std::tolower(character)); });
  return lower;
}

// Insertions, deletions, replacements and swaps of neighbours between two names.
int64_t edit_distance(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<int64_t> table((a.size() + 1) * width);
  for (std::size_t i = 0; i <= a.size(); ++i) table[i * width] = static_cast<int64_t>(i);
  for (std::size_t j = 0; j <= b.size(); ++j) table[j] = static_cast<int64_t>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      int64_t best = table[(i - 1) * width + j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      best = std::min({best, table[(i - 1) * width + j] + 1, table[i * width + j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        best = std::min(best, table[(i - 2) * width + j - 2] + 1);
      }
      table[i * width + j] = best;
    }
  }
  return table.back();
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& names) {
  if (name.size() > kMaxNameLength) return "";
  const std::string lower = lower_case(name);
  // A third of the letters may differ; beyond that a suggestion only distracts.
  const auto allowed = std::max<int64_t>(1, static_cast<int64_t>(name.size()) / 3);
  int64_t best_distance = allowed + 1;
  std::string best;
  for (const std::string& candidate : names) {
    const int64_t distance = edit_distance(lower, lower_case(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace rosa::base
