#include "parallel/collective_call.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"

namespace rosa::parallel {
namespace {

using base::concat;

// Of an encoded call: sequence number, dtype, count, root, reduction (-1 where not set), the operation's name; then
// what it sends to and expects from each rank.
constexpr size_t kNumNumbers = 5;
constexpr size_t kNameBytes = 24;
constexpr size_t kHeadLength = kNumNumbers + kNameBytes / sizeof(int64_t);

using Encoded = std::vector<int64_t>;

Encoded head_of(const Encoded& call) {
  return Encoded(call.begin(), call.begin() + static_cast<std::ptrdiff_t>(kHeadLength));
}

std::string describe_head(const Encoded& call) {
  char name[kNameBytes + 1] = {};
  std::memcpy(name, call.data() + kNumNumbers, kNameBytes);
  CollectiveCall decoded;
  decoded.operation = name;
  if (call[1] >= 0) decoded.dtype = static_cast<at::ScalarType>(call[1]);
  if (call[2] >= 0) decoded.count = call[2];
  if (call[3] >= 0) decoded.root = static_cast<int>(call[3]);
  if (call[4] >= 0) decoded.reduction = static_cast<Reduction>(call[4]);
  return concat(describe(decoded), " as collective ", call[0]);
}

// The first pair of ranks of which one sends what the other does not expect.
std::string find_unequal_pair(const std::vector<Encoded>& calls, const RankGroup& group) {
  const size_t num_ranks = calls.size();
  for (size_t from = 0; from < num_ranks; ++from) {
    for (size_t to = 0; to < num_ranks; ++to) {
      const int64_t sent = calls[from][kHeadLength + to];
      const int64_t expected = calls[to][kHeadLength + num_ranks + from];
      if (sent != expected) {
        return concat("in ", describe_head(calls[from]), ", rank ", group.world_rank(static_cast<int>(from)), " sends ",
                      sent, " elements to rank ", group.world_rank(static_cast<int>(to)), ", which expects ", expected);
      }
    }
  }
  return {};
}

}  // namespace

const char* name_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return "sum";
    case Reduction::max:
      return "max";
    case Reduction::min:
      return "min";
  }
  return "unknown";
}

std::string describe(const CollectiveCall& call) {
  std::string text = call.operation;
  if (call.dtype) text += concat(" of ", c10::toString(*call.dtype));
  if (call.count) text += concat(", ", *call.count, " elements");
  if (call.root) text += concat(", root ", *call.root);
  if (call.reduction) text += concat(", ", name_of(*call.reduction));
  return text;
}

std::vector<int64_t> encode(const CollectiveCall& call, int64_t sequence_number, int world_size) {
  Encoded numbers(kHeadLength + 2 * static_cast<size_t>(world_size), 0);
  numbers[0] = sequence_number;
  numbers[1] = call.dtype ? static_cast<int64_t>(*call.dtype) : -1;
  numbers[2] = call.count.value_or(-1);
  numbers[3] = call.root.value_or(-1);
  numbers[4] = call.reduction ? static_cast<int64_t>(*call.reduction) : -1;
  std::memcpy(numbers.data() + kNumNumbers, call.operation, std::min(std::strlen(call.operation), kNameBytes));
  std::copy(call.send_counts.begin(), call.send_counts.end(), numbers.begin() + kHeadLength);
  std::copy(call.receive_counts.begin(), call.receive_counts.end(), numbers.begin() + kHeadLength + world_size);
  return numbers;
}

std::string find_difference(const std::vector<std::vector<int64_t>>& calls, const RankGroup& group) {
  std::map<Encoded, std::vector<int>> ranks_of;
  for (size_t rank = 0; rank < calls.size(); ++rank) ranks_of[head_of(calls[rank])].push_back(static_cast<int>(rank));
  if (ranks_of.size() == 1) return find_unequal_pair(calls, group);
  const auto common = std::max_element(ranks_of.begin(), ranks_of.end(), [](const auto& left, const auto& right) {
    if (left.second.size() != right.second.size()) return left.second.size() < right.second.size();
    return left.second.front() > right.second.front();
  });
  std::string text;
  for (const auto& [head, ranks] : ranks_of) {
    if (head != common->first) text += concat(group.ranks_text(ranks), " called ", describe_head(head), ", ");
  }
  return concat(text, "but ", group.ranks_text(common->second), " called ", describe_head(common->first));
}

}  // namespace rosa::parallel
