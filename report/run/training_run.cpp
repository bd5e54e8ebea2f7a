#include "report/run/training_run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "report/markup.h"
#include "report/run/run_log.h"

namespace rosa::report {
namespace {

namespace fs = std::filesystem;
using base::DataError;
using base::JsonFields;
using base::require;

constexpr int64_t kMaxFileBytes = int64_t{1} << 24;
// What a page can hold; a file could name any number.
constexpr std::size_t kMaxFigures = 100, kMaxLayers = 1000, kMaxSources = 100, kMaxSamples = 1000,
                      kMaxSampleBytes = 8000;
// A figure beyond it is as good as one that is not finite.
constexpr double kLargestFigure = 1e30;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double figure_of(const nlohmann::json& value) {
  if (!value.is_number()) return kNan;
  const double number = value.get<double>();
  return std::abs(number) <= kLargestFigure ? number : kNan;
}

// Removes what stands at `step` and behind it.
void cut(Samples& samples, double step) {
  while (!samples.empty() && samples.back().first >= step) samples.pop_back();
}

void cut(FigureSamples& figures, double step) {
  for (auto& [name, samples] : figures) cut(samples, step);
}

void cut(LayerSteps& layer, double step) {
  while (!layer.steps.empty() && layer.steps.back() >= step) {
    layer.steps.pop_back();
    layer.has_collapsed.pop_back();
    for (auto& values : layer.figures) values.pop_back();
  }
}

class MetricsReader {
 public:
  explicit MetricsReader(TrainingRun& run) : run_(run) {}

  void read(const fs::path& path) {
    base::read_json_lines(path, [this](const JsonFields& fields, std::string_view) {
      const std::string kind = fields.text("kind").value_or("");
      if (kind == "step") read_step(fields);
      if (kind == "evaluation") read_evaluation(fields);
      if (kind == "samples") read_samples(fields);
    });
    for (auto& [number, layer] : layers_) run_.layers.push_back(std::move(layer));
    for (std::size_t i = 1; i < stages_.size(); ++i) {
      const auto& [step, stage] = stages_[i];
      run_.events.push_back({EventKind::stage, step, base::concat("stage ", stage, " begins")});
    }
  }

 private:
  static double step_of(const JsonFields& fields) {
    return static_cast<double>(fields.required_integer("step", 0, int64_t{1} << 53));
  }

  static bool is_text(const std::string& name) {
    return name == "kind" || name == "name" || name == "divergence" || name == "stage";
  }

  // Every number of a line, and what is null in it.
  static void add_figures(const JsonFields& fields, double step, FigureSamples& figures) {
    for (const auto& [name, value] : fields.value().items()) {
      if (value.is_string() && !is_text(name)) fields.fail(name, "is a text; expected a number");
      if (name == "step" || !(value.is_number() || value.is_null())) continue;
      if (!figures.contains(name)) {
        if (figures.size() >= kMaxFigures) fields.fail(name, base::concat("is figure number ", kMaxFigures + 1));
      }
      figures[name].emplace_back(step, figure_of(value));
    }
  }

  void read_step(const JsonFields& fields) {
    const double step = step_of(fields);
    if (step <= last_step_) {
      cut(run_.steps, step);
      for (auto& [number, layer] : layers_) cut(layer, step);
      for (SourceSteps& source : run_.sources) cut(source.figures, step);
      std::erase_if(stages_, [step](const auto& stage) { return stage.first >= step; });
    }
    last_step_ = step;
    add_figures(fields, step, run_.steps);
    read_stage(fields, step);
    for (const JsonFields& layer : fields.objects("layers")) read_layer(layer, step);
    for (const JsonFields& source : fields.objects("sources")) read_source(source, step);
    ++run_.num_step_lines;
  }

  // Where each stage begins.
  void read_stage(const JsonFields& fields, double step) {
    if (!fields.value().contains("stage")) return;
    const std::string stage = fields.required_text("stage");
    if (stages_.empty() || stages_.back().second != stage) stages_.emplace_back(step, stage);
  }

  void read_evaluation(const JsonFields& fields) {
    const double step = step_of(fields);
    cut(run_.evaluations, step);
    add_figures(fields, step, run_.evaluations);
    if (run_.suite && run_.suite->num_steps_done >= step) run_.suite.reset();
    const auto suite = fields.object("suite");
    if (!suite) return;
    add_figures(*suite, step, run_.evaluations);
    run_.suite = SuiteResult{.name = {}, .file = {}, .suite = {}, .run = {}, .num_steps_done = step, .rows = {}};
    run_.suite->rows = read_suite_rows(fields, "suite_rows");
  }

  void read_samples(const JsonFields& fields) {
    const double step = step_of(fields);
    while (!run_.samples.empty() && run_.samples.back().step >= step) run_.samples.pop_back();
    if (!run_.samples.empty()) run_.samples.back().texts.resize(1);
    TextSamples samples = {step, {}};
    for (const JsonFields& sample : fields.objects("samples")) {
      samples.texts.push_back(
          {short_text(sample, "prompt"), short_text(sample, "continuation"), short_text(sample, "reference")});
      if (samples.texts.size() > kMaxSamples) fields.fail("samples", base::concat("has more than ", kMaxSamples));
    }
    if (!samples.texts.empty()) run_.samples.push_back(std::move(samples));
  }

  // Cut, since a page is for people to read.
  static std::string short_text(const JsonFields& fields, const char* key) {
    const std::string whole = fields.required_text(key);
    if (whole.size() <= kMaxSampleBytes) return whole;
    std::string text;
    for (const std::string_view character : characters(whole)) {
      if (text.size() + character.size() > kMaxSampleBytes) break;
      text += character;
    }
    return text + "\u2026";
  }

