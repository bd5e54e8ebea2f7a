// `rosa report`: what `rosa train` or `rosa experiment` left, as one page to look at or as Markdown tables.
#include <CLI/CLI.hpp>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "launch/run_settings.h"
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

bool is_experiment_folder(const std::string& folder) {
  std::error_code ignored;
  return fs::exists(fs::path(folder) / "experiment.json", ignored);
}

// Whether the folders are those of runs; else they are those of experiments.
bool are_runs(const std::vector<std::string>& folders) {
  const std::string* runs = nullptr;
  const std::string* experiments = nullptr;
  for (const std::string& folder : folders) {
    if (is_experiment_folder(folder)) {
      experiments = &folder;
    } else {
      base::require<base::DataError>(report::is_run_folder(folder), "'", folder, "' holds no experiment.json, and no ",
                                     "run.json or metrics.jsonl either; expected a folder that `rosa train` or `rosa ",
                                     "experiment` made");
      runs = &folder;
    }
  }
  base::require<base::ConfigError>(runs == nullptr || experiments == nullptr, "'", runs == nullptr ? "" : *runs,
                                   "' is of a run and '", experiments == nullptr ? "" : *experiments,
                                   "' of an experiment; make a page of each kind");
  return runs != nullptr;
}

struct Report {
  std::string page, markdown, holds;
};

Report report_of_runs(const ReportOptions& options, int refresh_s) {
  std::vector<report::TrainingRun> runs;
  for (const std::string& folder : options.folders) {
    runs.push_back(report::read_training_run(folder));
    for (RunSetting& setting : read_run_settings(folder)) {
      runs.back().configuration.push_back(
          {std::move(setting.key), std::move(setting.value), std::move(setting.source)});
    }
  }
  report::name_runs(runs);
  return {report::run_page(runs, refresh_s), options.markdown ? report::run_markdown(runs) : std::string(),
          base::concat(runs.size(), runs.size() == 1 ? " run" : " runs")};
}

Report report_of_experiments(const ReportOptions& options) {
  std::vector<report::Experiment> experiments;
  for (const std::string& folder : options.folders) experiments.push_back(report::read_experiment(folder));
  return {report::experiment_page(experiments),
          options.markdown ? report::experiment_markdown(experiments) : std::string(),
          base::concat(experiments.size(), " experiments")};
}

Report make_report(const ReportOptions& options, int refresh_s = 0) {
  return are_runs(options.folders) ? report_of_runs(options, refresh_s) : report_of_experiments(options);
}

// Ctrl-C and SIGTERM wait until they are asked for, so that none of them finds a page half-written.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~StopSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Whether one comes within so many seconds.
  bool wait(int seconds) const {
    const timespec time = {seconds, 0};
    int signal = 0;
    do {
      signal = sigtimedwait(&signals_, nullptr, &time);
    } while (signal < 0 && errno == EINTR);
    return signal > 0;
  }

 private:
  sigset_t signals_{}, before_{};
};

// The page that stays at the end does not load itself anew any more.
void follow(const ReportOptions& options, const fs::path& output) {
  const StopSignals signals;
  std::string written;
  while (true) {
    const Report report = make_report(options, options.follow_s);
    if (report.page != written) base::write_file_atomically(output, report.page);
    if (written.empty()) {
      std::cout << base::printable(output.string()) << ": " << report.holds << ", written anew every "
                << options.follow_s << " s; Ctrl-C ends it" << std::endl;
    }
    written = report.page;
    if (signals.wait(options.follow_s)) break;
  }
  base::write_file_atomically(output, make_report(options).page);
}

int run_report(const ReportOptions& options) {
  const std::string name = options.output.empty() && !options.markdown ? "report.html" : options.output;
  const fs::path output = output_path(name);
  if (!name.empty()) {
    check_output({.option = "-o",
                  .path = output,
                  .kind = OutputKind::report_page,
                  .folders = {options.folders.begin(), options.folders.end()},
                  .force = options.force});
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
  command->add_option("FOLDER", options->folders, "run folders, or folders of rosa experiment")->required();
  command->add_option("-o,--output", options->output, "page to write (default report.html); - is standard output")
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
      "  rosa report runs/gate runs/counting --markdown");
  command->callback([&action, options] { action = [options] { return run_report(*options); }; });
}

}  // namespace rosa::launch
