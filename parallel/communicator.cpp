#include "parallel/communicator.h"

#include <cstring>

namespace rosa::parallel {

using base::ArgumentError;
using base::CommunicationError;
using base::concat;
using base::require;

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

Communicator::Communicator(const RankPlace& place) : place_(place) {
  require(place.world_size >= 1 && place.rank >= 0 && place.rank < place.world_size, "Communicator: got rank ",
          place.rank, " of ", place.world_size, ", expected 0 <= rank < world size");
}

std::string Communicator::who() const { return concat("rank ", rank(), " of ", world_size()); }

void Communicator::check_tensor(const char* operation, const at::Tensor& tensor) const {
  require(tensor.defined(), operation, " on ", who(), ": got an undefined tensor");
  require(serves(tensor.device()), operation, " on ", who(), ": got a tensor on device ", tensor.device().str(),
          ", which the ", backend_name(), " communicator does not serve");
  require(tensor.layout() == at::kStrided && tensor.is_contiguous(), operation, " on ", who(),
          ": got a tensor of sizes ", tensor.sizes(), " that is not contiguous; call contiguous() first");
}

void Communicator::check_list(const char* operation, const char* which, const std::vector<at::Tensor>& tensors,
                              const at::Tensor& like) const {
  require(static_cast<int>(tensors.size()) == world_size(), operation, " on ", who(), ": got ", tensors.size(), " ",
          which, " tensors, expected one a rank (", world_size(), ")");
  for (const at::Tensor& tensor : tensors) {
    check_tensor(operation, tensor);
    require(tensor.scalar_type() == like.scalar_type() && tensor.device() == like.device(), operation, " on ", who(),
            ": got a ", which, " tensor of ", c10::toString(tensor.scalar_type()), " on ", tensor.device().str(),
            " beside one of ", c10::toString(like.scalar_type()), " on ", like.device().str());
  }
}

void Communicator::check_reducible(const char* operation, const at::Tensor& tensor) const {
  const at::ScalarType type = tensor.scalar_type();
  require(type == at::kFloat || type == at::kDouble || type == at::kInt || type == at::kLong || type == at::kByte,
          operation, " on ", who(), ": got dtype ", c10::toString(type),
          ", expected float32, float64, int32, int64 or uint8");
}

void Communicator::check_root(const char* operation, int root) const {
  require(root >= 0 && root < world_size(), operation, " on ", who(), ": got root ", root, ", expected 0 to ",
          world_size() - 1);
}

namespace {

// One collective as debug mode compares it: sequence number, dtype, count, root, then the operation's name.
constexpr int64_t kCallNumbers = 4;
constexpr int64_t kCallNameBytes = 24;
constexpr int64_t kCallWords = kCallNumbers + kCallNameBytes / static_cast<int64_t>(sizeof(int64_t));

std::string describe_call(const int64_t* call) {
  char name[kCallNameBytes + 1] = {};
  std::memcpy(name, call + kCallNumbers, kCallNameBytes);
  std::string text = concat("collective ", call[0], " ", name);
  if (call[1] >= 0) text += concat(" of dtype ", c10::toString(static_cast<at::ScalarType>(call[1])));
  if (call[2] >= 0) text += concat(", ", call[2], " elements");
  if (call[3] >= 0) text += concat(", root or reduction ", call[3]);
  return text;
}

}  // namespace

void Communicator::compare_call(const char* operation, int64_t dtype, int64_t count, int64_t root) {
  ++sequence_number_;
  if (!debug_mode_) return;
  at::Tensor mine = at::zeros({kCallWords}, at::kLong);
  int64_t* call = mine.data_ptr<int64_t>();
  call[0] = sequence_number_;
  call[1] = dtype;
  call[2] = count;
  call[3] = root;
  std::strncpy(reinterpret_cast<char*>(call + kCallNumbers), operation, kCallNameBytes);
  at::Tensor all = at::empty({world_size(), kCallWords}, at::kLong);
  start_all_gather(mine, all.unbind(0), false)->wait();
  std::string differing;
  for (int other = 0; other < world_size(); ++other) {
    const int64_t* theirs = all.data_ptr<int64_t>() + other * kCallWords;
    if (std::memcmp(theirs, call, sizeof(int64_t) * kCallWords) != 0) {
      differing += concat("; rank ", other, " called ", describe_call(theirs));
    }
  }
  require<CommunicationError>(differing.empty(), "the ranks called different collectives: ", who(), " called ",
                              describe_call(call), differing,
                              ". Every rank must call the same collectives in the same order");
}

std::unique_ptr<Work> Communicator::all_reduce_impl(const at::Tensor& tensor, Reduction reduction, bool async) {
  check_tensor("all_reduce", tensor);
  check_reducible("all_reduce", tensor);
  compare_call("all_reduce", static_cast<int64_t>(tensor.scalar_type()), tensor.numel(),
               static_cast<int64_t>(reduction));
  if (tensor.numel() == 0) return std::make_unique<CompleteWork>();
  return start_all_reduce(tensor.detach(), reduction, async);
}

std::unique_ptr<Work> Communicator::broadcast_impl(const at::Tensor& tensor, int root, bool async) {
  check_tensor("broadcast", tensor);
  check_root("broadcast", root);
  compare_call("broadcast", static_cast<int64_t>(tensor.scalar_type()), tensor.numel(), root);
  if (tensor.numel() == 0) return std::make_unique<CompleteWork>();
  return start_broadcast(tensor.detach(), root, async);
}

namespace {

std::vector<at::Tensor> detached(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> result;
  result.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.detach());
  return result;
}

}  // namespace