  void read_layer(const JsonFields& fields, double step) {
    const int64_t number = fields.required_integer("layer", 0);
    LayerSteps& layer = layers_[number];
    if (layers_.size() > kMaxLayers) fields.fail("layer", base::concat("is more than the ", kMaxLayers, "th layer"));
    layer.layer = number;
    cut(layer, step);
    layer.steps.push_back(step);
    std::array<double, kLayerFigures.size()> values{};
    for (std::size_t i = 0; i < kLayerFigures.size(); ++i) {
      const std::optional<double> value = fields.number(kLayerFigures[i].name.data());
      values[i] = value && std::abs(*value) <= kLargestFigure ? *value : kNan;
      layer.figures[i].push_back(static_cast<float>(values[i]));
    }
    // As training/layer_metrics.h has it: no match anywhere, or symbols that never change.
    layer.has_collapsed.push_back(values[0] == 0 || values[6] == 1 || values[8] == 1);
  }

  void read_source(const JsonFields& fields, double step) {
    const std::string name = fields.required_text("name");
    auto found = std::find_if(run_.sources.begin(), run_.sources.end(),
                              [&](const SourceSteps& source) { return source.name == name; });
    if (found == run_.sources.end()) {
      if (run_.sources.size() >= kMaxSources) fields.fail("name", base::concat("is source number ", kMaxSources + 1));
      found = run_.sources.insert(found, {name, {}});
    }
    add_figures(fields, step, found->figures);
  }

  TrainingRun& run_;
  double last_step_ = -1;
  std::vector<std::pair<double, std::string>> stages_;  // by the first step that is logged of each
  std::map<int64_t, LayerSteps> layers_;
};

// Where a count that only grows has grown.
void add_growth(TrainingRun& run, const char* key, EventKind kind, const char* what) {
  double before = 0;
  for (const auto& [step, count] : run.step_figure(key)) {
    if (!(count > before)) continue;
    const double growth = count - before;
    run.events.push_back({kind, step, base::concat(static_cast<int64_t>(growth), what), static_cast<int64_t>(growth)});
    before = count;
  }
}

void sort_events(std::vector<Event>& events) {
  const auto place = [](const Event& event) { return event.step.value_or(std::numeric_limits<double>::infinity()); };
  std::stable_sort(events.begin(), events.end(),
                   [&](const Event& left, const Event& right) { return place(left) < place(right); });
}

void read_checkpoints(const fs::path& folder, TrainingRun& run) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with("step_")) ++run.num_checkpoints;
  }
  for (const auto& entry : fs::directory_iterator(folder / "set_aside", ignored)) {
    run.set_aside.push_back(entry.path().filename().string());
  }
  std::sort(run.set_aside.begin(), run.set_aside.end());
}

const Samples& samples_of(const FigureSamples& figures, const std::string& key) {
  static const Samples kNone;
  const auto found = figures.find(key);
  return found == figures.end() ? kNone : found->second;
}

}  // namespace

std::string TrainingRun::setting(const std::string& key) const {
  const auto found = std::find_if(configuration.begin(), configuration.end(),
                                  [&](const ConfigEntry& entry) { return entry.key == key; });
  return found == configuration.end() ? "" : found->value;
}

const Samples& TrainingRun::step_figure(const std::string& key) const { return samples_of(steps, key); }

const Samples& TrainingRun::evaluation_figure(const std::string& key) const { return samples_of(evaluations, key); }

double TrainingRun::num_steps_done() const {
  double done = static_cast<double>(last_saved_step.value_or(0));
  for (const auto& [key, figure] : steps) {
    if (!figure.empty()) done = std::max(done, figure.back().first + 1);  // a step is named from 0
  }
  for (const auto& [key, figure] : evaluations) {
    if (!figure.empty()) done = std::max(done, figure.back().first);
  }
  return done;
}

bool is_run_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "run.json", ignored) || fs::exists(folder / "metrics.jsonl", ignored);
}

TrainingRun read_training_run(const fs::path& folder) {
  require<DataError>(is_run_folder(folder), "'", folder.string(), "' holds neither run.json nor metrics.jsonl; ",
                     "expected the folder of a training run");
  TrainingRun run;
  run.folder = folder;
  if (fs::exists(folder / "run.json")) {
    const auto value = base::read_json<DataError>(folder / "run.json", kMaxFileBytes);
    const JsonFields fields(value, (folder / "run.json").string());
    run.run_id = fields.text("run_id").value_or("");
    run.last_saved_step = fields.integer("last_saved_step");
    if (run.last_saved_step && *run.last_saved_step < 0) run.last_saved_step.reset();  // none was
  }
  if (fs::exists(folder / "metrics.jsonl")) MetricsReader(run).read(folder / "metrics.jsonl");
  const std::vector<Event> logged = read_run_logs(folder);
  run.events.insert(run.events.end(), logged.begin(), logged.end());
  add_growth(run, "num_skipped", EventKind::skipped, " skipped since the line before");
  add_growth(run, "num_spikes", EventKind::spike, " spikes of the loss since the line before");
  sort_events(run.events);
  read_checkpoints(folder / "checkpoints", run);
  return run;
}

void name_runs(std::vector<TrainingRun>& runs) {
  std::set<fs::path> folders;
  std::map<std::string, int> counts;
  for (TrainingRun& run : runs) {
    const fs::path whole = fs::weakly_canonical(run.folder);
    require<base::ConfigError>(folders.insert(whole).second, "'", run.folder.string(), "' is given twice");
    run.name = whole.filename().string();
    ++counts[run.name];
  }
  for (TrainingRun& run : runs) {
    if (counts[run.name] > 1) run.name = fs::weakly_canonical(run.folder).string();
  }
}

}  // namespace rosa::report
