// `rosa data`: makes token files, shows and verifies them.
#include "launch/data_command.h"

#include <CLI/CLI.hpp>

namespace rosa::launch {

void add_data_command(CLI::App& program, Action& action) {
  CLI::App* data = program.add_subcommand("data", "Prepares training data, and shows what is in it.");
  data->require_subcommand(1);
  add_data_pack_command(*data, action);
  add_data_show_command(*data, action);
  add_data_verify_command(*data, action);
}

}  // namespace rosa::launch
