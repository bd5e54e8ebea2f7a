// `rosa completion` and `rosa man`: the program's own texts for a shell.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "launch/build_info.h"
#include "launch/command.h"
#include "launch/command_line.h"
#include "launch/exit_code.h"
#include "launch/shell_text.h"

namespace rosa::launch {

void add_shell_commands(CLI::App& program, Action& action) {
  CLI::App* completion = program.add_subcommand("completion", "Writes the completion for a shell.");
  const auto shell = std::make_shared<std::string>();
  completion->add_option("SHELL", *shell, "bash")->required()->check(CLI::IsMember({"bash"}));
  completion->footer(
      "Example:\n"
      "  rosa completion bash\n"
      "For this shell: source <(rosa completion bash). For every later one keep what it writes in\n"
      "~/.local/share/bash-completion/completions/rosa.");
  completion->callback([&program, &action, shell] {
    action = [&program] {
      std::cout << bash_completion(program) << std::flush;
      return kExitOk;
    };
  });
  CLI::App* man = program.add_subcommand("man", "Writes the man page.");
  man->footer("Example:\n  rosa man | man -l -");
  man->callback([&program, &action] {
    action = [&program] {
      std::cout << man_page(program, kBuildVersion) << std::flush;
      return kExitOk;
    };
  });
}

}  // namespace rosa::launch
