#include "launch/output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/safetensors.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using base::ConfigError;
using base::require;

constexpr std::streamsize kLookedAtBytes = 1 << 20;

std::string start_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kLookedAtBytes, '\0');
  file.read(text.data(), kLookedAtBytes);
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

// {"teacher": {"ce": ..., "ppl": ...}, ...}, or such objects by name (the demo's).
bool holds_scores(const nlohmann::json& json, bool also_inside = true) {
  if (json.is_object() && json.contains("variants") && json.contains("rows")) return true;  // of a suite
  if (json.is_object() && json.contains("copiers")) return true;                            // of headroom
  if (!json.is_object()) return false;
  return std::any_of(json.begin(), json.end(), [also_inside](const nlohmann::json& value) {
    return value.is_object() &&
           ((value.contains("ce") && value.contains("ppl")) || (also_inside && holds_scores(value, false)));
  });
}

// Every tensor belongs to an adapter: not a model that an adapter was put into.
bool is_adapter_file(const fs::path& path) {
  try {
    const base::SafetensorsFile file(path);
    const auto& tensors = file.tensors();
    return !tensors.empty() && std::all_of(tensors.begin(), tensors.end(), [](const auto& entry) {
      return entry.first.find(".rosa_attn.") != std::string::npos;
    });
  } catch (const base::Error&) {
    return false;
  }
}

bool is_of_kind(OutputKind kind, const fs::path& path) {
  if (kind == OutputKind::adapter) return is_adapter_file(path);
  const std::string start = start_of(path);
  switch (kind) {
    case OutputKind::token_file:
      return start.starts_with("ROSATOK\n");
    case OutputKind::scores:
      return holds_scores(nlohmann::json::parse(start, nullptr, /*allow_exceptions=*/false));
    case OutputKind::report_page:
      return start.starts_with("<!DOCTYPE html>") && start.find("content=\"rosa report\"") != std::string::npos;
    case OutputKind::picture:
      return start.starts_with("<svg") && start.find("Made by rosa report.") != std::string::npos;
    case OutputKind::trace:
      return start.starts_with("[\n{") && start.find("\"ph\":\"M\"") != std::string::npos;
    case OutputKind::continuations:
      return start.starts_with("{\"text\":") &&
             start.substr(0, start.find('\n')).find("\"ended_by\":") != std::string::npos;
    case OutputKind::session:
      return start.starts_with("ROSASESS");
    case OutputKind::metrics:
      return start.starts_with("step,") || start.starts_with("metrics of ");
    case OutputKind::layers:
      return start.starts_with("# rosa select");
    case OutputKind::adapter:
      break;
  }
  return false;
}

