#include "base/activity.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <mutex>
#include <new>
#include <utility>

#include "base/error.h"

namespace rosa::base {
namespace {

// Threads that are in collectives at one time: the training thread, one for reduction, one for saving, and some more.
constexpr int kNumSlots = 16;

constexpr size_t kNameWords = sizeof(Activity::collective) / sizeof(uint64_t);

// Characters, and zeros after them.
using Name = std::array<std::atomic<uint64_t>, kNameWords>;

struct Slot {
  std::atomic<bool> taken, of_training_thread;
  std::atomic<int64_t> sequence_number;
  Name name;  // the first word is zero where there is no collective
  Name group;
};

// Zero at the start; may lie in memory that other processes read.
struct Record {
  std::atomic<int64_t> num_steps_begun;  // step + 1
  std::atomic<Phase> phase;
  std::atomic<int64_t> progress;
  std::atomic<int64_t> num_beats;
  std::atomic<bool> has_left;
  std::array<Slot, kNumSlots> slots;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free, "the record is shared between processes");

Record own_record;
Record* record = &own_record;
std::function<void(Phase, int64_t)> phase_hook;
thread_local bool is_training_thread = false;

void enter(Phase phase) {
  record->phase.store(phase, std::memory_order_relaxed);
  note_progress();
}

int64_t current_step() { return record->num_steps_begun.load(std::memory_order_relaxed) - 1; }

void write_name(Name& to, const char* name) {
  std::array<uint64_t, kNameWords> words{};
  std::strncpy(reinterpret_cast<char*>(words.data()), name, sizeof(words) - 1);
  for (size_t word = 0; word < kNameWords; ++word) to[word].store(words[word], std::memory_order_relaxed);
}

// Whether there is a name.
bool read_name(const Name& from, char* name) {
  std::array<uint64_t, kNameWords> words{};
  for (size_t word = 0; word < kNameWords; ++word) words[word] = from[word].load(std::memory_order_relaxed);
  std::memcpy(name, words.data(), sizeof(words) - 1);
  return words[0] != 0;
}

Activity read(const Record& from) {
  Activity activity;
  activity.step = from.num_steps_begun.load(std::memory_order_relaxed) - 1;
  activity.phase = from.phase.load(std::memory_order_relaxed);
  activity.progress = from.progress.load(std::memory_order_relaxed);
  bool found = false;
  for (const Slot& slot : from.slots) {
    char name[sizeof(activity.collective)] = {};
    if (!read_name(slot.name, name)) continue;
    const bool of_training_thread = slot.of_training_thread.load(std::memory_order_relaxed);
    // While it reduces or saves, the training thread waits for whichever thread is in the collective.
    activity.waits =
        activity.waits || of_training_thread || activity.phase == Phase::reduce || activity.phase == Phase::saving;
    if (found && !of_training_thread) continue;
    found = true;
    std::memcpy(activity.collective, name, sizeof(name));
    read_name(slot.group, activity.group);
    activity.sequence_number = slot.sequence_number.load(std::memory_order_relaxed);
  }
  return activity;
}

}  // namespace

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::starting:
      return "start";
    case Phase::between_steps:
      return "between steps";
    case Phase::data:
      return "data";
    case Phase::teacher_forward:
      return "teacher forward";
    case Phase::student_forward:
      return "student forward";
    case Phase::backward:
      return "backward";
    case Phase::reduce:
      return "reduce";
    case Phase::optimizer:
      return "optimizer";
    case Phase::evaluation:
      return "evaluation";
    case Phase::saving:
      return "saving";
    case Phase::ending:
      return "end";
    case Phase::left:
      return "left";
  }
  return "unknown";
}

Activity current_activity() { return read(*record); }

int share_activity() {
  static const int descriptor = [] {
    const int memory = memfd_create("rosa_activity", MFD_CLOEXEC);
    if (memory < 0) return -1;
    void* mapped = ftruncate(memory, sizeof(Record)) == 0
                       ? mmap(nullptr, sizeof(Record), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0)
                       : MAP_FAILED;
    if (mapped == MAP_FAILED) {
      close(memory);
      return -1;
    }
    record = new (mapped) Record();
    return memory;
  }();
  return descriptor;
}

