// Base weights that the processes of an MPI job share out: the bits of a run.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "parallel/mpi_communicator.h"
#include "shared_layers_checks.h"
#include "tests/support/temporary_folder.h"

namespace rosa::training {
namespace {

TEST(SharedLayersOverMpi, ARunHasTheBitsOfOneRank) {
  at::set_num_threads(1);
  const auto communicator = parallel::make_mpi_communicator();
  const testing::TemporaryFolder own;
  const std::string folder = communicator->broadcast_text(own.path().string(), 0);
  for (const SharedRun& of : shared_runs()) {
    SCOPED_TRACE(of.name);
    Outcome one, shared;
    train_shared(of.config(own / ("one_" + of.name)), *parallel::make_single_communicator(), one);
    RunConfig config = of.config(std::filesystem::path(folder) / of.name);
    config.parallel.shard_base = "all";
    config.parallel.debug_collectives = of.name == "tied";
    train_shared(config, *communicator, shared);
    if (communicator->rank() == 0) expect_shared_run(of, config, communicator->world_size(), one, shared);
    communicator->barrier();
  }
}

}  // namespace
}  // namespace rosa::training
