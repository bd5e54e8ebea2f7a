// A program whose rank 1 throws while the others wait: mpi_jobs_test runs it under mpirun. The catch in main is what
// every program of ours does.
#include <cstdio>
#include <string>

#include "base/error.h"
#include "parallel/mpi_communicator.h"
#include "parallel/mpi_session.h"

int main(int argc, char** argv) {
  constexpr int kExitCode = 3;
  try {
    rosa::parallel::MpiSession session(&argc, &argv);
    const auto communicator = rosa::parallel::make_mpi_communicator();
    if (communicator->rank() == 1) {
      if (argc > 1 && std::string(argv[1]) == "abort") communicator->abort(kExitCode, "rank 1 gives up");
      throw rosa::base::DataError("token file is damaged");
    }
    communicator->barrier();
    std::printf("not reached\n");
  } catch (const rosa::base::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    rosa::parallel::MpiSession::abort_all_ranks(kExitCode);
    return kExitCode;
  }
  return 0;
}
