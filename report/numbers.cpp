#include "report/numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <locale>
#include <sstream>

namespace rosa::report {
namespace {

constexpr const char* kMinus = "\u2212";

std::string plain(double value, int decimals) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out.setf(std::ios::fixed);
  out.precision(decimals);
  out << value;
  return out.str();
}

}  // namespace

std::string fixed(double value, int decimals) {
  if (!std::isfinite(value)) return "not finite";
  std::string digits = plain(std::abs(value), std::max(0, decimals));
  const bool is_negative = value < 0 && digits.find_first_not_of("0.") != std::string::npos;
  const std::size_t point = std::min(digits.find('.'), digits.size());
  for (std::size_t i = point; i > 3; i -= 3) digits.insert(i - 3, ",");
  return (is_negative ? kMinus : "") + digits;
}

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return "not finite";
  if (value == 0) return "0";
  const double size = std::abs(value);
  int exponent = static_cast<int>(std::floor(std::log10(size)));
  // 9.996 has three digits only as 10.0.
  if (size >= (1 - 0.5 * std::pow(10, -digits)) * std::pow(10, exponent + 1)) ++exponent;
  if (exponent < -3 || exponent >= 7) {
    std::string mantissa = plain(size / std::pow(10, exponent), std::max(0, std::min(digits, 2) - 1));
    return (value < 0 ? kMinus : "") + mantissa + "e" + std::to_string(exponent);
  }
  if (exponent >= digits) {
    const double unit = std::pow(10, exponent - digits + 1);
    return fixed(std::round(value / unit) * unit, 0);
  }
  return fixed(value, digits - 1 - exponent);
}

std::string percent(double share) { return fixed(100 * share, 1) + "%"; }

std::string signed_fixed(double value, int decimals) {
  const std::string text = fixed(value, decimals);
  const bool is_zero = text.find_first_not_of("0.") == std::string::npos;
  return (value > 0 && !is_zero ? "+" : "") + text;
}

}  // namespace rosa::report
