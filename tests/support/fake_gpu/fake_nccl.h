// What tests ask of the made-up NCCL besides fake_gpu.h. Ranks are processes: they exchange real data through files in
// a folder in memory, when their streams get to a collective, and every rank computes real sums. A rank that never
// comes makes the others wait until they abort, as with the real one.
//
// fail_call takes, besides "ncclAllReduce" for a call that fails at once, with ncclAllReduce as an example:
//   "ncclAllReduce:later"    the call is in progress and fails while it is polled
//   "ncclAllReduce:stuck"    the call stays in progress until the communicator is aborted
//   "ncclAllReduce:running"  the collective starts, never ends, and an asynchronous error comes
//   "ncclAllReduce:broken"   the collective ends at once without a result, and an asynchronous error comes
// Those of a group are of "ncclGroupEnd".
#pragma once

#include <string>

#include "fake_gpu.h"

namespace fake_gpu {

// Where the ranks of one job exchange data: the same existing folder on every rank, removed by the test.
void set_exchange_folder(const std::string& folder);
// What ncclGetVersion says from now on; 0: the version of the header.
void set_nccl_version(int code);
// The stream of the collective that this process called last.
cudaStream_t last_stream();
// Communicators of this process that were neither destroyed nor aborted.
int num_living_communicators();

}  // namespace fake_gpu
