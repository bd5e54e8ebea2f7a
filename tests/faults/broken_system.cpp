// What the tests preload into a job to break the system under it (LD_PRELOAD).
//   ROSA_TEST_LOST_DATAGRAMS=FILE   while FILE exists every datagram is lost on its way
//   ROSA_TEST_MAX_THREADS=N         pthread_create gives each process N threads and no more
#include <dlfcn.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

namespace {

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

std::atomic<int> num_threads{0};

}  // namespace

extern "C" ssize_t sendto(int socket, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size) {
  static auto* const real = next<decltype(sendto)>("sendto");
  const char* file = std::getenv("ROSA_TEST_LOST_DATAGRAMS");
  int type = 0;
  socklen_t type_size = sizeof(type);
  if (file != nullptr && access(file, F_OK) == 0 && getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 &&
      type == SOCK_DGRAM) {
    return static_cast<ssize_t>(size);
  }
  return real(socket, data, size, flags, to, to_size);
}

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) {
  static auto* const real = next<decltype(pthread_create)>("pthread_create");
  const char* limit = std::getenv("ROSA_TEST_MAX_THREADS");
  if (limit != nullptr && num_threads++ >= std::atoi(limit)) return EAGAIN;
  return real(thread, attributes, start, argument);
}
