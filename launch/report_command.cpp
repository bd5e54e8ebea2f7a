// `rosa report`: what `rosa train`, `rosa eval --suite`, `rosa experiment` or `rosa demo` left, as one page (of a demo:
// a picture) to look at or as Markdown tables.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "launch/process.h"
#include "launch/run_settings.h"
#include "report/demo/demo_summary.h"
#include "report/experiment/page.h"
#include "report/run/page.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxFollow_s = 86'400;

struct ReportOptions {
  std::vector<std::string> folders;
  std::string output;
  int follow_s = 0;  // 0: written once
  bool markdown = false, force = false;
};

enum class InputKind { run, suite, experiment, demo };

const char* name_of(InputKind kind) {
  switch (kind) {
    case InputKind::run:
      return "a run";
    case InputKind::suite:
      return "a suite";
    case InputKind::experiment:
      return "an experiment";
    case InputKind::demo:
      break;
  }
  return "a demo";
}

InputKind kind_of(const std::string& folder) {
  std::error_code ignored;
  if (fs::is_regular_file(folder, ignored)) return InputKind::suite;  // whoever reads it says where it is none
  if (fs::exists(fs::path(folder) / "experiment.json", ignored)) return InputKind::experiment;
  if (report::is_run_folder(folder)) return InputKind::run;
  base::require<base::DataError>(
      report::is_demo_folder(folder), "'", folder, "' holds no experiment.json, and no ",
      "run.json, metrics.jsonl or summary.json either; expected a folder that `rosa train`, ",
      "`rosa experiment` or `rosa demo` made");
  return InputKind::demo;
}

// Runs and results of suites share a page.
bool share_a_page(InputKind one, InputKind other) {
  const auto is_of_runs = [](InputKind kind) { return kind == InputKind::run || kind == InputKind::suite; };
  return one == other || (is_of_runs(one) && is_of_runs(other));
}

InputKind kind_of(const std::vector<std::string>& folders) {
  const InputKind kind = kind_of(folders[0]);
  for (const std::string& folder : folders) {
    const InputKind other = kind_of(folder);
    base::require<base::ConfigError>(share_a_page(kind, other), "'", folders[0], "' is of ", name_of(kind), " and '",
                                     folder, "' of ", name_of(other), "; make a page of each kind");
  }
  base::require<base::ConfigError>(kind != InputKind::demo || folders.size() == 1, "a picture is of one demo, got ",
                                   folders.size());
  return kind;
}

struct Report {
  std::string page, markdown, holds;
};

// "2 runs, 1 suite"; empty of none.
std::string count_text(std::size_t count, const char* what) {
  return count == 0 ? "" : base::concat(count, " ", what, count == 1 ? "" : "s");
}

Report report_of_runs(const ReportOptions& options, int refresh_s) {
  std::vector<report::TrainingRun> runs;
  std::vector<report::SuiteResult> suites;
  for (const std::string& folder : options.folders) {
    if (kind_of(folder) == InputKind::suite) {
      suites.push_back(report::read_suite_file(folder));
      continue;
    }
    runs.push_back(report::read_training_run(folder));
    for (RunSetting& setting : read_run_settings(folder)) {
      runs.back().configuration.push_back(
          {std::move(setting.key), std::move(setting.value), std::move(setting.source)});
    }
  }
  report::name_runs(runs);
  report::name_suites(suites);
  const char* gap = runs.empty() || suites.empty() ? "" : ", ";
  return {report::run_page(runs, suites, refresh_s),
          options.markdown ? report::run_markdown(runs, suites) : std::string(),
          base::concat(count_text(runs.size(), "run"), gap, count_text(suites.size(), "suite"))};
}

Report report_of_experiments(const ReportOptions& options) {
  std::vector<report::Experiment> experiments;
  for (const std::string& folder : options.folders) experiments.push_back(report::read_experiment(folder));
  return {report::experiment_page(experiments),
          options.markdown ? report::experiment_markdown(experiments) : std::string(),
          base::concat(experiments.size(), " experiments")};
}

Report report_of_demo(const ReportOptions& options) {
  const std::vector<report::DemoPart> parts = report::read_demo(options.folders[0]);
  return {report::demo_picture(parts), report::demo_table(parts).markdown(), "1 demo"};
}

