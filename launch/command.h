// How a subcommand joins the program: one function each, that declares its options and what is run for it.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace rosa::launch {

// Runs a subcommand; returns an exit code (launch/exit_code.h) or throws.
using Action = std::function<int()>;

// Each adds its subcommand to `program`; parsing a command line with it sets `action`.
void add_demo_command(CLI::App& program, Action& action);
void add_train_command(CLI::App& program, Action& action);
void add_pretrain_command(CLI::App& program, Action& action);
void add_eval_command(CLI::App& program, Action& action);
void add_plan_command(CLI::App& program, Action& action);
void add_headroom_command(CLI::App& program, Action& action);
void add_select_command(CLI::App& program, Action& action);
void add_generate_command(CLI::App& program, Action& action);
void add_export_command(CLI::App& program, Action& action);
void add_experiment_command(CLI::App& program, Action& action);
void add_doctor_command(CLI::App& program, Action& action);
void add_config_command(CLI::App& program, Action& action);
void add_checkpoint_command(CLI::App& program, Action& action);
void add_verify_run_command(CLI::App& program, Action& action);
void add_data_command(CLI::App& program, Action& action);
void add_tokenize_command(CLI::App& program, Action& action);
void add_report_command(CLI::App& program, Action& action);
void add_metrics_command(CLI::App& program, Action& action);
void add_shell_commands(CLI::App& program, Action& action);

// The arguments with "--set a=1 b=2" written as "--set a=1 --set b=2", so that other arguments may follow.
std::vector<std::string> separate_overrides(const std::vector<std::string>& arguments);

// The option --set KEY=VALUE, which may be given several times and take several values.
void add_override_option(CLI::App& command, std::vector<std::string>& overrides);

}  // namespace rosa::launch