const char* name_of(OutputKind kind) {
  switch (kind) {
    case OutputKind::token_file:
      return "token file";
    case OutputKind::scores:
      return "JSON file of scores";
    case OutputKind::report_page:
      return "page of rosa report";
    case OutputKind::picture:
      return "picture of rosa report";
    case OutputKind::trace:
      return "trace";
    case OutputKind::adapter:
      return "file of adapter weights";
    case OutputKind::continuations:
      return "file of continued prompts";
    case OutputKind::session:
      return "session of rosa generate";
    case OutputKind::metrics:
      return "file of rosa metrics";
    case OutputKind::layers:
      return "file of rosa select";
  }
  return "";
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  std::error_code ignored;
  const fs::path inner = fs::weakly_canonical(path, ignored), outer = fs::weakly_canonical(folder, ignored);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

bool is_same_file(const fs::path& left, const fs::path& right) {
  std::error_code ignored;
  // Of devices and pipes there may be many ends.
  return fs::is_regular_file(right, ignored) && fs::equivalent(left, right, ignored);
}

void check_folder_of(const Output& output, const fs::path& target) {
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  std::error_code ignored;
  require<base::FileError>(fs::is_directory(folder, ignored), output.option, " ", output.path.string(),
                           ": there is no folder '", folder.string(), "' to write it in; make it first");
  require<base::FileError>(::access(folder.c_str(), W_OK) == 0, output.option, " ", output.path.string(), ": nothing ",
                           "may be written in '", folder.string(), "'");
  require<ConfigError>(!fs::exists(folder / "manifest.json", ignored) || !fs::exists(folder / "state.json", ignored),
                       output.option, " ", output.path.string(), ": '", folder.string(),
                       "' is a checkpoint, in which nothing else is written; name another file");
}

// The commands that write these have no --force.
bool has_no_force(OutputKind kind) { return kind == OutputKind::trace || kind == OutputKind::session; }

void check_existing(const Output& output, const fs::path& target) {
  std::error_code ignored;
  if (!fs::exists(target, ignored)) return;
  const auto folder = std::find_if(output.folders.begin(), output.folders.end(),
                                   [&](const fs::path& one) { return lies_in(target, one); });
  const bool is_in_use = folder != output.folders.end();
  if (!is_in_use && (output.force || fs::file_size(target, ignored) == 0)) return;
  if (is_of_kind(output.kind, target)) return;
  require<ConfigError>(!is_in_use, output.option, " ", output.path.string(), ": is a file of '",
                       is_in_use ? folder->string() : "", "', which is read; name another file");
  throw ConfigError(base::concat(output.option, " ", output.path.string(), ": is there and is no ",
                                 name_of(output.kind), "; name another file",
                                 has_no_force(output.kind) ? ", or remove it" : ", or replace it with --force"));
}

// As the dump of a configuration writes it: behind every value stands where it comes from.
bool is_resolved_config(const fs::path& path) {
  std::istringstream lines(start_of(path));
  for (std::string line; std::getline(lines, line);) {
    const bool good = line.empty() || line.starts_with("#") || line.ends_with(":") || line.find("  # ") != line.npos;
    if (!good) return false;
  }
  return true;
}

}  // namespace

void check_output(const Output& output) {
  require<ConfigError>(!output.path.empty(), output.option, ": ", refuse_empty_name(""));
  const base::OutputTarget target = base::output_target(output.path);
  for (const fs::path& input : output.inputs) {
    require<ConfigError>(!is_same_file(output.path, input), output.option, " ", output.path.string(),
                         ": is the file that is read as '", input.string(),
                         "' (does a * among the inputs stand for it too?); name another file");
  }
  if (target.is_stream) return;
  check_folder_of(output, target.path);
  check_existing(output, target.path);
}

fs::path output_path(const std::string& argument) { return argument == "-" ? "/dev/stdout" : argument; }

std::string refuse_empty_name(const std::string& name) { return name.empty() ? "the name of the file is empty" : ""; }

std::ostream& messages_beside(const fs::path& path) {
  // Not std::filesystem::equivalent, which knows no pipes.
  struct stat named {
  }, standard{};
  const bool is_standard = ::stat(path.c_str(), &named) == 0 && ::fstat(STDOUT_FILENO, &standard) == 0 &&
                           named.st_dev == standard.st_dev && named.st_ino == standard.st_ino;
  const bool is_taken = is_standard && base::output_target(path).is_stream;
  return is_taken ? std::cerr : std::cout;
}

void check_run_folder(const fs::path& folder) {
  std::error_code ignored;
  const fs::path config = folder / "config.yaml", metrics = folder / "metrics.jsonl";
  const bool has_config = fs::exists(config, ignored);
  require<ConfigError>(!has_config || is_resolved_config(config), "'", config.string(),
                       "' is there and was not made by a run, but a run in this folder writes its resolved ",
                       "configuration there; move it, or choose another run folder");
  const bool is_run = has_config || fs::exists(folder / "run.json", ignored);
  if (is_run || !fs::exists(metrics, ignored)) return;
  // Damage has a line to name.
  base::read_json_lines(metrics, [](const base::JsonFields& line, std::string_view) { line.integer("step"); });
  require<ConfigError>(fs::file_size(metrics, ignored) == 0, "'", metrics.string(),
                       "' is there, but nothing else of a run; a run in this folder would take it for ",
                       "its own and change it: move it, or choose another run folder");
}

}  // namespace rosa::launch