SharedActivity::SharedActivity(int pid, int descriptor) {
  if (descriptor < 0) return;
  const int memory = open(concat("/proc/", pid, "/fd/", descriptor).c_str(), O_RDONLY | O_CLOEXEC);
  if (memory < 0) return;
  void* mapped = mmap(nullptr, sizeof(Record), PROT_READ, MAP_SHARED, memory, 0);
  if (mapped != MAP_FAILED) record_ = mapped;
  close(memory);
}

SharedActivity::~SharedActivity() {
  if (record_ != nullptr) munmap(const_cast<void*>(record_), sizeof(Record));
}

SharedActivity::SharedActivity(SharedActivity&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}

std::optional<Activity> SharedActivity::read() const {
  if (record_ == nullptr) return std::nullopt;
  return base::read(*static_cast<const Record*>(record_));
}

int64_t SharedActivity::num_beats() const {
  return record_ == nullptr ? 0 : static_cast<const Record*>(record_)->num_beats.load(std::memory_order_relaxed);
}

bool SharedActivity::has_left() const {
  return record_ != nullptr && static_cast<const Record*>(record_)->has_left.load(std::memory_order_relaxed);
}

std::string describe(const Activity& activity) {
  const std::string step = activity.step < 0 ? std::string("before the first step") : concat("step ", activity.step);
  const std::string collective = activity.collective[0] == '\0' ? std::string("in no collective")
                                                                : concat("in collective ", activity.collective,
                                                                         " number ", activity.sequence_number);
  const std::string group =
      activity.collective[0] == '\0' || activity.group[0] == '\0' ? "" : concat(" of group ", activity.group);
  return concat(step, ", phase ", name_of(activity.phase), ", ", collective, group);
}

void note_beat() { record->num_beats.fetch_add(1, std::memory_order_relaxed); }

void note_left(bool has_left) { record->has_left.store(has_left, std::memory_order_relaxed); }

void begin_step(int64_t step) {
  is_training_thread = true;
  record->num_steps_begun.store(step + 1, std::memory_order_relaxed);
  enter(Phase::between_steps);
}

void note_progress() { record->progress.fetch_add(1, std::memory_order_relaxed); }

void note_progress_of_main_thread() {
  static std::mutex mutex;
  static std::string before;
  const Phase phase = record->phase.load(std::memory_order_relaxed);
  if (current_step() >= 0 && phase != Phase::starting && phase < Phase::ending) return;
  // Nanoseconds on a core, nanoseconds of waiting for one, and how often it got one.
  std::string now;
  std::getline(std::ifstream(concat("/proc/self/task/", getpid(), "/schedstat")), now);
  const std::lock_guard lock(mutex);
  // A system that does not count can't tell.
  if (now.empty() || now != before) note_progress();
  before = std::move(now);
}

PhaseScope::PhaseScope(Phase phase)
    : before_(record->phase.load(std::memory_order_relaxed)), span_("phase", name_of(phase)) {
  is_training_thread = true;
  enter(phase);
  if (phase_hook) phase_hook(phase, current_step());
}

PhaseScope::~PhaseScope() { enter(before_); }

CollectiveScope::CollectiveScope(const char* name, int64_t sequence_number, const char* group) : slot_(-1) {
  note_progress();
  for (int index = 0; index < kNumSlots; ++index) {
    Slot& slot = record->slots[static_cast<size_t>(index)];
    if (slot.taken.exchange(true, std::memory_order_acquire)) continue;
    slot_ = index;
    slot.sequence_number.store(sequence_number, std::memory_order_relaxed);
    slot.of_training_thread.store(is_training_thread, std::memory_order_relaxed);
    write_name(slot.group, group);
    write_name(slot.name, name);
    return;
  }
}

CollectiveScope::~CollectiveScope() {
  note_progress();
  if (slot_ < 0) return;
  Slot& slot = record->slots[static_cast<size_t>(slot_)];
  slot.name[0].store(0, std::memory_order_relaxed);
  slot.taken.store(false, std::memory_order_release);
}

void set_phase_hook(std::function<void(Phase phase, int64_t step)> hook) { phase_hook = std::move(hook); }

}  // namespace rosa::base
