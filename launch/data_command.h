// The subcommands of `rosa data`, one function each; add_data_command (launch/command.h) joins them to the program.
#pragma once

#include "launch/command.h"

namespace rosa::launch {

void add_data_pack_command(CLI::App& data, Action& action);
void add_data_show_command(CLI::App& data, Action& action);
void add_data_verify_command(CLI::App& data, Action& action);

}  // namespace rosa::launch
