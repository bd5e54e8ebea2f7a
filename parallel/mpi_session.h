// MpiSession: owns the initialisation and the end of MPI in this process. One object, made in main before any thread
// that uses MPI, outlives every MPI communicator. No mpi.h is needed to include this.
#pragma once

#include <string>

namespace rosa::parallel {

class MpiSession {
 public:
  // Initialises MPI and asks for MPI_THREAD_MULTIPLE. Collective: every rank calls it. Throws CommunicationError when
  // MPI is already initialised, or does not let more than one thread of a process use it in turn (SERIALIZED).
  MpiSession(int* argc, char*** argv);
  // Finalises MPI (Collective: every rank calls it), unless an exception is unwinding the stack: then the other ranks
  // may never come, and main is to call abort_all_ranks.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  // "MPI_THREAD_MULTIPLE" or "MPI_THREAD_SERIALIZED": what was provided.
  std::string thread_level() const;

  // True when the environment shows that a launcher (mpirun, srun with PMIx or PMI) started this process.
  static bool started_by_launcher();
  // The library's own description of its version, one line.
  static std::string library_version();
  // Ends every rank of the job with `exit_code` by MPI_Abort. Returns at once where MPI is not running. Not collective.
  static void abort_all_ranks(int exit_code);

 private:
  int thread_level_ = 0;
  int exceptions_at_start_ = 0;
};

}  // namespace rosa::parallel
