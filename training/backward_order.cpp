#include "training/backward_order.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <numeric>

namespace rosa::training {
namespace {

// The number that begins at `text[position]`; moves past it.
int64_t take_number(const std::string& text, size_t& position) {
  int64_t number = 0;
  for (; position < text.size() && std::isdigit(static_cast<unsigned char>(text[position])) != 0; ++position) {
    number = std::min<int64_t>(number * 10 + (text[position] - '0'), int64_t{1} << 40);
  }
  return number;
}

bool is_output_head(const std::string& name) { return name.starts_with("lm_head"); }

// Whether `a` stands before `b` in the forward.
bool before(const std::string& a, const std::string& b) {
  if (is_output_head(a) != is_output_head(b)) return is_output_head(b);
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    const bool digits =
        std::isdigit(static_cast<unsigned char>(a[i])) != 0 && std::isdigit(static_cast<unsigned char>(b[j])) != 0;
    if (digits) {
      const int64_t number_a = take_number(a, i), number_b = take_number(b, j);
      if (number_a != number_b) return number_a < number_b;
    } else {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
    }
  }
  return a.size() - i < b.size() - j;
}

}  // namespace

std::vector<size_t> backward_order(const std::vector<std::string>& names) {
  std::vector<size_t> order(names.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return before(names[b], names[a]); });
  return order;
}

}  // namespace rosa::training
