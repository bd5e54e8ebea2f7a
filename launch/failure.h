// How a job ends when something fails: the rank that failed first says why, once, and every rank is ended with the
// documented exit code. The rank that speaks is the one that manages to create a certain file first.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rosa::launch {

// From now on the ranks agree in `folder`, which all hosts see; `job` is equal on all ranks and differs from job to
// job. Before that they agree on each host, in the folder that the launcher made for the job.
void agree_on_failures_in(const std::filesystem::path& folder, const std::string& job);

// The processes of the other ranks on this host: they are killed, also stopped ones, when MPI can't end the job.
void set_local_ranks(std::vector<int> pids);

// Writes `what` with rank and host to standard error and to the log of this rank, unless another rank or thread has
// spoken, then ends every rank with `exit_code`. Returns the code only where there are no other ranks to end. Any
// thread may call it.
int report_failure(const std::string& what, int exit_code);

// From now on a mapped file that somebody shortens in place ends the job with a message that names it and exit code 7,
// instead of a bare SIGBUS. Call it before MPI starts, which puts a handler of its own where there is none.
void report_shortened_files();

// For a rank that has heard that another one fails. The other rank and the launcher should end the job. If it is still
// there after a generous deadline, this process and those of the job on this host are ended. Returns at once.
void expect_the_end(int exit_code);

}  // namespace rosa::launch
