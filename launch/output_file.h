// What a command may write to: an output that a user names is looked at before any work is done, so that it costs
// nobody a file. What is refused: an input, a part of what is read, a file of another kind.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace rosa::launch {

// What a file is known by that a command may replace: one it could have made itself.
enum class OutputKind {
  token_file,
  scores,
  report_page,
  picture,
  adapter,
  trace,
  continuations,
  session,
  metrics,
  layers
};

struct Output {
  std::string option;          // as the user knows it: "-o", "--trace"
  std::filesystem::path path;  // by output_path
  OutputKind kind;
  std::vector<std::filesystem::path> inputs = {};   // files that are read: never written to, whatever they are
  std::vector<std::filesystem::path> folders = {};  // what is read lies in them: only files of `kind` are replaced
  bool force = false;                               // elsewhere, a file of another kind is replaced too
};

// Throws ConfigError where the output is refused and FileError where it can't be made. An empty file is of every kind;
// a link is followed; streams (base::output_target) may always be written to, unless they lead to an input.
void check_output(const Output& output);

// The file that an argument names; "-" is standard output.
std::filesystem::path output_path(const std::string& argument);

// A check of an option: what is wrong with an empty name.
std::string refuse_empty_name(const std::string& name);

// Where a command says what it wrote: standard error where the output itself goes to standard output.
std::ostream& messages_beside(const std::filesystem::path& path);

// Throws ConfigError where a run in this folder would write over files that no run made: a config.yaml of the user's,
// a metrics.jsonl of another program.
void check_run_folder(const std::filesystem::path& folder);

}  // namespace rosa::launch
