// The program `rosa`: picks the subcommand, and is the only place that catches everything.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <exception>
#include <string>

#include "launch/build_info.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/failure.h"
#include "launch/process.h"
#include "launch/standard_output.h"

namespace {

using namespace rosa::launch;

int parse_and_run(int argc, char** argv) {
  CLI::App program("Distils and trains language models augmented with ROSA.", "rosa");
  program.footer(exit_code_help());
  program.set_version_flag("--version", kBuildVersion);
  program.require_subcommand(1);
  program.get_formatter()->column_width(32);
  Action action;
  add_demo_command(program, action);
  add_train_command(program, action);
  add_pretrain_command(program, action);
  add_eval_command(program, action);
  add_generate_command(program, action);
  add_checkpoint_command(program, action);
  add_data_command(program, action);
  add_experiment_command(program, action);
  add_report_command(program, action);
  add_config_command(program, action);
  add_doctor_command(program, action);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Every rank has the same command line: one of them speaks.
    const bool is_help = error.get_exit_code() == 0;
    if (rank_of_process() == 0) program.exit(error);
    return is_help ? kExitOk : kExitConfiguration;
  }
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  StandardOutput output;
  // Makes MKL's results independent of threads and neighbouring rows; it is read once, at the first MKL call.
  setenv("MKL_CBWR", "AUTO,STRICT", 0);
  report_shortened_files();
  try {
    const int exit_code = parse_and_run(argc, argv);
    output.finish();
    return exit_code;
  } catch (const std::exception& error) {
    return report_failure(error.what(), exit_code_of(error));
  } catch (...) {
    return report_failure("unknown exception", kExitInternal);
  }
}
