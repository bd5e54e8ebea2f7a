#include "parallel/heartbeat_channel.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace rosa::parallel {
namespace {

using base::CommunicationError;
using base::require;

constexpr size_t kMaxAddresses = 8;
constexpr int kMaxDropped = 1000;  // strangers' datagrams and old errors that one receive() passes over

sockaddr_in socket_address(uint32_t host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = host;
  address.sin_port = port;
  return address;
}

// The addresses of this host's interfaces that other hosts may know it by.
std::vector<uint32_t> own_addresses() {
  std::vector<uint32_t> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry != nullptr && found.size() < kMaxAddresses; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    if ((entry->ifa_flags & IFF_UP) == 0 || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    sockaddr_in address{};
    std::memcpy(&address, entry->ifa_addr, sizeof(address));
    found.push_back(address.sin_addr.s_addr);
  }
  freeifaddrs(list);
  return found;
}

// The running kernel with its network and process namespaces: containers on one machine are hosts of their own.
std::string own_identity() {
  std::string boot;  // and the namespaces
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  std::error_code error;
  for (const char* space : {"net", "pid"}) {
    boot =
        base::concat(boot, "/", std::filesystem::read_symlink(base::concat("/proc/self/ns/", space), error).string());
  }
  return boot;
}

std::string to_text(const RankHome& home) {
  std::ostringstream text;
  text << home.host_name << '\n'
       << home.host_identity << '\n'
       << home.pid << ' ' << home.activity_descriptor << ' ' << home.port;
  for (const uint32_t address : home.addresses) text << ' ' << address;
  return text.str();
}

RankHome from_text(const std::string& text) {
  RankHome home;
  std::istringstream in(text);
  std::getline(in, home.host_name);
  std::getline(in, home.host_identity);
  in >> home.pid >> home.activity_descriptor >> home.port;
  for (uint32_t address = 0; in >> address;) home.addresses.push_back(address);
  return home;
}

int open_socket(uint16_t& port) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  require<CommunicationError>(descriptor >= 0, "the watchdog's socket can't be opened: ", std::strerror(errno));
  sockaddr_in address = socket_address(htonl(INADDR_ANY), 0);
  socklen_t size = sizeof(address);
  const int on = 1;
  const bool bound = bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
                     setsockopt(descriptor, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) == 0;
  const int error = errno;
  if (!bound) close(descriptor);
  require<CommunicationError>(bound, "the watchdog's socket can't be set up: ", std::strerror(error));
  port = address.sin_port;
  return descriptor;
}

}  // namespace

HeartbeatChannel::HeartbeatChannel(Communicator& communicator, const std::string& host_name)
    : rank_(communicator.rank()) {
  RankHome own{.host_name = host_name,
               .host_identity = own_identity(),
               .pid = static_cast<int>(getpid()),
               .activity_descriptor = base::share_activity(),
               .addresses = own_addresses()};
  socket_ = open_socket(own.port);
  std::random_device random;
  const std::string number = std::to_string((static_cast<uint64_t>(random()) << 32) | random());
  job_ = std::stoull(communicator.broadcast_text(number, /*root=*/0));
  for (const std::string& text : communicator.all_gather_text(to_text(own))) homes_.push_back(from_text(text));
  answered_.resize(homes_.size());
}

HeartbeatChannel::~HeartbeatChannel() { close(socket_); }

std::vector<HeartbeatChannel::Address> HeartbeatChannel::candidates(int rank) {
  const RankHome& there = home(rank);
  if (is_local(rank)) return {{htonl(INADDR_LOOPBACK), there.port}};
  const std::lock_guard lock(mutex_);
  if (answered_[static_cast<size_t>(rank)]) return {*answered_[static_cast<size_t>(rank)]};
  std::vector<Address> all;
  for (const uint32_t address : there.addresses) all.push_back({address, there.port});
  return all;
}

void HeartbeatChannel::send(int rank, MessageKind kind, const base::Activity& activity, int about) {
  HeartbeatMessage message;
  message.job = job_;
  message.rank = rank_;
  message.about = about;
  message.kind = kind;
  message.activity = activity;
  for (const Address& address : candidates(rank)) {
    const sockaddr_in to = socket_address(address.host, address.port);
    // An error that waits on the socket is reported here first; what is lost is sent again at the next beat.
    for (int attempt = 0; attempt < 2; ++attempt) {
      if (sendto(socket_, &message, sizeof(message), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to),
                 sizeof(to)) >= 0) {
        break;
      }
    }
  }
}

void HeartbeatChannel::send_to_all(MessageKind kind, const base::Activity& activity, int about) {
  for (int rank = 0; rank < world_size(); ++rank) {
    if (rank != rank_) send(rank, kind, activity, about);
  }
}

void HeartbeatChannel::wait(int timeout_ms) const {
  pollfd descriptor{.fd = socket_, .events = POLLIN, .revents = 0};
  poll(&descriptor, 1, timeout_ms);
}

std::optional<HeartbeatMessage> HeartbeatChannel::receive() {
  for (int attempt = 0; attempt < kMaxDropped; ++attempt) {
    HeartbeatMessage message;
    sockaddr_in from{};
    socklen_t size = sizeof(from);
    const ssize_t count = recvfrom(socket_, &message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC,
                                   reinterpret_cast<sockaddr*>(&from), &size);
    if (count < 0) {
      // Anything else is an error of an earlier send; it has its place in gone().
      if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
      continue;
    }
    if (count != sizeof(message) || message.job != job_ || message.rank < 0 || message.rank >= world_size()) continue;
    if (message.about < 0 || message.about >= world_size()) continue;
    message.activity.collective[sizeof(message.activity.collective) - 1] = '\0';
    message.activity.group[sizeof(message.activity.group) - 1] = '\0';
    const std::lock_guard lock(mutex_);
    answered_[static_cast<size_t>(message.rank)] = Address{from.sin_addr.s_addr, from.sin_port};
    return message;
  }
  return std::nullopt;
}

std::vector<int> HeartbeatChannel::gone() {
  std::vector<int> ranks;
  for (;;) {
    sockaddr_in to{};
    std::array<char, 512> control{};
    msghdr header{};
    header.msg_name = &to;
    header.msg_namelen = sizeof(to);
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    if (recvmsg(socket_, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return ranks;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
      if (part->cmsg_level != IPPROTO_IP || part->cmsg_type != IP_RECVERR) continue;
      sock_extended_err error{};
      std::memcpy(&error, CMSG_DATA(part), sizeof(error));
      if (error.ee_errno != ECONNREFUSED) continue;
      const std::lock_guard lock(mutex_);
      // Only an address that has answered before is surely this rank's.
      const auto found = std::find(answered_.begin(), answered_.end(), Address{to.sin_addr.s_addr, to.sin_port});
      if (found != answered_.end()) ranks.push_back(static_cast<int>(found - answered_.begin()));
    }
  }
}

}  // namespace rosa::parallel