Report make_report(const ReportOptions& options, int refresh_s = 0) {
  switch (kind_of(options.folders)) {
    case InputKind::run:
    case InputKind::suite:
      return report_of_runs(options, refresh_s);
    case InputKind::experiment:
      return report_of_experiments(options);
    case InputKind::demo:
      break;
  }
  return report_of_demo(options);
}

// The page that stays at the end does not load itself anew any more.
void follow(const ReportOptions& options, const fs::path& output) {
  note_stop_signals();  // none of them finds a page half-written
  std::string written;
  while (true) {
    const Report report = make_report(options, options.follow_s);
    if (report.page != written) base::write_file_atomically(output, report.page);
    if (written.empty()) {
      std::cout << base::printable(output.string()) << ": " << report.holds << ", written anew every "
                << options.follow_s << " s; Ctrl-C ends it" << std::endl;
    }
    written = report.page;
    if (wait_for_stop(options.follow_s)) break;
  }
  base::write_file_atomically(output, make_report(options).page);
}

int run_report(const ReportOptions& options) {
  const bool is_picture = kind_of(options.folders) == InputKind::demo;
  const std::string usual_name = options.markdown ? "" : is_picture ? "demo.svg" : "report.html";
  const std::string name = options.output.empty() ? usual_name : options.output;
  const fs::path output = output_path(name);
  if (!name.empty()) {
    check_output({.option = "-o",
                  .path = output,
                  .kind = is_picture ? OutputKind::picture : OutputKind::report_page,
                  .inputs = {options.folders.begin(), options.folders.end()},
                  .folders = {options.folders.begin(), options.folders.end()},
                  .force = options.force});
  }
  std::set<std::filesystem::path> different;
  for (const std::string& folder : options.folders) {
    base::require<base::ConfigError>(different.insert(std::filesystem::weakly_canonical(folder)).second, "'", folder,
                                     "' is given twice");
  }
  if (options.follow_s > 0) {
    base::require<base::ConfigError>(!options.markdown && !base::output_target(output).is_stream,
                                     "--follow writes a page anew again and again; give it a file by -o, and no ",
                                     "--markdown");
    follow(options, output);
    return kExitOk;
  }
  const Report report = make_report(options);
  if (options.markdown) std::cout << report.markdown << std::flush;
  if (!name.empty()) {
    base::write_file_atomically(output, report.page);
    // Markdown on standard output stays Markdown.
    (options.markdown ? std::cerr : messages_beside(output))
        << base::printable(output.string()) << ": " << report.holds << std::endl;
  }
  return kExitOk;
}

}  // namespace

void add_report_command(CLI::App& program, Action& action) {
  CLI::App* command =
      program.add_subcommand("report", "Shows runs, or experiments, as one HTML page; also while they run.");
  const auto options = std::make_shared<ReportOptions>();
  command
      ->add_option("FOLDER", options->folders,
                   "run folders and files of rosa eval --suite -o, folders of rosa experiment, or one of rosa demo")
      ->required();
  command
      ->add_option("-o,--output", options->output,
                   "page to write (default report.html; of a demo demo.svg); - is standard output")
      ->check(refuse_empty_name);
  command
      ->add_option("--follow", options->follow_s,
                   "writes the page anew every so many seconds (default 10), until Ctrl-C; behind the folders")
      ->type_name("SECONDS")
      ->expected(0, 1)
      ->default_str("10")
      ->check(CLI::Range(1, kMaxFollow_s));
  command->add_flag("--force", options->force, "replaces a file that is no page of this command");
  command->add_flag("--markdown", options->markdown, "tables as Markdown to standard output; a page only with -o");
  command->footer(
      "Examples:\n"
      "  rosa report runs/a -o a.html                 a run\n"
      "  rosa report runs/a runs/b -o ab.html         two of them compared\n"
      "  rosa report runs/a -o a.html --follow 30     while it runs\n"
      "  rosa report runs/a suite.json -o a.html      with the results of a suite\n"
      "  rosa report runs/gate runs/counting --markdown\n"
      "  rosa report runs/demo -o demo.svg            what the demo closed of the gap, as a picture");
  command->callback([&action, options] { action = [options] { return run_report(*options); }; });
}

}  // namespace rosa::launch
