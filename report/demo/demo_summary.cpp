#include "report/demo/demo_summary.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "report/markup.h"
#include "report/numbers.h"
#include "report/scale.h"
#include "report/svg_frame.h"

namespace rosa::report {
namespace {

namespace fs = std::filesystem;
using base::concat;
using base::DataError;
using Fields = base::OrderedJsonFields;

constexpr int64_t kMaxFileBytes = int64_t{1} << 24;
constexpr std::size_t kMaxParts = 50;
constexpr const char* kRecallable = "recallable";  // within a part: its tokens that an earlier copy determines
constexpr const char* kFirstPart = "lines";  // stands at the top of the file, the others in objects of their names

struct VariantText {
  const char *name, *label, *colour;
};
constexpr std::array<VariantText, 5> kVariants = {{{"rosa", "window + ROSA", "c0"},
                                                   {"rosa_zeroed", "ROSA output zeroed", "c7"},
                                                   {"rosa_shuffled", "ROSA values shuffled", "c7"},
                                                   {"rosa_windowed", "ROSA limited to the window", "c7"},
                                                   {"rosa_soft_recipe", "trained by rosa_soft_20251121", "c1"}}};

constexpr double kWidth = 760, kLeft = 250, kBarsWidth = 420, kTop = 44, kRow = 22, kBarHeight = 14, kPartGap = 12;

constexpr std::string_view kStyle = R"css(
svg { --paper: #ffffff; --ink: #18212c; --quiet: #56616d; --grid: #e1e5e9; --c0: #2563a8; --c1: #c2701f; --c7: #8b95a0; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #11161c; --ink: #e7ebef; --quiet: #a2adb9; --grid: #2b343e; --c0: #5b9bea; --c1: #e39a4f; --c7: #75818d; }
}
text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--ink); }
.paper { fill: var(--paper); } .grid { stroke: var(--grid); } .tick, .note { fill: var(--quiet); }
.head { font-size: 15px; } .name { font-weight: 700; }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c7 { fill: var(--c7); }
)css";

std::optional<double> cross_entropy(const Fields& part, const char* variant) {
  const std::optional<Fields> scores = part.object(variant);
  return scores ? scores->number("ce") : std::nullopt;
}

DemoPart read_part(const Fields& fields, const std::string& name) {
  DemoPart part;
  part.name = name;
  part.teacher = cross_entropy(fields, "teacher");
  part.window = cross_entropy(fields, "window");
  part.rosa = cross_entropy(fields, "rosa");
  // It is absent where the gap is not clearly positive.
  const bool has_gap =
      fields.number("gap_closed").has_value() && part.teacher && part.window && *part.window > *part.teacher;
  for (const VariantText& variant : kVariants) {
    const std::optional<double> ce = cross_entropy(fields, variant.name);
    part.variants.push_back({variant.name, has_gap && ce
                                               ? std::optional((*part.window - *ce) / (*part.window - *part.teacher))
                                               : std::nullopt});
  }
  return part;
}

std::string title_of(const DemoPart& part) {
  const std::pair<const char*, const char*> titles[] = {
      {"lines", "lines: repeated prose"}, {"natural", "natural: source code"}, {"phrases", "phrases: random"}};
  for (const auto& [name, title] : titles) {
    if (part.name == name) return title;
  }
  return part.name;
}

std::string share_text(const std::optional<double>& share) { return share ? fixed(*share, 2) : "n/a"; }

std::string figures_of(const DemoPart& part) {
  const auto text = [](const std::optional<double>& ce) { return ce ? fixed(*ce, 3) : std::string("n/a"); };
  return concat("teacher ", text(part.teacher), ", window only ", text(part.window), ", window + ROSA ",
                text(part.rosa), " nats");
}

