#include "base/config_problems.h"

#include <algorithm>
#include <set>

#include "base/printable.h"

namespace rosa::base {
namespace {

constexpr size_t kMaxProblems = 50;
constexpr const char* kOverride = "--set";

std::string joined(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += concat(text.empty() ? "" : "; ", item);
  return text;
}

// Empty: nobody gave the key.
std::string source_of(const std::string& key, const ConfigSources& sources) {
  const auto source = sources.find(key);
  return source == sources.end() || source->second == "default" ? "" : source->second;
}

}  // namespace

ConfigErrorList::ConfigErrorList(const std::string& title, const std::vector<std::string>& items)
    : ConfigError(concat(title, ": ", joined(items))), list_(concat(printable(title), ":")) {
  for (const std::string& item : items) list_ += concat("\n  ", printable(item));
}

PlacedProblem placed(const ConfigProblem& problem, const ConfigSources& sources) {
  const std::string& key = problem.keys.front();
  const auto pick = [&](const auto& fits) {
    return std::find_if(problem.keys.begin(), problem.keys.end(),
                        [&](const std::string& each) { return fits(source_of(each, sources)); });
  };
  auto given = pick([](const std::string& source) { return source == kOverride; });
  if (given == problem.keys.end()) given = pick([](const std::string& source) { return !source.empty(); });
  if (given == problem.keys.end()) return {0, concat(key, ": ", problem.text)};
  const std::string source = source_of(*given, sources);
  // "run.yaml:12" and "--set"
  const size_t colon = source.rfind(':');
  const bool is_line = colon != std::string::npos && colon + 1 < source.size();
  const int line = is_line ? std::stoi(source.substr(colon + 1)) : 0;
  const std::string what = *given == key ? problem.text : concat("does not fit ", key, ": ", problem.text);
  return {line, concat(source, is_line ? ": " : " ", *given, ": ", what)};
}

void throw_sorted(const std::string& name, std::vector<PlacedProblem> problems) {
  std::stable_sort(problems.begin(), problems.end(),
                   [](const PlacedProblem& a, const PlacedProblem& b) { return a.line < b.line; });
  // Training and held-out data may break the same rule of the same key.
  std::set<std::string> told;
  std::erase_if(problems, [&told](const PlacedProblem& problem) { return !told.insert(problem.text).second; });
  const size_t num_problems = problems.size();
  std::vector<std::string> items;
  for (size_t i = 0; i < std::min(num_problems, kMaxProblems); ++i) items.push_back(problems[i].text);
  if (num_problems > kMaxProblems) items.push_back(concat("and ", num_problems - kMaxProblems, " more"));
  throw ConfigErrorList(
      concat("the configuration ", name, " has ", num_problems, num_problems == 1 ? " error" : " errors"), items);
}

void ConfigProblems::throw_if_any(const ConfigOrigin& origin) const {
  if (all_.empty()) return;
  std::vector<std::string> items;
  std::vector<PlacedProblem> found;
  for (const ConfigProblem& problem : all_) {
    items.push_back(concat(problem.keys.front(), ": ", problem.text));
    found.push_back(placed(problem, origin.sources));
  }
  if (origin.name.empty()) throw ConfigError(joined(items));
  throw_sorted(origin.name, std::move(found));
}

}  // namespace rosa::base
