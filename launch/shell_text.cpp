#include "launch/shell_text.h"

#include <CLI/CLI.hpp>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "launch/command_tree.h"

namespace rosa::launch {
namespace {

using base::concat;

// Of an option that takes one of a list, which CLI11 shows as TEXT:{a,b}.
std::vector<std::string> values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t begin = type.find('{'), end = type.find('}');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return {};
  std::vector<std::string> values;
  std::istringstream list(type.substr(begin + 1, end - begin - 1));
  for (std::string value; std::getline(list, value, ',');) values.push_back(value);
  return values;
}

// The program itself under an empty name, and all below it.
std::map<std::string, const CLI::App*> with_program(const CLI::App& program) {
  std::map<std::string, const CLI::App*> all = all_commands(program);
  all[""] = &program;
  return all;
}

// What roff would take for a request or an escape.
std::string roff(const std::string& text) {
  std::string result;
  bool at_begin = true;
  for (const char sign : text) {
    if (at_begin && (sign == '.' || sign == '\'')) result += "\\&";
    if (sign == '\\') {
      result += "\\e";
    } else if (sign == '-') {
      result += "\\-";
    } else {
      result += sign;
    }
    at_begin = sign == '\n';
  }
  return result;
}

std::string option_entries(const CLI::App& command) {
  std::string text;
  for (const CLI::Option* option : options_of(command)) {
    if (option->get_group().empty()) continue;  // a hidden one
    const std::string name = option->get_name(/*positional=*/option->get_positional(), /*all_options=*/true);
    const std::string type = option->get_positional() || option->get_items_expected_max() == 0
                                 ? std::string()
                                 : " " + option->get_type_name();
    const std::string otherwise =
        option->get_default_str().empty() ? "" : concat(" (default: ", option->get_default_str(), ")");
    text += concat(".TP\n.B ", roff(name + type), "\n", roff(option->get_description() + otherwise), "\n");
  }
  return text;
}

}  // namespace

std::string bash_completion(const CLI::App& program) {
  std::string paths, words, values;
  std::map<std::string, std::string> commands_by_keys;  // the lists of keys are long, and few
  for (const auto& [path, command] : with_program(program)) {
    const std::string own = path.empty() ? path : path + " ";
    for (const std::string& name : names_of(subcommands(*command))) {
      paths += concat("      \"", path, ">", name, "\") path=\"", own, name, "\" ;;\n");
    }
    words += concat("    \"", path, "\") commands=\"", joined(names_of(subcommands(*command)), " "), "\" options=\"",
                    joined(option_names(*command), " "), "\" ;;\n");
    for (const CLI::Option* option : options_of(*command)) {
      const std::vector<std::string> list = values_of(*option);
      if (list.empty()) continue;
      for (const std::string& name : option->get_lnames()) {
        values += concat("    \"", path, ">--", name, "\") values=\"", joined(list, " "), "\" ;;\n");
      }
    }
    if (!path.empty() && has_option(*command, "--set")) {
      std::string& same = commands_by_keys[joined(keys_of(path), " ")];
      same += concat(same.empty() ? "" : "|", "\"", path, ">--set\"");
    }
  }
  for (const auto& [keys, commands] : commands_by_keys) {
    values += concat("    ", commands, ") values=\"", keys, "\" end== ;;\n");
  }
  return concat(
      R"(# bash completion for rosa: source this file, or put it where bash-completion looks. `rosa completion bash` wrote it.
_rosa() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} path="" word i
  local commands="" options="" values="" end=" "
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "$path>${COMP_WORDS[i]}" in
)",
      paths, R"(    esac
  done
  # What stands on both sides of = are words of their own; --set takes several assignments.
  if [[ $current == "=" ]]; then current=""; previous="="; fi
  if [[ $previous == "=" ]]; then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $previous == --* ]] || previous="-value"
  else
    for ((i = COMP_CWORD - 1; i > 0; --i)); do
      [[ ${COMP_WORDS[i]} == -* ]] || continue
      if [[ ${COMP_WORDS[i]} == --set ]]; then previous=--set; fi
      break
    done
  fi
  case "$path>$previous" in
)",
      values, R"(  esac
  case "$path" in
)",
      words, R"(  esac
  if [ -n "$values" ]; then
    words=$values
  elif [[ $previous == -value ]]; then
    words=""
  elif [[ $current == -* ]]; then
    words=$options
  else
    words=$commands
  fi
  for word in $(compgen -W "$words" -- "$current"); do COMPREPLY+=("$word$end"); done
  compopt -o nospace 2>/dev/null
}
complete -o default -F _rosa rosa
)");
}

std::string man_page(const CLI::App& program, const std::string& version) {
  std::string text = concat(".TH ROSA 1 \"\" \"rosa ", roff(version), "\" \"User Commands\"\n.SH NAME\nrosa \\- ",
                            roff(program.get_description()), "\n.SH SYNOPSIS\n.B rosa\n.I SUBCOMMAND\n[OPTIONS]\n",
                            ".SH DESCRIPTION\n.nf\n", roff(program.get_footer()), "\n.fi\n.SH SUBCOMMANDS\n");
  for (const auto& [path, command] : all_commands(program)) {
    text += concat(".SS rosa ", roff(path), "\n", roff(command->get_description()), "\n", option_entries(*command));
    // CLI11 hands the footer of the program down.
    if (command->get_footer() != program.get_footer())
      text += concat(".PP\n.nf\n", roff(command->get_footer()), "\n.fi\n");
  }
  return text;
}

}  // namespace rosa::launch
