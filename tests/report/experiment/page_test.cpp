// The whole page and its Markdown, of whole, unfinished and hostile experiments. A real parser looks at every page
// (tests/support/check_report_page.py); how it looks in a browser is tested with the program
// (tests/launch/report_page_test.py).
#include "report/experiment/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "base/file.h"
#include "tests/report/experiment/experiment_folder.h"

namespace rosa::report {
namespace {

using testing::ExperimentFolder;
using ::testing::HasSubstr;

std::string page_of(const std::vector<const ExperimentFolder*>& folders) {
  std::vector<Experiment> experiments;
  for (const ExperimentFolder* folder : folders) experiments.push_back(read_experiment(folder->path()));
  const std::string page = experiment_page(experiments);
  testing::TemporaryFolder work;
  base::write_file_atomically(work / "page.html", page);
  const std::string check = "python3 '" ROSA_SOURCE_DIR "/tests/support/check_report_page.py' ";
  EXPECT_EQ(std::system((check + (work / "page.html").string()).c_str()), 0);
  return page;
}

std::string markdown_of(const ExperimentFolder& folder) {
  return experiment_markdown({read_experiment(folder.path())});
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

// Pages are too long for a matcher's message.
bool holds(const std::string& page, const std::string& part) { return count(page, part) > 0; }

ExperimentFolder::Json study(const std::string& estimator, const std::string& scope, int samples, int step,
                             double variance) {
  const std::string label = estimator + "/" + scope + (samples > 1 ? " K" + std::to_string(samples) : "");
  return {{"kind", "variance"},   {"step", step},           {"label", label},     {"estimator", estimator},
          {"scope", scope},       {"num_samples", samples}, {"evaluations", 2.0}, {"microseconds", 500.0},
          {"variance", variance}, {"bias", 0.03},           {"cosine", 0.5}};
}

ExperimentFolder::Json timing(const std::string& kernel, const std::string& family, int length, double microseconds) {
  return {{"kind", "timing"}, {"kernel", kernel}, {"family", family},
          {"length", length}, {"bits", 1},        {"microseconds", microseconds}};
}

// Everything that a folder may hold.
void fill(ExperimentFolder& folder) {
  folder.add_usual_arms();
  folder.write_lines(
      "studies.jsonl",
      {study("flip", "causal", 1, 0, 8), study("flip", "causal", 1, 100, 9), study("disarm", "joint", 2, 100, 36),
       study("disarm", "joint", 2, 0, 34), study("disarm", "joint", 8, 100, 9), timing("all flips", "random", 128, 31),
       timing("all flips", "random", 1024, 400), timing("forward", "random", 128, 6),
       timing("forward", "random", 1024, 60), timing("brute force", "constant", 128, 300)});
  ExperimentFolder::Json result = ExperimentFolder::result(0.4);
  result["rosa_only_accuracy"] = 0.55;
  result["by_distance"] = {{{"distance", 32}, {"accuracy", 0.9}}, {{"distance", 64}, {"accuracy", 0.7}}};
  result["lines"] = {{{"gold", "3 2 1"}, {"rosa", "3 2 2"}, {"model", "342µ1"}}};
  folder.write("flip_causal-seed0/result.json", result.dump());
}

TEST(ReportPage, ShowsEverythingThatAFolderHolds) {
  ExperimentFolder folder;
  fill(folder);
  const std::string page = page_of({&folder});
  for (const char* heading : {"Final loss", "Loss during training", "The gradient", "Linearisation", "Counting",
                              "What the model writes", "Recall by distance", "Time"}) {
    EXPECT_TRUE(holds(page, std::string("<h3>") + heading + "</h3>"));
  }
  for (const char* fact : {"abc123", "a CPU", "rosa ...", "What it is.", "num_steps 100, seconds 2.0"})
    EXPECT_TRUE(holds(page, fact));
  // Two for the final loss, two for the curves, variance by samples (two scopes) and step, linearisation, recall, time
  // (two families).
  EXPECT_EQ(count(page, "<svg xmlns="), 11u);
  EXPECT_FALSE(holds(page, "This folder holds no"));
  EXPECT_FALSE(holds(page, "Unfinished"));
}

TEST(ReportPage, MarksWrongCharactersAndCountsRightOnes) {
  ExperimentFolder folder;
  fill(folder);
  const std::string page = page_of({&folder});
  EXPECT_TRUE(holds(page, "3 2 <mark>2</mark></td><td class=\"count\">4 of 5 right"));
  EXPECT_TRUE(holds(page, "3<mark>4</mark>2<mark>µ</mark>1</td><td class=\"count\">3 of 5 right"));
}

TEST(ReportPage, TheControlIsNeverTheBest) {
  ExperimentFolder folder;
  folder.add_usual_arms();
  folder.write("none-seed0/result.json", ExperimentFolder::result(0.01).dump());
  folder.write("none-seed1/result.json", ExperimentFolder::result(0.01).dump());
  const std::string markdown = markdown_of(folder);
  EXPECT_THAT(markdown, HasSubstr("| none | 2 | 2 | 0.010 ± 0.000 |"));
  EXPECT_THAT(markdown, HasSubstr("| flip/causal | 2 | 2 | **0.500 ± 0.141** | +0.490 |"));
}

TEST(ReportPage, MissingPiecesLeaveOutTheirSections) {
  ExperimentFolder folder;
  folder.add_arm("none", "none");
  folder.add_arm("flip/causal", "flip", "causal");
  const std::string nothing = page_of({&folder});
  EXPECT_EQ(count(nothing, "<h3>"), 0u);
  EXPECT_TRUE(
      holds(nothing, "This folder holds no finished runs, no training losses, no variance studies, no linearisation"));
  EXPECT_TRUE(holds(nothing, "Unfinished: 4 of 4 runs"));
  EXPECT_TRUE(holds(nothing, "flip/causal, seed 1: not begun"));

  folder.add_run("flip_causal-seed0", 0.4, false);
  const std::string begun = page_of({&folder});
  EXPECT_TRUE(holds(begun, "flip/causal, seed 0: at step 100 of 100"));
  EXPECT_TRUE(holds(begun, "<h3>Loss during training</h3>"));
  EXPECT_FALSE(holds(begun, "<h3>Final loss</h3>"));

  folder.add_run("flip_causal-seed0", 0.4);
  EXPECT_THAT(markdown_of(folder), HasSubstr("| flip/causal | 2 | 1 of 2 | 0.400 |"));
}

TEST(ReportPage, RunsThatDivergedAndSingleValues) {
  ExperimentFolder folder;
  folder.add_arm("none", "none");
  folder.add_arm("flip/causal", "flip", "causal");
  folder.write("flip_causal-seed0/metrics.jsonl",
               "{\"kind\": \"step\", \"step\": 1, \"loss\": null, \"seconds\": 1}\n");
  folder.write("none-seed0/metrics.jsonl", "{\"kind\": \"step\", \"step\": 1, \"loss\": 2, \"seconds\": 0}\n");
  ExperimentFolder::Json result = ExperimentFolder::result(0);
  result["equal_steps"]["loss"] = nullptr;
  result["equal_time"] = nullptr;
  folder.write("flip_causal-seed0/result.json", result.dump());
  folder.write_lines("studies.jsonl", {study("flip", "causal", 1, 0, 0), study("flip", "causal", 2, 0, 0)});
  EXPECT_TRUE(holds(page_of({&folder}), "<h3>Final loss</h3>"));
  EXPECT_THAT(markdown_of(folder), HasSubstr("| flip/causal | 2 |"));
}

TEST(ReportPage, HostileTextsStayTexts) {
  ExperimentFolder folder("<script>alert(1)</script>");
  folder.description()["title"] = "</title><script>alert(2)</script>";
  folder.description()["machine"] = "\"><img src=x onerror=alert(3)>";
  folder.description()["settings"]["</style>\x01"] = "javascript:alert(4)";
  folder.add_arm("</text></svg><script>x</script>", "<b onload='x'>", "\"scope\"");
  folder.add_arm("\xF0\x9F\x98\x80 | ` ]]> &amp;", "&", "a\nb");
  folder.add_run("<_text><_svg><script>x<_script>-seed0", 0.5);
  folder.write_lines("studies.jsonl", {timing("'><script>", "<!--", 16, 3), timing("'><script>", "<!--", 32, 5)});
  const std::string page = page_of({&folder, &folder});
  for (const char* part : {"<script", "<img", "<!--"}) EXPECT_FALSE(holds(page, part)) << part;
  EXPECT_TRUE(holds(page, "&lt;script&gt;alert(2)"));
  EXPECT_TRUE(holds(page, "default-src &#39;none&#39;"));
}

TEST(ReportPage, LongNamesAreCutInChartsOnly) {
  ExperimentFolder folder;
  folder.add_arm("none", "none");
  const std::string name = "an_estimator_whose_name_goes_on_and_on_and_on";
  folder.add_arm(name, name);
  folder.add_run(name + "-seed0", 0.5);
  const std::string page = page_of({&folder});
  EXPECT_TRUE(holds(page, "an_estimator_whose_name\u2026</text>") ||
              holds(page, "an_estimator_whose_nam\u2026</text>"));
  EXPECT_FALSE(holds(page, name + "</text>"));
  EXPECT_TRUE(holds(page, "<title>" + name));
}

TEST(ReportPage, SeveralExperimentsShareColoursAndALine) {
  ExperimentFolder first("gate_only"), second("counting"), third("timing");
  first.add_usual_arms();
  fill(second);
  third.write_lines("studies.jsonl", {timing("disarm", "random", 128, 31), timing("disarm", "random", 1024, 31)});
  const std::string page = page_of({&first, &second, &third});
  EXPECT_EQ(count(page, "<article"), 3u);
  EXPECT_EQ(count(page, "<a href=\"#e"), 3u);
  // disarm is the second name on the page, in the timings too.
  const std::string last = page.substr(page.rfind("<article"));
  EXPECT_TRUE(holds(last, "<g class=\"c1\"><title>disarm</title>"));
  // An experiment without arms lacks no finished runs.
  EXPECT_FALSE(holds(last, "This folder holds"));
}

TEST(ReportPage, ManyArmsHaveAPanelForEachScope) {
  ExperimentFolder folder;
  folder.add_arm("none", "none");
  for (const char* estimator : {"flip", "leg", "disarm", "rloo", "arms", "rodeo", "double_cv", "flip_mode", "x", "y"}) {
    for (const char* scope : {"joint", "causal"}) {
      const std::string name = std::string(estimator) + "/" + scope;
      folder.add_arm(name, estimator, scope);
      folder.add_run(std::string(estimator) + "_" + scope + "-seed0", 0.5);
    }
  }
  const std::string page = page_of({&folder});
  for (const char* title :
       {"joint, against steps", "joint, against seconds", "causal, against steps", "causal, against seconds"}) {
    EXPECT_TRUE(holds(page, std::string("<p class=\"panel-title\">") + title));
  }
  EXPECT_TRUE(holds(page, "estimator by reward scope"));
}

TEST(ReportMarkdown, NothingFromFilesIsMarkupOrAControl) {
  ExperimentFolder folder;
  folder.write("experiment.json",
               R"({"task": "gate", "title": "a\u001b[2J\n# fake <b>\u202e", "description": "d\n# fake",
                                     "command": "x`` `y`\n- z", "machine": "m\n\u009b2J", "settings": {"k\n|": "v|"},
                                     "arms": [], "seeds": []})");
  const std::string markdown = markdown_of(folder);
  EXPECT_EQ(count(markdown, "\n#"), 0u) << markdown;
  EXPECT_EQ(count(markdown, "\n- "), 4u) << markdown;
  EXPECT_EQ(markdown.find_first_of("\x1b<"), std::string::npos);
  EXPECT_THAT(markdown, HasSubstr("# a\\\\x1b\\[2J # fake &lt;b>\\\\u202e"));
  EXPECT_THAT(markdown, HasSubstr("- Command: ``` x`` `y` - z ```"));
  EXPECT_EQ(page_of({&folder}).find("\xe2\x80\xae"), std::string::npos);
}

TEST(ReportMarkdown, HoldsTheTablesAndWhereTheyComeFrom) {
  ExperimentFolder folder;
  fill(folder);
  const std::string markdown = markdown_of(folder);
  for (const char* part : {"# A comparison", "- Command: `rosa ...`", "## Final loss", "## The gradient", "## Counting",
                           "## Recall by distance", "## Time", "| random, T\u00a01024 | 400 | 60.0 |"}) {
    EXPECT_THAT(markdown, HasSubstr(part));
  }
  // Every line of a table has as many cells as its head.
  std::size_t cells = 0;
  std::istringstream lines(markdown);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] != '|') {
      cells = 0;
      continue;
    }
    if (cells == 0) cells = count(line, "|");
    EXPECT_EQ(count(line, "|"), cells) << line;
  }
}

}  // namespace
}  // namespace rosa::report
