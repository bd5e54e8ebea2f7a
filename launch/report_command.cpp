// `rosa report`: what `rosa experiment` left, as one page to look at or as Markdown tables.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "report/experiment/page.h"

namespace rosa::launch {
namespace {

struct ReportOptions {
  std::vector<std::string> folders;
  std::string output;
  bool markdown = false, force = false;
};

int run_report(const ReportOptions& options) {
  const std::string name = options.output.empty() && !options.markdown ? "report.html" : options.output;
  const std::filesystem::path output = output_path(name);
  if (!name.empty()) {
    check_output({.option = "-o",
                  .path = output,
                  .kind = OutputKind::report_page,
                  .folders = {options.folders.begin(), options.folders.end()},
                  .force = options.force});
  }
  std::vector<report::Experiment> experiments;
  for (const std::string& folder : options.folders) experiments.push_back(report::read_experiment(folder));
  if (options.markdown) std::cout << report::experiment_markdown(experiments) << std::flush;
  if (!name.empty()) {
    base::write_file_atomically(output, report::experiment_page(experiments));
    // Markdown on standard output stays Markdown.
    (options.markdown ? std::cerr : messages_beside(output))
        << base::printable(output.string()) << ": " << experiments.size() << " experiments" << std::endl;
  }
  return kExitOk;
}

}  // namespace

void add_report_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("report", "Shows finished or running experiments as one HTML page.");
  const auto options = std::make_shared<ReportOptions>();
  command->add_option("FOLDER", options->folders, "folders of rosa experiment")->required();
  command->add_option("-o,--output", options->output, "page to write (default report.html); - is standard output")
      ->check(refuse_empty_name);
  command->add_flag("--force", options->force, "replaces a file that is no page of this command");
  command->add_flag("--markdown", options->markdown, "tables as Markdown to standard output; a page only with -o");
  command->footer(
      "Examples:\n"
      "  rosa report runs/gate runs/counting -o report.html\n"
      "  rosa report runs/gate --markdown");
  command->callback([&action, options] { action = [options] { return run_report(*options); }; });
}

}  // namespace rosa::launch
