// What this process is doing, as one record that any thread may read at any time: step, phase, collective, and a count
// that grows with everything that gets done. Cheap enough for every call (a few atomic writes, no lock). The watchdog
// sends it to the other ranks (parallel/watchdog.h). Keeps no history: that is base/trace.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/trace.h"

namespace rosa::base {

enum class Phase : int32_t {
  starting,
  between_steps,
  data,
  teacher_forward,
  student_forward,
  backward,
  reduce,
  optimizer,
  evaluation,
  saving,
  ending,
  left  // MPI and the other ranks: only the process has to end
};

// "teacher forward"
const char* name_of(Phase phase);

// A copy of the record.
struct Activity {
  int64_t step = -1;  // -1 before the first
  Phase phase = Phase::starting;
  char collective[24] = {};     // the collective that a thread is in; empty: none
  int64_t sequence_number = 0;  // of that collective in its communicator
  bool waits = false;           // the training thread does nothing but wait for other ranks
  int64_t progress = 0;         // grows with every phase, collective and note_progress()
  char group[24] = {};          // of ranks that the collective is of, as far as the name fits; empty: all
};

Activity current_activity();

// "step 3, phase backward, in collective all_reduce number 17", then " of group node 0" where it is not of all ranks
std::string describe(const Activity& activity);

// The record lies in memory of its own, which other processes of this host can map as /proc/PID/fd/DESCRIPTOR; so what
// a process did last is known also when it is stopped or dead. Returns the descriptor, or -1 where there is no such
// memory. Call it before the training begins.
int share_activity();

// The record of another process, which has shared it.
class SharedActivity {
 public:
  // Holds nothing (read() gives nothing) where it can't be mapped.
  SharedActivity(int pid, int descriptor);
  ~SharedActivity();
  SharedActivity(SharedActivity&& other) noexcept;
  SharedActivity& operator=(SharedActivity&&) = delete;

  std::optional<Activity> read() const;
  // What that process's watchdog says of itself: a count of note_beat(), and whether it has left. 0 and false where
  // nothing is held.
  int64_t num_beats() const;
  bool has_left() const;

 private:
  const void* record_ = nullptr;
};

// The watchdog's thread runs; for the other ranks of this host, should no datagram reach them.
void note_beat();
// This rank leaves as it should, or comes again (another run of the same process).
void note_left(bool has_left);

void begin_step(int64_t step);

// For work that is long and has no phases within: one more piece is done.
void note_progress();

// The same for phases that have no such places (start, end): there the main thread has done something where it ran at
// all since the last call. One that is blocked for ever, reading or waiting, never does.
void note_progress_of_main_thread();

// The phase from construction to destruction, then again the one before; a span of the trace as well. One thread, the
// training thread, uses it.
class PhaseScope {
 public:
  explicit PhaseScope(Phase phase);
  ~PhaseScope();
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Phase before_;
  TraceSpan span_;
};

// The calling thread is in a collective (or waits for one that was started) from construction to destruction.
class CollectiveScope {
 public:
  // `group`: of ranks; empty: all.
  CollectiveScope(const char* name, int64_t sequence_number, const char* group = "");
  ~CollectiveScope();
  CollectiveScope(const CollectiveScope&) = delete;
  CollectiveScope& operator=(const CollectiveScope&) = delete;

 private:
  int slot_;
};

// For fault injection: called at the beginning of each phase, on the training thread; empty: nothing. Set it before
// the training begins.
void set_phase_hook(std::function<void(Phase phase, int64_t step)> hook);

}  // namespace rosa::base
