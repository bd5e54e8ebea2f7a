// What `rosa demo` closed of the gap between window and teacher, from the summary.json of its folder: as a picture that
// stands alone (README shows it) and as a table.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "report/table.h"

namespace rosa::report {

struct DemoVariant {
  std::string name;              // as the file calls it: "rosa", "rosa_zeroed"
  std::optional<double> closed;  // share of the gap; nothing where it isn't known, or the gap is not clearly positive
};

struct DemoPart {
  std::string name;                             // "lines"
  std::optional<double> teacher, window, rosa;  // cross-entropies, nats a token
  std::vector<DemoVariant> variants;            // in the order of the picture
};

// Whether a folder is one of a demo.
bool is_demo_folder(const std::filesystem::path& folder);

// Throws DataError, naming the file, where it is damaged or holds no part, and FileError.
std::vector<DemoPart> read_demo(const std::filesystem::path& folder);

// An SVG file, light and dark. There is at least one part.
std::string demo_picture(const std::vector<DemoPart>& parts);

Table demo_table(const std::vector<DemoPart>& parts);

}  // namespace rosa::report