std::unique_ptr<Work> Communicator::all_gather_impl(const at::Tensor& send, const std::vector<at::Tensor>& receives,
                                                    bool async) {
  check_tensor("all_gather", send);
  check_list("all_gather", "receive", receives, send);
  require(receives[rank()].numel() == send.numel(), "all_gather on ", who(), ": sends ", send.numel(),
          " elements, but expects ", receives[rank()].numel(), " from itself");
  compare_call("all_gather", static_cast<int64_t>(send.scalar_type()), -1, -1);
  return start_all_gather(send.detach(), detached(receives), async);
}

std::unique_ptr<Work> Communicator::reduce_scatter_impl(const at::Tensor& send, const at::Tensor& receive,
                                                        Reduction reduction, bool async) {
  check_tensor("reduce_scatter", send);
  check_tensor("reduce_scatter", receive);
  check_reducible("reduce_scatter", send);
  require(receive.scalar_type() == send.scalar_type() && receive.device() == send.device() &&
              receive.numel() * world_size() == send.numel(),
          "reduce_scatter on ", who(), ": got ", send.numel(), " elements of ", c10::toString(send.scalar_type()),
          " into ", receive.numel(), " of ", c10::toString(receive.scalar_type()), ", expected the same dtype and ",
          world_size(), " times as many");
  compare_call("reduce_scatter", static_cast<int64_t>(send.scalar_type()), send.numel(),
               static_cast<int64_t>(reduction));
  if (send.numel() == 0) return std::make_unique<CompleteWork>();
  return start_reduce_scatter(send.detach(), receive.detach(), reduction, async);
}

std::unique_ptr<Work> Communicator::all_to_all_impl(const std::vector<at::Tensor>& sends,
                                                    const std::vector<at::Tensor>& receives, bool async) {
  require(!sends.empty(), "all_to_all on ", who(), ": got no tensors to send");
  check_tensor("all_to_all", sends.front());
  check_list("all_to_all", "send", sends, sends.front());
  check_list("all_to_all", "receive", receives, sends.front());
  require(receives[rank()].numel() == sends[rank()].numel(), "all_to_all on ", who(), ": sends ", sends[rank()].numel(),
          " elements to itself, but expects ", receives[rank()].numel());
  compare_call("all_to_all", static_cast<int64_t>(sends.front().scalar_type()), -1, -1);
  return start_all_to_all(detached(sends), detached(receives), async);
}

void Communicator::all_reduce(const at::Tensor& tensor, Reduction reduction) {
  all_reduce_impl(tensor, reduction, false)->wait();
}

void Communicator::broadcast(const at::Tensor& tensor, int root) { broadcast_impl(tensor, root, false)->wait(); }

void Communicator::all_gather(const at::Tensor& send, const std::vector<at::Tensor>& receives) {
  all_gather_impl(send, receives, false)->wait();
}

