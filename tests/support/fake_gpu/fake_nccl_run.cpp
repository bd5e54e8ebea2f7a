// Messages between ranks (files that appear whole, in a folder in memory) and the collectives made of them.
#include "fake_nccl_run.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include "fake_gpu.h"

namespace fake_gpu {
namespace {

using Bytes = std::vector<std::byte>;

void post(const ncclComm& comm, const std::string& name, int to, const std::string& header, const void* data,
          size_t size) {
  const std::string path = text_of(comm.folder, "/", name, ".", comm.rank, ".", to);
  {
    std::ofstream file(path + ".part", std::ios::binary);
    file << header << '\n';
    if (size > 0) file.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
  }
  std::filesystem::rename(path + ".part", path);
}

struct Message {
  std::string header;
  Bytes data;
};

// Waits for the message; nothing when the communicator is aborted meanwhile.
std::optional<Message> take(const ncclComm& comm, const std::string& name, int from) {
  const std::string path = text_of(comm.folder, "/", name, ".", from, ".", comm.rank);
  while (!std::filesystem::exists(path)) {
    if (comm.is_aborted) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  Message message;
  std::ifstream file(path, std::ios::binary);
  std::getline(file, message.header);
  const std::string data((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  message.data.resize(data.size());
  std::memcpy(message.data.data(), data.data(), data.size());
  std::filesystem::remove(path);
  return message;
}

}  // namespace

// Every rank tells every other `header` and gets theirs; false when aborted.
bool meet(const ncclComm& comm, const std::string& name, const std::string& header, std::string& difference) {
  for (int to = 0; to < comm.size; ++to) post(comm, name, to, header, nullptr, 0);
  for (int from = 0; from < comm.size; ++from) {
    const std::optional<Message> message = take(comm, name, from);
    if (!message) return false;
    if (message->header != header) difference = text_of("rank ", from, ": ", message->header, ", here: ", header);
  }
  return true;
}

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

namespace {

// Sums are rounded to the nearest, ties to even, as NCCL does.
class Bfloat16 {
 public:
  Bfloat16() = default;
  explicit Bfloat16(float value) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    bits_ = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  operator float() const {  // NOLINT(google-explicit-constructor): a number like the others
    const uint32_t bits = static_cast<uint32_t>(bits_) << 16;
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }

 private:
  uint16_t bits_ = 0;
};

template <class Number>
void combine_numbers(Bytes& into, const Bytes& more, ncclRedOp_t reduction) {
  for (size_t offset = 0; offset + sizeof(Number) <= into.size(); offset += sizeof(Number)) {
    Number left;
    Number right;
    std::memcpy(&left, into.data() + offset, sizeof(Number));
    std::memcpy(&right, more.data() + offset, sizeof(Number));
    if (reduction == ncclSum) left = static_cast<Number>(left + right);
    if (reduction == ncclMax) left = std::max(left, right);
    if (reduction == ncclMin) left = std::min(left, right);
    std::memcpy(into.data() + offset, &left, sizeof(Number));
  }
}

bool combine(Bytes& into, const Bytes& more, ncclDataType_t type, ncclRedOp_t reduction) {
  if (reduction != ncclSum && reduction != ncclMax && reduction != ncclMin) return false;
  if (type == ncclFloat32) combine_numbers<float>(into, more, reduction);
  if (type == ncclFloat64) combine_numbers<double>(into, more, reduction);
  if (type == ncclInt32) combine_numbers<int32_t>(into, more, reduction);
  if (type == ncclInt64) combine_numbers<int64_t>(into, more, reduction);
  if (type == ncclUint8) combine_numbers<uint8_t>(into, more, reduction);
  if (type == ncclBfloat16) combine_numbers<Bfloat16>(into, more, reduction);
  return type == ncclFloat32 || type == ncclFloat64 || type == ncclInt32 || type == ncclInt64 || type == ncclUint8 ||
         type == ncclBfloat16;
}

void report(ncclComm& comm, const std::string& text) {
  note_violation(text);
  comm.set_state(ncclInvalidUsage, text);
}

bool check_memory(ncclComm& comm, const Operation& operation, const void* pointer, size_t size) {
  if (is_device_memory(pointer, size)) return true;
  report(comm, operation.call + ": a buffer is no device memory, or was freed before the collective ran");
  return false;
}

// What this rank's stream sends to rank `to` in a collective that is no group.
std::pair<const std::byte*, size_t> contribution(const ncclComm& comm, const Operation& operation, int to) {
  const std::byte* send = static_cast<const std::byte*>(operation.send);
  if (operation.root >= 0 && comm.rank != operation.root) return {nullptr, 0};
  if (operation.call != "ncclReduceScatter") return {send, operation.send_bytes};
  return {send + static_cast<size_t>(to) * operation.receive_bytes, operation.receive_bytes};
}

void run_collective(ncclComm& comm, const Operation& operation) {
  if (!check_memory(comm, operation, operation.send, operation.send_bytes)) return;
  if (!check_memory(comm, operation, operation.receive, operation.receive_bytes)) return;
  const std::string name = text_of("collective", operation.number);
  for (int to = 0; to < comm.size; ++to) {
    const auto [data, size] = contribution(comm, operation, to);
    post(comm, name, to, operation.header, data, size);
  }
  Bytes result;
  for (int from = 0; from < comm.size; ++from) {
    std::optional<Message> message = take(comm, name, from);
    if (!message) return;
    if (message->header != operation.header) {
      return report(comm, text_of("the ranks differ: rank ", comm.rank, " has ", operation.header, ", rank ", from,
                                  " has ", message->header));
    }
    if (operation.root >= 0 && from != operation.root) continue;
    if (result.empty()) {
      result = std::move(message->data);
    } else if (!combine(result, message->data, operation.type, operation.reduction)) {
      return report(comm, operation.call + ": no such reduction for this type");
    }
  }
  if (!check_memory(comm, operation, operation.receive, operation.receive_bytes)) return;
  std::memcpy(operation.receive, result.data(), result.size());
}

void run_group(ncclComm& comm, const Operation& operation) {
  for (const Pointwise& message : operation.messages) {
    if (!message.is_send) continue;
    if (!check_memory(comm, operation, message.send, message.num_bytes)) return;
    post(comm, text_of("message", message.number), message.peer, text_of(message.num_bytes), message.send,
         message.num_bytes);
  }
  for (const Pointwise& message : operation.messages) {
    if (message.is_send) continue;
    const std::optional<Message> taken = take(comm, text_of("message", message.number), message.peer);
    if (!taken) return;
    if (taken->data.size() != message.num_bytes) {
      return report(comm, text_of("the ranks differ: rank ", message.peer, " sends ", taken->data.size(),
                                  " bytes to rank ", comm.rank, ", which expects ", message.num_bytes));
    }
    if (!check_memory(comm, operation, message.receive, message.num_bytes)) return;
    std::memcpy(message.receive, taken->data.data(), taken->data.size());
  }
}

}  // namespace

void wait_for_abort(const ncclComm& comm) {
  while (!comm.is_aborted) std::this_thread::sleep_for(std::chrono::microseconds(100));
}

// A task of a stream.
void run_launch(void* data) {
  const std::unique_ptr<Launch> launch(static_cast<Launch*>(data));
  ncclComm& comm = *launch->comm;
  if (comm.is_aborted) {
    // Nothing: the result is void anyway.
  } else if (launch->running_code >= 0) {
    comm.set_state(static_cast<ncclResult_t>(launch->running_code), "the network failed");
    wait_for_abort(comm);
  } else if (launch->broken_code >= 0) {
    comm.set_state(static_cast<ncclResult_t>(launch->broken_code), "the network failed");
  } else if (launch->operation.messages.empty()) {
    run_collective(comm, launch->operation);
  } else {
    run_group(comm, launch->operation);
  }
  const std::lock_guard lock(comm.mutex);
  --comm.num_in_flight;
  comm.changed.notify_all();
}

}  // namespace fake_gpu
