// How a job ends when something fails: the rank that failed first says why, once (launch/last_word.h), and every rank
// is ended with the documented exit code.
#pragma once

#include <exception>
#include <string>
#include <vector>

namespace rosa::launch {

// The processes of the other ranks on this host: they are killed, also stopped ones, when MPI can't end the job.
void set_local_ranks(const std::vector<int>& pids);

// What a user reads of an exception: printable, and on one line also where it is a library's. Only a list of everything
// wrong with a configuration (base::ConfigErrorList) has a line for each.
std::string message_of(const std::exception& error);

// Writes `what`, which is printable (message_of), with rank and host to standard error and to the log of this rank,
// unless another rank or thread has spoken, then ends every rank with `exit_code`. Returns the code only where there
// are no other ranks to end. Any thread may call it; it throws nothing and needs no other thread.
int report_failure(const std::string& what, int exit_code) noexcept;

// For a rank that has heard that another one fails: ends this process and those of the job on this host, should they
// still be there when the other rank and the launcher must long have ended them. Returns at once.
void expect_the_end(int exit_code);

// From now on a mapped file that somebody shortens in place ends the job with a message that names it and exit code 7,
// instead of a bare SIGBUS. Call it before MPI starts, which puts a handler of its own where there is none.
void report_shortened_files();

// What would abort the process (an exception in a destructor, or in a thread that nobody joins) is a failure like any
// other from now on.
void report_uncaught_exceptions();

}  // namespace rosa::launch
