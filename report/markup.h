// Markup: writes HTML and SVG that is well-formed XML whatever its texts hold.
// Texts and attribute values are escaped; elements close in the order in which they were opened. Knows no tags.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rosa::report {

// The characters of a UTF-8 text, one view each. Bytes that are no UTF-8 come alone.
std::vector<std::string_view> characters(std::string_view text);

// `text` for element content and attribute values. What XML forbids (control characters, bytes that are no UTF-8)
// becomes U+FFFD; marks that reorder or hide text are written visibly (base/printable.h).
std::string escape(std::string_view text);

// `text` as one line of Markdown in which nothing of it is markup or a control character.
std::string markdown_text(std::string_view text);
// The same as inline code.
std::string markdown_code(std::string_view text);

// A coordinate: two decimals at most, no trailing zeros.
std::string coordinate(double value);

struct Attribute {
  Attribute(std::string_view attribute_name, std::string_view text) : name(attribute_name), value(text) {}
  Attribute(std::string_view attribute_name, double number) : name(attribute_name), value(coordinate(number)) {}
  std::string name, value;
};
using Attributes = std::vector<Attribute>;

class Markup {
 public:
  Markup& open(std::string_view tag, const Attributes& attributes = {});
  // Closes what was opened last. Throws ArgumentError where nothing is open.
  Markup& close();
  // An element without content.
  Markup& leaf(std::string_view tag, const Attributes& attributes = {});
  // An element with nothing but a text.
  Markup& element(std::string_view tag, const Attributes& attributes, std::string_view text);
  Markup& text(std::string_view text);
  // A finished part, and a style sheet (which holds no markup).
  Markup& add(const Markup& part);
  Markup& style_sheet(std::string_view css);

  // Throws ArgumentError where elements are still open.
  const std::string& str() const;
  bool empty() const { return out_.empty(); }

 private:
  void start(std::string_view tag, const Attributes& attributes);

  std::string out_;
  std::vector<std::string> open_;
};

}  // namespace rosa::report
