// The common suite over MPI, whole and in small messages, and what only MPI can show.
#include "parallel/mpi_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "communicator_checks.h"
#include "parallel/mpi_error.h"
#include "parallel/mpi_session.h"
#include "reducer_checks.h"

namespace rosa::parallel {
namespace {

using testing::HasSubstr;

std::vector<CommunicatorCheck> all_checks() {
  std::vector<CommunicatorCheck> checks = communicator_checks();
  checks.insert(checks.end(), misuse_checks().begin(), misuse_checks().end());
  checks.insert(checks.end(), reducer_checks().begin(), reducer_checks().end());
  return checks;
}

class OverMpi : public testing::TestWithParam<CommunicatorCheck> {};

TEST_P(OverMpi, WholeMessages) { GetParam().run(*make_mpi_communicator()); }
TEST_P(OverMpi, SmallMessages) {
  const bool is_big = GetParam().name == "big_tensors";  // in 24 bytes each they would take minutes
  GetParam().run(*make_mpi_communicator({.max_message_bytes = is_big ? 100001 : 24}));
}

INSTANTIATE_TEST_SUITE_P(Checks, OverMpi, testing::ValuesIn(all_checks()),
                         [](const auto& test) { return test.param.name; });

TEST(MpiCommunicator, ErrorsNameCallCodeAndRank) {
  check_mpi(MPI_SUCCESS, "MPI_Bcast", "rank 0 of 1");
  try {
    check_mpi(MPI_ERR_TRUNCATE, "MPI_Bcast", "rank 3 of 8");
    FAIL() << "expected an error";
  } catch (const base::CommunicationError& error) {
    EXPECT_THAT(error.what(), HasSubstr("MPI_Bcast failed on rank 3 of 8"));
    EXPECT_THAT(error.what(), HasSubstr("truncated"));
    EXPECT_THAT(error.what(), HasSubstr("code " + std::to_string(MPI_ERR_TRUNCATE)));
  }
}

TEST(MpiCommunicator, MessageTooLongIsAnException) {
  const auto communicator = make_mpi_communicator();
  if (communicator->world_size() < 2) GTEST_SKIP() << "needs two ranks";
  const size_t slots = static_cast<size_t>(communicator->world_size());
  const bool odd_one = communicator->rank() == 0;  // expects less than rank 1 sends
  std::vector<at::Tensor> receives(slots);
  for (at::Tensor& receive : receives) receive = at::empty({8});
  if (odd_one) receives[1] = at::empty({4});
  if (odd_one) {
    EXPECT_THROW(communicator->all_gather(at::ones({8}), receives), base::CommunicationError);
  } else {
    communicator->all_gather(at::ones({8}), receives);
  }
}

TEST(MpiCommunicator, IsNotFreedWhileUnwinding) {
  // The others would wait for ever if the destructor were a collective here.
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  auto communicator = make_mpi_communicator();
  if (rank != 0) {
    static std::unique_ptr<Communicator> kept;  // as of a rank that is still at work
    kept = std::move(communicator);
    return;
  }
  try {
    const auto owned = std::move(communicator);
    throw base::DataError("on one rank only");
  } catch (const base::DataError&) {
  }
}

TEST(MpiSession, OnlyOne) {
  int argc = 0;
  char** argv = nullptr;
  EXPECT_THROW(MpiSession(&argc, &argv), base::CommunicationError);
  EXPECT_TRUE(MpiSession::started_by_launcher());
  EXPECT_FALSE(MpiSession::library_version().empty());
}

}  // namespace
}  // namespace rosa::parallel
