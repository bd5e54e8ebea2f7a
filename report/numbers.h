// How numbers are written in tables and on axes. The decimal sign is a point whatever the locale.
#pragma once

#include <string>

namespace rosa::report {

// With `decimals` decimals; the minus sign is U+2212, thousands are parted by commas. "not finite" where it isn't.
std::string fixed(double value, int decimals);

// With `digits` significant digits: 0.0312, 8.12, 812, 12,300; 3.1e-5 below 0.001 and 1.2e7 from ten millions.
std::string significant(double value, int digits = 3);

// A share in percent, one decimal: 41.2%.
std::string percent(double share);

// With a sign, as differences are written.
std::string signed_fixed(double value, int decimals);

}  // namespace rosa::report
