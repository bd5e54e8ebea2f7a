#include "launch/dry_run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <thread>

#include "base/checksum.h"
#include "base/error.h"
#include "base/printable.h"
#include "base/process_memory.h"
#include "launch/build_info.h"
#include "launch/findings.h"
#include "launch/host_facts.h"
#include "launch/plan_display.h"
#include "launch/progress.h"
#include "launch/suite_file.h"
#include "parallel/device.h"
#include "parallel/replicas.h"
#include "parallel/self_check.h"
#include "training/automaton_threads.h"
#include "training/checkpoint_store.h"
#include "training/checkpoint_writer.h"
#include "training/current_stage.h"
#include "training/idle_keys.h"
#include "training/lora.h"
#include "training/plan/run_plan.h"
#include "training/progress.h"
#include "training/resume.h"
#include "training/run_identity.h"
#include "training/run_objects.h"
#include "training/suite/suite.h"
#include "training/trained_base.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using base::concat;
using training::Batch;
using Seconds = std::chrono::duration<double>;

constexpr double kSuspiciousClockSeconds = 1.0;
constexpr int64_t kSpareMemoryBytes = int64_t{256} << 20;
constexpr int64_t kBytesPerMetricsLine = 512;
// A network file system may show a new file late.
constexpr std::chrono::seconds kFileVisibleDeadline{10};