std::vector<at::Tensor> Communicator::all_gather(const at::Tensor& tensor) {
  check_tensor("all_gather", tensor);
  std::vector<at::Tensor> receives;
  for (int other = 0; other < world_size(); ++other) receives.push_back(at::empty(tensor.sizes(), tensor.options()));
  all_gather(tensor, receives);
  return receives;
}

at::Tensor Communicator::reduce_scatter(const at::Tensor& tensor, Reduction reduction) {
  check_tensor("reduce_scatter", tensor);
  require(tensor.dim() >= 1 && tensor.size(0) % world_size() == 0, "reduce_scatter on ", who(),
          ": got a tensor of sizes ", tensor.sizes(), ", expected a first dimension that ", world_size(), " divides");
  std::vector<int64_t> sizes = tensor.sizes().vec();
  sizes[0] /= world_size();
  at::Tensor receive = at::empty(sizes, tensor.options().requires_grad(false));
  reduce_scatter_impl(tensor, receive, reduction, false)->wait();
  return receive;
}

void Communicator::all_to_all(const std::vector<at::Tensor>& sends, const std::vector<at::Tensor>& receives) {
  all_to_all_impl(sends, receives, false)->wait();
}

void Communicator::barrier() {
  compare_call("barrier", -1, -1, -1);
  run_barrier();
}

std::unique_ptr<Work> Communicator::all_reduce_async(const at::Tensor& tensor, Reduction reduction) {
  return all_reduce_impl(tensor, reduction, true);
}

std::unique_ptr<Work> Communicator::broadcast_async(const at::Tensor& tensor, int root) {
  return broadcast_impl(tensor, root, true);
}

std::unique_ptr<Work> Communicator::all_gather_async(const at::Tensor& send, const std::vector<at::Tensor>& receives) {
  return all_gather_impl(send, receives, true);
}

std::unique_ptr<Work> Communicator::reduce_scatter_async(const at::Tensor& send, const at::Tensor& receive,
                                                         Reduction reduction) {
  return reduce_scatter_impl(send, receive, reduction, true);
}

std::unique_ptr<Work> Communicator::all_to_all_async(const std::vector<at::Tensor>& sends,
                                                     const std::vector<at::Tensor>& receives) {
  return all_to_all_impl(sends, receives, true);
}

namespace {

template <class Number>
std::vector<Number> reduce_numbers(Communicator& communicator, const std::vector<Number>& values, Reduction reduction,
                                   at::ScalarType type) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, type);
  std::copy(values.begin(), values.end(), tensor.data_ptr<Number>());
  communicator.all_reduce(tensor, reduction);
  const Number* data = tensor.data_ptr<Number>();
  return std::vector<Number>(data, data + values.size());
}

at::Tensor bytes_of(const std::string& text) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  if (!text.empty()) std::memcpy(tensor.data_ptr(), text.data(), text.size());
  return tensor;
}

std::string text_of(const at::Tensor& bytes) {
  if (bytes.numel() == 0) return {};
  return std::string(static_cast<const char*>(bytes.data_ptr()), static_cast<size_t>(bytes.numel()));
}

}  // namespace

std::vector<double> Communicator::all_reduce_values(const std::vector<double>& values, Reduction reduction) {
  return reduce_numbers(*this, values, reduction, at::kDouble);
}

std::vector<int64_t> Communicator::all_reduce_values(const std::vector<int64_t>& values, Reduction reduction) {
  return reduce_numbers(*this, values, reduction, at::kLong);
}

std::vector<std::string> Communicator::all_gather_text(const std::string& text) {
  const at::Tensor mine = bytes_of(text);
  std::vector<at::Tensor> receives;
  for (const at::Tensor& length : all_gather(at::full({1}, mine.numel(), at::kLong))) {
    receives.push_back(at::empty({length.item<int64_t>()}, at::kByte));
  }
  all_gather(mine, receives);
  std::vector<std::string> texts;
  for (const at::Tensor& bytes : receives) texts.push_back(text_of(bytes));
  return texts;
}

std::string Communicator::broadcast_text(const std::string& text, int root) {
  const at::Tensor length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  broadcast(length, root);
  const at::Tensor bytes = rank() == root ? bytes_of(text) : at::empty({length.item<int64_t>()}, at::kByte);
  broadcast(bytes, root);
  return text_of(bytes);
}

}  // namespace rosa::parallel
