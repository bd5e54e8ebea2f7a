// The stacks of all threads of this process, written to a file while they run: each thread is interrupted by a signal
// and notes its own stack. No debugger, no library beyond libc.
#pragma once

#include <filesystem>
#include <string>

namespace rosa::base {

// Claims the signal (SIGRTMIN + 6) that interrupts the threads. Call it once, early.
void prepare_stack_traces();

// Puts `heading` and the stack of every thread with its name at the head of `file`; a thread that does not answer
// within a second is shown with the state the kernel gives. What the file held stays below, up to 1 MiB in all. One
// caller at a time; others wait. Throws FileError.
void write_stack_traces(const std::filesystem::path& file, const std::string& heading);

// Name, state and waiting place of each thread of another process of this host, for one that can't answer itself.
// Empty where the process is gone.
std::string thread_states(int pid);

}  // namespace rosa::base
