// Tests that fail on purpose on one rank: mpi_jobs_test runs this under mpirun and looks at how the job ends.
#include <gtest/gtest.h>
#include <mpi.h>

namespace {

int rank() {
  int value = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &value);
  return value;
}

TEST(Probe, Passes) { MPI_Barrier(MPI_COMM_WORLD); }

TEST(Probe, FailsOnRankOne) { EXPECT_EQ(rank() == 1 ? 5 : 0, 0) << "seen on rank one"; }

TEST(Probe, FatalOnEveryRank) { ASSERT_TRUE(false) << "seen everywhere"; }

TEST(Probe, FatalOnRankOneWhileOthersWait) {
  ASSERT_NE(rank(), 1) << "rank one gives up";
  MPI_Barrier(MPI_COMM_WORLD);
}

}  // namespace