void draw_part(Markup& out, const DemoPart& part, double top) {
  out.element("text", {{"class", "name"}, {"x", 12.0}, {"y", top + kBarHeight}}, shortened(title_of(part), kLeft - 20));
  out.element("text", {{"class", "note"}, {"x", kLeft}, {"y", top + kBarHeight}}, figures_of(part));
  for (std::size_t i = 0; i < kVariants.size(); ++i) {
    const std::optional<double>& closed = part.variants[i].closed;
    const double y = top + kRow * static_cast<double>(i + 1);
    const double length = std::clamp(closed.value_or(0), 0.0, 1.0) * kBarsWidth;
    out.element("text", {{"x", kLeft - 10}, {"y", y + kBarHeight}, {"text-anchor", "end"}}, kVariants[i].label);
    out.leaf("rect", {{"class", kVariants[i].colour},
                      {"x", kLeft},
                      {"y", y + 3},
                      {"width", std::max(length, 1.0)},
                      {"height", kBarHeight}});
    out.element("text", {{"x", kLeft + length + 6}, {"y", y + kBarHeight}}, share_text(closed));
  }
}

}  // namespace

bool is_demo_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "summary.json", ignored);
}

std::vector<DemoPart> read_demo(const fs::path& folder) {
  const fs::path path = folder / "summary.json";
  const auto value = base::read_json<DataError, nlohmann::ordered_json>(path, kMaxFileBytes);
  const Fields fields(value, path.string());
  std::vector<DemoPart> parts;
  if (fields.has("teacher")) parts.push_back(read_part(fields, kFirstPart));
  for (const auto& [name, inner] : value.items()) {
    const bool is_part =
        inner.is_object() && inner.contains("teacher") && inner.contains("window") && name != kRecallable;
    if (is_part && parts.size() < kMaxParts) parts.push_back(read_part(Fields(inner, path.string()), name));
  }
  base::require<DataError>(!parts.empty(), "'", path.string(), "' holds no part of a demo with teacher and window; ",
                           "expected the summary that `rosa demo` writes");
  return parts;
}

std::string demo_picture(const std::vector<DemoPart>& parts) {
  const double part_height = kRow * static_cast<double>(kVariants.size() + 1) + kPartGap;
  SvgFrame frame;
  frame.width = kWidth;
  frame.plot = {kLeft, kTop, kLeft + kBarsWidth, kTop + part_height * static_cast<double>(parts.size())};
  frame.height = frame.plot.bottom + 12;
  const std::string title = "Share of the gap between window only and teacher that is closed";
  std::string description;
  for (const DemoPart& part : parts) {
    description += concat(title_of(part), ": ", figures_of(part));
    for (std::size_t i = 0; i < kVariants.size(); ++i) {
      description += concat(", ", kVariants[i].label, " ", share_text(part.variants[i].closed));
    }
    description += ". ";
  }
  Markup out;
  open_svg(out, frame, "demo", title, description);
  out.element("metadata", {}, "Made by rosa report.").style_sheet(kStyle);
  out.leaf("rect", {{"class", "paper"}, {"width", frame.width}, {"height", frame.height}});
  const Scale scale(ScaleKind::linear, {0, 1}, {frame.plot.left, frame.plot.right});
  for (const Tick& tick : scale.ticks_at({0, 0.25, 0.5, 0.75, 1}, 1)) {
    const double x = scale(tick.value);
    out.leaf("line", {{"class", "grid"}, {"x1", x}, {"x2", x}, {"y1", kTop - 6}, {"y2", frame.plot.bottom - 8}});
    out.element("text", {{"class", "tick"}, {"x", x}, {"y", frame.plot.bottom + 6}, {"text-anchor", "middle"}},
                tick.label);
  }
  out.element("text", {{"class", "head"}, {"x", 12.0}, {"y", 22.0}}, title);
  for (std::size_t i = 0; i < parts.size(); ++i) draw_part(out, parts[i], kTop + part_height * static_cast<double>(i));
  out.close();
  return out.str();
}

Table demo_table(const std::vector<DemoPart>& parts) {
  std::vector<Column> columns = {{"nats a token", "teacher"}, {"nats a token", "window only"}};
  for (const VariantText& variant : kVariants) columns.push_back({"share of the gap", variant.label});
  Table table("What was closed of the gap between window only and teacher", "part", columns);
  const auto nats = [](const std::optional<double>& ce) { return Cell{ce ? fixed(*ce, 3) : "", "", false}; };
  for (const DemoPart& part : parts) {
    Row row = {title_of(part), "", false, {nats(part.teacher), nats(part.window)}};
    for (const DemoVariant& variant : part.variants) {
      row.cells.push_back({variant.closed ? fixed(*variant.closed, 2) : "", "", false});
    }
    table.add(std::move(row));
  }
  return table;
}

}  // namespace rosa::report
