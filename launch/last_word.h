// Who says why a job ends. Ranks, their guardians and signal handlers agree over files that only one process can make:
// the first that has something to say says it, the others are silent. After prepare_last_word() everything here may be
// called in signal handlers and in a guardian.
#pragma once

#include <filesystem>
#include <string>

namespace rosa::launch {

// Call it first in main, before a guardian is forked. `has_other_ranks`: a launcher started this process.
void prepare_last_word(bool has_other_ranks);

// From now on the ranks agree in `folder`, which all hosts see; `job` is equal on all ranks and differs from job to
// job. Before that they agree on each host, in the folder that the launcher made for the job. Not in signal handlers.
void agree_in(const std::filesystem::path& folder, const std::string& job);

// Whether the caller may write `text` (which the file keeps) to standard error. Where hosts have nothing in common but
// the launcher, ranks other than 0 come back later, so that rank 0's host speaks first. Who may speak is heard, silent
// before or not, until end_speech().
bool may_speak(const char* text);

// Waits until the launcher has read what was said: it reads no more once it learns that the job ends. Silent
// afterwards.
void end_speech();

// Whether any process of the job has spoken.
bool has_been_spoken();

// From now on nothing that this process writes to standard error is seen: not what libraries say when the others leave.
// No effect while it speaks.
void be_silent();

// A process that was stopped is silent when it goes on after another has spoken: what wakes it is the end of the job.
void be_silent_when_woken_by_the_end();

// Whether the caller may answer a request to stop: one process a host does, once in a job.
bool may_answer_stop();

}  // namespace rosa::launch
