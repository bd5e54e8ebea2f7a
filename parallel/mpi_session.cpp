#include "parallel/mpi_session.h"

#include <mpi.h>

#include <cstdlib>
#include <exception>

#include "base/error.h"
#include "parallel/mpi_error.h"

namespace rosa::parallel {

using base::CommunicationError;
using base::concat;
using base::require;

void check_mpi(int code, const char* call, const std::string& place) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw CommunicationError(concat(call, " failed on ", place, ": ", std::string(text, static_cast<size_t>(length)),
                                  " (code ", code, "). The other ranks may wait for this one: end the job"));
}

namespace {

bool is_running() {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

}  // namespace

MpiSession::MpiSession(int* argc, char*** argv) : exceptions_at_start_(std::uncaught_exceptions()) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  require<CommunicationError>(initialized == 0,
                              "MpiSession: MPI was already initialised in this process; make one "
                              "MpiSession, in main");
  check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &thread_level_), "MPI_Init_thread", "this process");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
  require<CommunicationError>(thread_level_ >= MPI_THREAD_SERIALIZED, "MPI_Init_thread provided level ", thread_level_,
                              ", expected at least MPI_THREAD_SERIALIZED (", MPI_THREAD_SERIALIZED,
                              "); use an MPI library built with thread support");
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > exceptions_at_start_) return;
  if (is_running()) MPI_Finalize();
}

std::string MpiSession::thread_level() const {
  return thread_level_ >= MPI_THREAD_MULTIPLE ? "MPI_THREAD_MULTIPLE" : "MPI_THREAD_SERIALIZED";
}

bool MpiSession::started_by_launcher() {
  // As the first caller finds it: MPI_Init gives a process without a launcher some of these names too.
  static const bool is_started = [] {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "MPI_LOCALNRANKS"}) {
      if (std::getenv(name) != nullptr) return true;
    }
    return false;
  }();
  return is_started;
}

std::string MpiSession::library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string version(text, static_cast<size_t>(length));
  return version.substr(0, version.find_first_of(std::string_view("\r\n\0", 3)));
}

void MpiSession::abort_all_ranks(int exit_code) {
  if (is_running()) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

}  // namespace rosa::parallel
