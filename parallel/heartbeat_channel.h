// HeartbeatChannel: small datagrams between the ranks of a job, beside the collectives, which may be blocked. Every
// rank can reach every other over UDP on IPv4. Datagrams may be lost; those of strangers are dropped. Why UDP: the
// kernel of a living host says at once that a port is closed because its process is gone. Files of the shared file
// system are seen up to a minute late, and that file system may be what hangs. TCP would need a connection for each
// pair of ranks.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/activity.h"
#include "parallel/communicator.h"

namespace rosa::parallel {

enum class MessageKind : int32_t {
  heartbeat,
  witness,   // what the sender knows of another rank of its host, which is silent itself
  finished,  // this rank leaves as it should
  failed,    // this rank has an error, has told it, and ends the job
  verdict,   // the job ends: write stack traces
  trace      // write stack traces and go on
};

// One datagram.
struct HeartbeatMessage {
  uint64_t job = 0;   // equal on the ranks of one job, different from job to job
  int32_t rank = 0;   // the sender
  int32_t about = 0;  // whose activity it is
  MessageKind kind = MessageKind::heartbeat;
  base::Activity activity;
};

// Where a rank lives.
struct RankHome {
  std::string host_name;
  std::string host_identity;  // equal for ranks that share process numbers and network
  int pid = 0;
  int activity_descriptor = -1;     // base::share_activity()
  std::vector<uint32_t> addresses;  // IPv4, in network order
  uint16_t port = 0;                // in network order
};

// Any thread may send; one receives.
class HeartbeatChannel {
 public:
  // Opens a socket and exchanges addresses. Collective: every rank calls it. Throws CommunicationError.
  HeartbeatChannel(Communicator& communicator, const std::string& host_name);
  ~HeartbeatChannel();
  HeartbeatChannel(const HeartbeatChannel&) = delete;
  HeartbeatChannel& operator=(const HeartbeatChannel&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return static_cast<int>(homes_.size()); }
  const RankHome& home(int rank) const { return homes_[static_cast<size_t>(rank)]; }
  bool is_local(int rank) const { return home(rank).host_identity == home(rank_).host_identity; }

  // Sends to one rank: to all its addresses until one has answered. Never blocks, never fails.
  void send(int rank, MessageKind kind, const base::Activity& activity) { send(rank, kind, activity, rank_); }
  void send_to_all(MessageKind kind, const base::Activity& activity) { send_to_all(kind, activity, rank_); }
  // As above, with the activity of rank `about`.
  void send_to_all(MessageKind kind, const base::Activity& activity, int about);
  // Waits until there may be something to receive, or `timeout_ms` have passed.
  void wait(int timeout_ms) const;
  // The next message of a rank of this job; nothing where none is there.
  std::optional<HeartbeatMessage> receive();
  // Ranks whose host has said, since the last call, that nobody listens where they did before.
  std::vector<int> gone();

 private:
  struct Address {
    uint32_t host = 0;
    uint16_t port = 0;
    bool operator==(const Address&) const = default;
  };

  std::vector<Address> candidates(int rank);
  void send(int rank, MessageKind kind, const base::Activity& activity, int about);

  int rank_;
  int socket_ = -1;
  uint64_t job_ = 0;
  std::vector<RankHome> homes_;
  std::mutex mutex_;                              // of answered_
  std::vector<std::optional<Address>> answered_;  // by rank: the address its messages come from
};

}  // namespace rosa::parallel
