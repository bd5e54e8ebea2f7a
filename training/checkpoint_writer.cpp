#include "training/checkpoint_writer.h"

#include <chrono>
#include <random>
#include <system_error>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/log.h"
#include "base/trace.h"

namespace rosa::training {
namespace {

using base::concat;

// Clears the folder, and returns a name that is equal on all ranks and in no two programs that save into the same
// folder one after the other. No rank can write before it has the name, so nothing new is cleared away.
std::string start_writer(parallel::Communicator& communicator, const std::filesystem::path& folder) {
  if (communicator.rank() == 0) remove_leftovers_of_saves(CheckpointStore(folder));
  std::random_device random;
  const uint64_t number = (uint64_t{random()} << 32) | random();
  return communicator.broadcast_text(base::to_hex(number).substr(0, 8), /*root=*/0);
}

}  // namespace

CheckpointWriter::CheckpointWriter(parallel::Communicator& communicator, const std::filesystem::path& folder,
                                   WriterOptions options, SaveObserver observer)
    : communicator_(communicator), options_(std::move(options)), store_(folder, start_writer(communicator, folder)) {
  store_.set_observer(std::move(observer));
}

CheckpointWriter::~CheckpointWriter() { cancelled_ = true; }

// Runs `body`, which returns a part of the manifest, on a thread whose errors become a result.
template <class Body>
void CheckpointWriter::run(Body body) {
  thread_ = std::async(std::launch::async, [body = std::move(body)]() -> Result {
    base::name_trace_thread("checkpoint");
    try {
      return {body(), ""};
    } catch (const std::exception& error) {  // told by the training thread, on all ranks
      return {"", error.what()};
    }
  });
}

void CheckpointWriter::start(const CheckpointInfo& info, const States& states,
                             const std::map<std::string, std::string>& texts) {
  base::require(!is_busy(), "CheckpointWriter::start: the save of step ", info_.step, " is still under way");
  info_ = info;
  info_.parent = parent_;
  CheckpointShare share;
  {
    const base::TraceSpan span("checkpoint", "copy for checkpoint");
    share = take_share(states, texts, communicator_.rank(), communicator_.world_size(), options_.shard_bytes);
  }
  phase_ = Phase::writing;
  run([this, share = std::move(share)] {
    const base::TraceSpan span("checkpoint", "write share");
    if (store_.observer()) store_.observer()("snapshot");
    return write_share(store_.temporary_folder(info_.step), share, store_.observer(), &cancelled_);
  });
}

std::optional<SaveOutcome> CheckpointWriter::poll() {
  if (!is_busy()) return std::nullopt;
  const bool done = !thread_.valid() || thread_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  const std::vector<int64_t> all_done =
      communicator_.all_reduce_values(std::vector<int64_t>{done ? 1 : 0}, parallel::Reduction::min);
  if (all_done.front() == 0) return std::nullopt;
  return advance();
}

std::optional<SaveOutcome> CheckpointWriter::finish() {
  std::optional<SaveOutcome> outcome;
  while (is_busy() && !outcome) outcome = advance();
  return outcome;
}

// Waits for the threads of this phase, and goes to the next one.
std::optional<SaveOutcome> CheckpointWriter::advance() {
  Result result;
  if (thread_.valid()) result = thread_.get();
  const std::vector<std::string> errors = communicator_.all_gather_text(result.error);
  std::string reasons;
  for (size_t rank = 0; rank < errors.size(); ++rank) {
    if (!errors[rank].empty()) reasons += concat(reasons.empty() ? "" : "; ", "rank ", rank, ": ", errors[rank]);
  }
  if (!reasons.empty() || phase_ == Phase::committing) return end(reasons);
  begin_commit(communicator_.all_gather_text(result.part));
  return std::nullopt;
}

void CheckpointWriter::begin_commit(std::vector<std::string> parts) {
  phase_ = Phase::committing;
  committed_ = store_.folder() / store_.folder_name(info_.step);
  if (communicator_.rank() != 0) return;
  run([this, parts = std::move(parts)] {
    commit(parts);
    return std::string();
  });
}

void CheckpointWriter::commit(const std::vector<std::string>& parts) {
  const base::TraceSpan span("checkpoint", "commit");
  const auto at = [&](std::string_view point) {
    if (store_.observer()) store_.observer()(point);
  };
  const std::filesystem::path folder = store_.commit(info_, parts);
  // From here on the checkpoint stands, whatever becomes of the housekeeping.
  try {
    parent_ = ParentCheckpoint{info_.step, read_manifest(folder).checksum};
    if (options_.on_commit) options_.on_commit(info_);
    at("recorded");
    store_.retain(options_.retention, folder);
    at("retained");
  } catch (const base::Error& error) {
    base::log_warning(
        concat("the checkpoint of step ", info_.step, " is saved, but tidying up failed: ", error.what()));
  }
}

SaveOutcome CheckpointWriter::end(std::string error) {
  phase_ = Phase::idle;
  if (error.empty()) return {info_.step, committed_, {}};
  if (communicator_.rank() == 0) discard();
  communicator_.barrier();
  // A folder that only this rank sees must not stay either.
  std::error_code ignored;
  if (communicator_.rank() != 0 && std::filesystem::exists(store_.temporary_folder(info_.step), ignored)) discard();
  communicator_.barrier();  // the next save may use the same folder
  return {info_.step, {}, std::move(error)};
}

void CheckpointWriter::discard() const {
  try {
    store_.discard(info_.step);
  } catch (const base::FileError& error) {
    base::log_warning(concat("can't remove a save that failed: ", error.what()));
  }
}

}  // namespace rosa::training