class Stopwatch {
 public:
  double seconds() const { return Seconds(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::string number_text(double value, int num_digits = 3) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.*g", num_digits, value);
  return text.data();
}

uint64_t checksum_of(const std::map<std::string, at::Tensor>& tensors) {
  base::ChecksumStream stream;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.is_meta()) continue;  // shared out: each rank has another part
    const at::Tensor host = tensor.detach().cpu().contiguous();
    stream.update(std::as_bytes(std::span(name)));
    stream.update({static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
  }
  return stream.value();
}

int64_t bytes_of(const std::map<std::string, at::Tensor>& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

int64_t bytes_of_files(const fs::path& folder) {
  int64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

class DryRun {
 public:
  DryRun(Session& session, const LoadedConfig& loaded, training::Objective objective,
         const std::set<std::string>& accepted)
      : session_(session),
        communicator_(session.communicator()),
        loaded_(loaded),
        config_(loaded.config),
        objective_(objective),
        accepted_(accepted),
        facts_(read_host_facts()) {
    // Where a run would skip a step and go on, the dry run has found what it looks for.
    for (training::Stage& stage : strict_stages_) {
      stage.config.failures.step_guard.on_non_finite = training::OnNonFinite::stop;
      stage.config.logging.consumed_samples = false;  // nothing is
    }
  }

  void run() {
    report("Ranks", ranks());
    report("Configuration", configuration());
    report("Collectives", collectives(communicator_, at::kCPU));
    report("Model", model());
    report("Data", data());
    report("Steps (thrown away)", steps());
    report("Checkpoint and disk", checkpoint_and_disk());
    report("Memory", memory());
    if (session_.is_main_rank()) print_warning_count(num_warnings_);
  }

 private:
  void report(const std::string& title, const std::vector<Finding>& findings) {
    if (session_.is_main_rank()) num_warnings_ += print_findings(title, findings);
  }

  double largest(double value) {
    return communicator_.all_reduce_values(std::vector<double>{value}, parallel::Reduction::max).front();
  }
  int64_t sum(int64_t value) {
    return communicator_.all_reduce_values(std::vector<int64_t>{value}, parallel::Reduction::sum).front();
  }

  // Where the ranks are, whether they are alike, and whether their clocks agree.
  std::vector<Finding> ranks() {
    parallel::compare_across_ranks(communicator_, "configuration", loaded_.text);
    parallel::compare_across_ranks(communicator_, "program", concat(kBuildVersion, ", LibTorch ", kBuildTorch));
    parallel::compare_across_ranks(communicator_, "CPU capability", at::get_cpu_capability());
    hosts_ = communicator_.all_gather_text(facts_.host);
    const std::vector<std::string> cores = communicator_.all_gather_text(std::to_string(usable_cores(facts_)));
    const std::vector<parallel::ClockOffset> clocks = parallel::measure_clock_offsets(communicator_);
    std::vector<Finding> findings = {
        {"compared", concat("configuration, program ", kBuildVersion, ", CPU capability ", at::get_cpu_capability()),
         ""}};
    if (objective_ == training::Objective::distill) {
      for (const training::IdleKey& idle : training::idle_keys(loaded_.stages)) {
        findings.push_back({"configuration", idle.key, idle_key_text(idle)});
      }
    }
    const std::set<std::string> names(hosts_.begin(), hosts_.end());
    for (const std::string& name : names) {
      const auto first = std::find(hosts_.begin(), hosts_.end(), name) - hosts_.begin();
      const auto num_ranks = std::count(hosts_.begin(), hosts_.end(), name);
      const parallel::ClockOffset& clock = clocks[static_cast<std::size_t>(first)];
      Finding finding{"host " + name,
                      concat(num_ranks, num_ranks == 1 ? " rank, " : " ranks, ", cores[static_cast<std::size_t>(first)],
                             " cores, ", num_ranks * config_.compute.threads, " used by compute.threads; clock ",
                             clock.seconds < 0 ? "" : "+", number_text(clock.seconds * 1e3), " ms against rank 0 (+- ",
                             number_text(clock.uncertainty_seconds * 1e3), ")"),
                      ""};
      const int64_t num_threads = num_ranks * config_.compute.threads;
      if (num_threads > std::stoi(cores[static_cast<std::size_t>(first)])) {
        finding.warning = concat(num_ranks, " ranks with compute.threads ", config_.compute.threads, " on ",
                                 cores[static_cast<std::size_t>(first)], " cores: they wait for each other");
      }
      if (std::abs(clock.seconds) - clock.uncertainty_seconds > kSuspiciousClockSeconds) {
        finding.warning = "its clock differs: logs can't be compared and file times mislead; is NTP running?";
      }
      findings.push_back(finding);
    }
    return findings;
  }

  // Against model and data, before anything is built.
  std::vector<Finding> configuration() {
    const std::vector<std::string> warnings =
        training::check_stages(loaded_.stages, objective_, communicator_.world_size());
    std::vector<Finding> findings = {{"rules", "kept, with the model and the data", ""}};
    if (!loaded_.length.empty()) findings.push_back({"steps", loaded_.length, ""});
    if (loaded_.stages.size() > 1) findings.push_back({"stages", stage_names(), ""});
    for (const std::string& warning : warnings) findings.push_back({"hardly meant", "", warning});
    return findings;
  }

  std::string stage_names() const {
    std::string names;
    for (const training::Stage& stage : loaded_.stages) {
      names += concat(names.empty() ? "" : ", ", stage.name, " (", stage.config.train.num_steps, " steps)");
    }
    return names + "; what follows tries each";
  }

  std::vector<Finding> collectives(parallel::Communicator& communicator, const at::Device& device) {
    const std::vector<parallel::CollectiveTiming> timings = parallel::check_collectives(communicator, device);
    std::vector<Finding> findings = {{"right results",
                                      concat(timings.size(), " calls over ", communicator.backend_name(), ", ",
                                             communicator.world_size(), " ranks, ", device.str()),
                                      ""}};
    // One line for an operation, with the sizes in their order.
    std::vector<std::string> order;
    std::map<std::string, std::string> lines;
    for (const parallel::CollectiveTiming& timing : timings) {
      std::string& line = lines[timing.name];
      if (line.empty()) order.push_back(timing.name);
      if (!line.empty()) line += ", ";
      if (timing.num_bytes > 0) line += size_text(timing.num_bytes) + " in ";
      line += number_text(timing.ms) + " ms";
    }
    for (const std::string& name : order) findings.push_back({name, lines[name], ""});
    return findings;
  }

  // Builds the run, as train does; picks devices, and refuses two ranks on one GPU.
  std::vector<Finding> model() {
    const Stopwatch watch;
    objects_.emplace(training::build_run(config_, objective_, communicator_));
    const double load_seconds = largest(watch.seconds());
    parallel::compare_across_ranks(communicator_, "model weights",
                                   base::to_hex(checksum_of(objects_->model->parameters())));
    stage_.emplace(strict_stages_, *objects_, communicator_);
    std::vector<Finding> findings = {
        {"weights",
         concat(size_text(bytes_of(objects_->model->parameters())), " (", config_.model.compute_dtype, "), loaded in ",
                number_text(load_seconds), " s, equal on every rank"),
         ""},
        {"trained",
         concat(stage_->trainer().trained().size(), " tensors, ", size_text(bytes_of(stage_->trainer().trained())),
                "; gradients and optimiser about three times as much"),
         ""},
    };
    if (const int64_t num_fixed = num_hash_weights(); num_fixed > 0) {
      findings.push_back({"fixed hashes",
                          concat(num_fixed, " elements of the adapters make symbols and are not trained (",
                                 "adapter.estimator ", config_.adapter.estimator, ")"),
                          ""});
    }
    for (const Finding& group : optimizer_groups()) findings.push_back(group);
    for (const Finding& device : devices()) findings.push_back(device);
    if (objects_->device_communicator) {
      for (const Finding& finding : collectives(*objects_->device_communicator, objects_->device)) {
        findings.push_back(finding);
      }
    }
    return findings;
  }

  int64_t num_hash_weights() const {
    int64_t count = 0;
    if (!objects_->adapters) return 0;
    for (const auto& [name, weight] : objects_->adapters->parameters()) {
      if (training::is_fixed_hash(config_, name)) count += weight.numel();
    }
    return count;
  }

  std::vector<Finding> optimizer_groups() const {
    training::NamedTensors all = objects_->adapters ? objects_->adapters->parameters() : objects_->model->parameters();
    if (objects_->adapters) all.merge(training::trained_base(config_.train, *objects_->model));
    all.merge(training::lora_weights(objects_->adapters.get()));
    std::vector<Finding> findings;
    for (const training::GroupSummary& group : training::group_summaries(
             all, training::trained_patterns(config_, objective_, objects_->model->config()), config_.optimizer)) {
      const std::string title =
          group.pattern.empty() ? "optimiser" : concat("optimiser, ", base::excerpt(group.pattern));
      const std::string rate =
          concat("learning rate x ", group.settings.rate, ", weight decay ", group.settings.weight_decay);
      findings.push_back({title,
                          concat(group.num_tensors, " tensors, ", group.num_elements, " elements, ",
                                 group.settings.rate == 0 ? std::string("frozen") : rate),
                          ""});
    }
    return findings;
  }

  std::vector<Finding> devices() {
    const parallel::DeviceSystem system = parallel::find_device_system();
    const bool is_gpu = objects_->device.is_cuda();
    const std::string own = is_gpu ? system.description(objects_->device.index()) : "";
    const std::vector<std::string> all = communicator_.all_gather_text(own);
    if (!is_gpu) return {{"device", "cpu on every rank", ""}};
    std::vector<Finding> findings;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      findings.push_back({concat("device of rank ", rank), concat(all[rank], " on ", hosts_[rank], ", its own"), ""});
    }
    return findings;
  }

  // Loads what this rank would load in the first steps and in the last one, and a held-out sequence.
  std::vector<Finding> data() {
    parallel::compare_across_ranks(
        communicator_, "data",
        stage_->parts().training_data.fingerprint() + "\n" + stage_->parts().held_out_data.fingerprint());
    const int64_t last = config_.train.num_steps - 1;
    int64_t num_counted = 0, num_tokens = 0;
    const Stopwatch watch;
    const std::set<int64_t> steps = {0, std::min<int64_t>(1, last), last};
    for (const int64_t step : steps) {
      for (int64_t micro_batch = communicator_.rank(); micro_batch < config_.train.micro_batches;
           micro_batch += communicator_.world_size()) {
        const Batch batch =
            checked_batch(stage_->parts().training_data, "training", step,
                          micro_batch * config_.train.micro_batch_sequences, config_.train.micro_batch_sequences);
        num_counted += batch.labels.ne(training::kIgnoredLabel).sum().item<int64_t>();
        num_tokens += batch.input_ids.numel();
      }
    }
    const double seconds = largest(watch.seconds());
    if (config_.evaluation.every > 0) checked_batch(stage_->parts().held_out_data, "held-out", 0, 0, 1);
    if (!config_.evaluation.suite.empty()) {
      const training::SuiteConfig suite = load_suite(config_.evaluation.suite).config;
      for (const training::Stage& stage : loaded_.stages) check_suite_texts(suite, stage.config);
    }
    num_counted = sum(num_counted);
    num_tokens = sum(num_tokens);
    base::require<base::DataError>(num_counted > 0, "no token of the first and last batches counts in the loss");
    return {{"first and last batches",
             concat(num_tokens, " tokens in ", steps.size(), " steps, ", num_counted, " count in the loss, loaded in ",
                    number_text(seconds * 1e3), " ms"),
             ""},
            {"vocabulary",
             concat(stage_->parts().training_data.vocabulary_size(), " of the model's ",
                    objects_->model->config().vocab_size),
             ""}};
  }

  Batch checked_batch(const training::DataSource& source, const char* which, int64_t step, int64_t first,
                      int64_t num_samples) const {
    const Batch batch = source.batch(step, first, num_samples);
    const int64_t vocabulary = objects_->model->config().vocab_size;
    const int64_t smallest = batch.input_ids.min().item<int64_t>(), greatest = batch.input_ids.max().item<int64_t>();
    base::require<base::DataError>(smallest >= 0 && greatest < vocabulary, "the ", which, " batch of step ", step,
                                   " holds token ", smallest < 0 ? smallest : greatest, ", expected 0 to ",
                                   vocabulary - 1);
    return batch;
  }

  std::vector<Finding> steps() {
    std::vector<Finding> findings;
    double all_seconds = 0.0;
    for (std::size_t i = 0; i < strict_stages_.size(); ++i) {
      if (i > 0) stage_->enter({.index = static_cast<int64_t>(i)});
      for (Finding& finding : steps_of_stage(all_seconds)) {
        const std::string title = stage_->title();
        if (!title.empty()) finding.name = concat(finding.name, ", ", title);
        findings.push_back(std::move(finding));
      }
    }
    if (strict_stages_.size() > 1) {
      findings.push_back({"time of the run", concat("about ", duration_text(all_seconds)), ""});
    }
    return findings;
  }

  // The second is the one to judge time by: the first also allocates.
  std::vector<Finding> steps_of_stage(double& all_seconds) {
    training::Trainer& trainer = stage_->trainer();
    const int64_t num_steps = stage_->config().train.num_steps;
    const training::StepMetrics first = trainer.step(0);
    const training::StepMetrics metrics = num_steps > 1 ? trainer.step(1) : first;
    trainer.require_finite_weights();
    peak_bytes_ = std::max(peak_bytes_, metrics.memory_bytes);
    const double seconds = largest(metrics.step_ms) / 1e3;
    all_seconds += seconds * static_cast<double>(num_steps);
    const bool learns = first.loss != 0 && first.gradient_norm != 0;
    return {{"loss", concat(number_text(first.loss), ", gradient norm ", number_text(first.gradient_norm)),
             learns ? "" : "there is nothing to learn: loss or gradient is 0"},
            {"time",
             concat(number_text(seconds * 1e3), " ms a step: ", num_steps, " steps take about ",
                    duration_text(seconds * static_cast<double>(num_steps)), " without evaluation and checkpoints"),
             ""}};
  }

  // A checkpoint beside the real ones: written by all ranks, verified by every rank, deleted.
  std::vector<Finding> checkpoint_and_disk() {
    const fs::path run_folder = config_.run.folder, folder = run_folder / "dry_run";
    const int64_t free_bytes = free_disk_bytes(existing_part_of(run_folder));
    bool made_run_folder = false;
    if (session_.is_main_rank()) {
      std::error_code error;
      made_run_folder = !fs::exists(run_folder, error);
      fs::remove_all(folder, error);  // of a dry run that was killed
    }
    const Stopwatch write_watch;
    const fs::path written = write_test_checkpoint(folder);
    const double write_seconds = write_watch.seconds();
    const Stopwatch verify_watch;
    const std::string trouble = trouble_with_checkpoint(written);
    const double verify_seconds = largest(verify_watch.seconds());
    const std::vector<std::string> troubles = communicator_.all_gather_text(trouble);
    if (session_.is_main_rank()) {
      checkpoint_bytes_ = bytes_of_files(written);
      fs::remove_all(folder);
      if (made_run_folder) fs::remove(run_folder);
    }
    for (std::size_t rank = 0; rank < troubles.size(); ++rank) {
      base::require<base::CheckpointError>(troubles[rank].empty(), "the test checkpoint can't be used by rank ", rank,
                                           " on ", hosts_[rank], ": ", troubles[rank]);
    }
    std::vector<Finding> findings = {
        {"test checkpoint",
         concat(size_text(checkpoint_bytes_), ", written in ", number_text(write_seconds),
                " s, verified by every rank in ", number_text(verify_seconds), " s, deleted"),
         ""},
        disk(free_bytes)};
    findings.push_back(resume());
    return findings;
  }

  // As a run saves: every rank writes its share.
  fs::path write_test_checkpoint(const fs::path& folder) {
    if (session_.is_main_rank()) {
      std::error_code error;
      fs::create_directories(folder, error);
      base::require<base::FileError>(!error, "can't create ", folder.string(), ": ", error.message());
    }
    communicator_.barrier();
    training::CheckpointWriter writer(communicator_, folder, {});
    writer.start({"dry_run", /*step=*/0, std::nullopt}, stage_->trainer().state(), {{"config.yaml", loaded_.text}});
    const auto outcome = writer.finish();
    base::require<base::CheckpointError>(
        outcome && outcome->ok(), "the test checkpoint can't be written: ", outcome ? outcome->error : "no outcome");
    return outcome->folder;
  }

  // Why this rank can't use the checkpoint, or empty.
  std::string trouble_with_checkpoint(const fs::path& path) const {
    const auto deadline = std::chrono::steady_clock::now() + kFileVisibleDeadline;
    std::error_code error;
    while (!fs::exists(path / "manifest.json", error)) {
      if (std::chrono::steady_clock::now() > deadline) {
        return concat(path.string(), " is not there: run.folder must be on a file system that all hosts share");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    try {
      training::verify_checkpoint(path);
    } catch (const base::Error& problem) {
      return problem.what();
    }
    return "";
  }

  Finding disk(int64_t free_bytes) {
    const int64_t num_steps = training::num_steps(loaded_.stages);
    const int64_t every = config_.checkpoint.every > 0 ? config_.checkpoint.every : num_steps;
    const auto num_borders = static_cast<int64_t>(loaded_.stages.size()) - 1;
    const int64_t num_all = (num_steps + every - 1) / every + num_borders;
    const int64_t kept = config_.checkpoint.keep_last;
    // One more than are kept: the next is whole before the oldest goes.
    const int64_t num_checkpoints = kept > 0 ? std::min(num_all, kept) + 1 : num_all;
    const int64_t num_lines = num_steps / std::max<int64_t>(1, config_.logging.every);
    const int64_t needed = num_checkpoints * checkpoint_bytes_ + num_lines * kBytesPerMetricsLine;
    const std::string text = concat("about ", size_text(needed), " for ", num_checkpoints, " checkpoints and metrics, ",
                                    size_text(free_bytes), " free for ", config_.run.folder);
    if (session_.is_main_rank()) {
      base::require<base::FileError>(needed <= free_bytes, "the disk is too small: ", text,
                                     "; free some space, or keep fewer checkpoints (checkpoint.keep_last)");
    }
    return {"disk", text, ""};
  }

  // Throws what the resume would throw.
  Finding resume() {
    training::RunIdentity identity = identity_of_run();
    const training::ResumePoint point = training::find_resume_point({.run_folder = config_.run.folder,
                                                                     .mode = config_.checkpoint.resume,
                                                                     .accept_other_run = identity.accepts("run"),
                                                                     .only_look = true},
                                                                    communicator_);
    std::string text = "at step 0";
    if (point.checkpoint) {
      load(*point.checkpoint, identity);
      text =
          concat("from ", point.checkpoint->folder().string(), " (checkpoint.resume: ", config_.checkpoint.resume, ")");
      const training::CheckpointStore store(fs::path(config_.run.folder) / "checkpoints");
      const int64_t own_step =
          store.holds(point.checkpoint->folder()) ? point.checkpoint->manifest().info.step : int64_t{-1};
      const size_t num_later = store.later_than(own_step).size();
      if (num_later > 0) {
        text += concat(", and set aside ", num_later, num_later == 1 ? " checkpoint" : " checkpoints",
                       " of the run that ", num_later == 1 ? "doesn't" : "don't", " lead there");
      }
    } else if (!config_.train.init_from.empty() && objects_->adapters) {
      training::load_start_weights(config_, *objects_->adapters);
      text += concat(", with the weights of ", config_.train.init_from);
    }
    return {"the run would start", text, ""};
  }

  training::RunIdentity identity_of_run() const { return {stage_->identity(loaded_.stages, objective_), accepted_}; }

  // As a run that goes on does it, into the run that is thrown away.
  void load(const training::Checkpoint& checkpoint, training::RunIdentity& identity) {
    identity.set_known(recorded_recipe(checkpoint.folder() / "config.yaml"));
    checkpoint.load({{"identity", &identity}});
    stage_->enter(training::place_of(checkpoint.state("progress")));
    if (identity.accepts_other_tensors()) stage_->trainer().accept_other_tensors();
    checkpoint.load(stage_->trainer().state());
  }

  // Of the process, as `rosa plan` has it.
  int64_t planned_peak() {
    const std::set<std::string> hosts(hosts_.begin(), hosts_.end());
    return training::plan_run({.config = config_,
                               .objective = objective_,
                               .model = objects_->model->config(),
                               .num_ranks = communicator_.world_size(),
                               .num_hosts = static_cast<int64_t>(hosts.size()),
                               .on_gpu = objects_->device.is_cuda(),
                               .automaton_threads = training::num_automaton_threads(config_.compute, communicator_)})
        .memory.host_peak();
  }

  // Peaks of the ranks of a host against what the host has.
  std::vector<Finding> memory() {
    const HostFacts now = read_host_facts();
    int64_t available = now.available_memory_bytes;
    const auto of_ranks = [this](int64_t own) {
      std::vector<int64_t> numbers;
      for (const std::string& number : communicator_.all_gather_text(std::to_string(own))) {
        numbers.push_back(std::stoll(number));
      }
      return numbers;
    };
    const auto process = base::read_process_memory();
    const int64_t shared = process ? process->resident_bytes - process->proportional_bytes : 0;
    const std::vector<int64_t> peaks = of_ranks(peak_bytes_), numbers = of_ranks(peak_bytes_ - shared);
    int64_t on_host = 0;
    for (std::size_t rank = 0; rank < numbers.size(); ++rank) {
      if (hosts_[rank] == facts_.host) on_host += numbers[rank];
    }
    if (now.cgroup_memory_bytes > 0) available = std::min(available, now.cgroup_memory_bytes - on_host);
    const std::vector<std::string> left = communicator_.all_gather_text(std::to_string(available));
    // A save may hold a copy of what it writes.
    const int64_t spare = sum(checkpoint_bytes_) + kSpareMemoryBytes;
    const int64_t highest = *std::max_element(peaks.begin(), peaks.end());
    std::vector<Finding> findings = {{"a rank", concat(bytes_text(highest), " at most so far"), ""},
                                     {"against rosa plan", comparison_text(planned_peak(), highest), ""}};
    for (const std::string& name : std::set<std::string>(hosts_.begin(), hosts_.end())) {
      int64_t total = 0, free = 0;
      for (std::size_t rank = 0; rank < numbers.size(); ++rank) {
        if (hosts_[rank] != name) continue;
        total += numbers[rank];
        free = std::stoll(left[rank]);
      }
      Finding finding{"host " + name,
                      concat(bytes_text(total), " in all ranks, shared pages once, ", bytes_text(free), " left"), ""};
      if (free < spare) {
        finding.warning = concat("saving and evaluating may need ", bytes_text(spare),
                                 " more: fewer ranks on a host, or train.activation_checkpointing");
      }
      findings.push_back(finding);
    }
    if (objects_->device.is_cuda()) {
      findings.push_back({"GPU", "held two steps; nvidia-smi shows how much is left", ""});
    }
    return findings;
  }

  Session& session_;
  parallel::Communicator& communicator_;
  const LoadedConfig& loaded_;
  const training::RunConfig& config_;
  training::Stages strict_stages_ = loaded_.stages;
  training::Objective objective_;
  const std::set<std::string>& accepted_;
  HostFacts facts_;
  std::vector<std::string> hosts_;  // of every rank
  std::optional<training::RunObjects> objects_;
  std::optional<training::CurrentStage> stage_;
  int64_t peak_bytes_ = 0, checkpoint_bytes_ = 0;
  int num_warnings_ = 0;
};

}  // namespace

void dry_run(Session& session, const LoadedConfig& loaded, training::Objective objective,
             const std::set<std::string>& accept_changed) {
  DryRun(session, loaded, objective, accept_changed).run();
}

}  // namespace rosa::launch
