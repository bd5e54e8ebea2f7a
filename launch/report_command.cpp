// `rosa report`: what `rosa experiment` left, as one page to look at or as Markdown tables.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "training/report/report.h"

namespace rosa::launch {
namespace {

namespace report = training::report;

struct ReportOptions {
  std::vector<std::string> folders;
  std::string output;
  bool markdown = false;
};

int run_report(const ReportOptions& options) {
  std::vector<report::Experiment> experiments;
  for (const std::string& folder : options.folders) experiments.push_back(report::read_experiment(folder));
  if (options.markdown) std::cout << report::report_markdown(experiments) << std::flush;
  const std::string output = options.output.empty() && !options.markdown ? "report.html" : options.output;
  if (!output.empty()) {
    base::write_file_atomically(output, report::report_page(experiments));
    // Markdown on standard output stays Markdown.
    (options.markdown ? std::cerr : std::cout) << output << ": " << experiments.size() << " experiments" << std::endl;
  }
  return kExitOk;
}

}  // namespace

void add_report_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("report", "Shows finished or running experiments as one HTML page.");
  const auto options = std::make_shared<ReportOptions>();
  command->add_option("FOLDER", options->folders, "folders of rosa experiment")->required();
  command->add_option("-o,--output", options->output, "page to write (default report.html)");
  command->add_flag("--markdown", options->markdown, "tables as Markdown to standard output; a page only with -o");
  command->callback([&action, options] { action = [options] { return run_report(*options); }; });
}

}  // namespace rosa::launch
