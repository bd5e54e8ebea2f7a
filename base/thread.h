// start_thread: how every thread of the libraries is started. The system may give none (a limit of processes or of
// memory): that is an error with advice, not the end of the process.
#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"

namespace rosa::base {

// A thread that runs `body`. Throws Error, which names `purpose` ("the watchdog").
template <class Body>
std::thread start_thread(const std::string& purpose, Body body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    throw Error(concat("the system gave no thread for ", purpose, " (", error.code().message(),
                       "): raise the limit of processes (ulimit -u, the container's pids) or of memory (ulimit -v)"));
  }
}

}  // namespace rosa::base
