// NcclCommunicator: the collectives over NCCL, for tensors on one GPU a rank. Tensors in host memory, texts and values
// go through the bootstrap communicator (MPI), which also carries NCCL's unique id. nccl_communicator.cpp or
// nccl_communicator_none.cpp; CMake picks one.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace rosa::parallel {

// Returns a communicator over the ranks of `bootstrap`, which must outlive it; `device` is from select_device. Time
// limit and debug mode are those of the bootstrap. Collectives run on a stream of their own, after what the calling
// thread's current stream holds when they are called. wait() blocks the host until the collective is done, polling
// NCCL's asynchronous errors, and afterwards every stream may use the tensors; on an error or after the time limit the
// NCCL communicator is aborted and CommunicationError thrown. The destructor waits for the other ranks, except while an
// exception unwinds the stack: then it aborts. Throws ConfigError in a build without NCCL, and CommunicationError where
// the NCCL that is loaded differs from the headers or between ranks. Collective: every rank calls it.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& bootstrap, at::Device device);

// What a run on `device` communicates through: `bootstrap` itself on the CPU or with one rank (returned as null), NCCL
// on GPUs. Collective: every rank calls it.
std::unique_ptr<Communicator> make_device_communicator(Communicator& bootstrap, at::Device device);

// "2.30.7", or "none" in a build without NCCL.
std::string nccl_version();

}  // namespace rosa::parallel
