#include "rosa/operator/host_executor.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/trace.h"
#include "rosa/operator/packed_positions.h"
#include "rosa/operator/staging_buffer.h"
#include "rosa/operator/symbols.h"

namespace rosa {

using automaton::PositionStorage;
using base::require;

// The transfers of jobs in flight and of earlier ones, which later ones use again.
class HostExecutor::Transfers {
 public:
  explicit Transfers(MakeDeviceTransfer make) : make_(std::move(make)) {}

  DeviceTransfer& acquire(at::Device device) {
    const std::lock_guard lock(mutex_);
    for (Entry& entry : entries_) {
      if (entry.is_free && entry.device == device) {
        entry.is_free = false;
        return *entry.transfer;
      }
    }
    entries_.push_back({make_(device), device, false});
    return *entries_.back().transfer;
  }

  void release(const DeviceTransfer& transfer) {
    const std::lock_guard lock(mutex_);
    for (Entry& entry : entries_) {
      if (entry.transfer.get() == &transfer) entry.is_free = true;
    }
  }

  template <class Value>
  Value sum(Value (*value_of)(DeviceTransfer&)) const {
    const std::lock_guard lock(mutex_);
    Value total = 0;
    for (const Entry& entry : entries_) total += value_of(*entry.transfer);
    return total;
  }

 private:
  struct Entry {
    std::unique_ptr<DeviceTransfer> transfer;
    at::Device device;
    bool is_free;
  };

  const MakeDeviceTransfer make_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

// What the workers of a job read and write, on the host; kept until none can touch it any more.
struct HostExecutor::Memory {
  MatchRequest request;
  HardResult result;  // value_symbols and matched as they cross
  std::shared_ptr<Transfers> transfers;
  DeviceTransfer* transfer = nullptr;                // null: nothing crosses
  bool packs_symbols = false, packs_values = false;  // eight positions a byte

  ~Memory() {
    if (transfer != nullptr) transfers->release(*transfer);
  }

  bool crosses() const { return transfer != nullptr; }
  void pack_one_bit_symbols();
  void copy_to_host(int64_t result_bytes);
  void prepare();
  automaton::MatchBatch match_batch(int64_t length) const;
};

class HostExecutor::Job {
 public:
  automaton::MatchPool::Ticket ticket;
  std::shared_ptr<Memory> memory;  // null after wait()
  int64_t layer = -1;
  std::vector<int64_t> sizes;  // of the query symbols
  at::TensorOptions options;
};

at::Tensor hard_bits(const HardResult& result, int64_t num_bits, at::ScalarType dtype) {
  if (!result.place_sums.defined()) return unpack_symbols(result.value_symbols, num_bits, dtype);
  const at::Tensor& sums = result.place_sums;
  at::Tensor bits = at::empty({sums.size(0), sums.size(2), sums.size(1), sums.size(3)}, sums.options().dtype(dtype));
  bits.copy_(sums.transpose(1, 2));
  bits.div_(result.place_counts.clamp_min(1).to(dtype).transpose(1, 2).unsqueeze(3));
  return bits.transpose(1, 2);
}

namespace {

// The most positions whose counts fit int16.
constexpr int64_t kMostShortCounters = 32768;

void check_symbols(const at::Tensor& symbols, const char* name, const at::Tensor& like) {
  require(symbols.defined() && symbols.dim() == 3 &&
              (symbols.scalar_type() == at::kByte || symbols.scalar_type() == at::kLong),
          "HostExecutor: ", name, " must be uint8 or int64 symbols of shape [batch, heads, length]");
  require(symbols.size(0) == like.size(0) && symbols.size(2) == like.size(2) && symbols.device() == like.device(),
          "HostExecutor: ", name, " has shape ", symbols.sizes(), " on ", symbols.device(),
          ", expected batch, length and device of the query's ", like.sizes(), " on ", like.device());
}

void check_request(const MatchRequest& request) {
  const at::Tensor& query = request.query_symbols;
  check_symbols(query, "query_symbols", query);
  check_symbols(request.key_symbols, "key_symbols", query);
  check_symbols(request.value_symbols, "value_symbols", query);
  require(request.key_symbols.scalar_type() == query.scalar_type(),
          "HostExecutor: query and key symbols differ in dtype; both need the same number of bits");
  const int64_t kv_heads = request.key_symbols.size(1);
  require(kv_heads > 0 && query.size(1) % kv_heads == 0 && request.value_symbols.size(1) == kv_heads,
          "HostExecutor: got ", query.size(1), " query heads on ", kv_heads, " key and ", request.value_symbols.size(1),
          " value heads, expected a multiple of equal numbers");
  if (request.mask.defined()) {
    const at::Tensor& mask = request.mask;
    require(mask.scalar_type() == at::kBool && mask.dim() == 4 &&
                (mask.size(0) == 1 || mask.size(0) == query.size(0)) &&
                (mask.size(1) == 1 || mask.size(1) == query.size(1)) && mask.size(2) == query.size(2) &&
                mask.size(3) == query.size(2),
            "HostExecutor: mask of shape ", mask.sizes(), ", expected bool [1 or batch, 1 or heads, length, length]");
  }
  require(!request.want_place_sums || (request.value_bits >= 1 && request.value_bits <= kMaxSymbolBits),
          "HostExecutor: got ", request.value_bits, " value bits, expected 1 to ", kMaxSymbolBits,
          " where all places are wanted");
  if (request.documents.defined()) {
    require(request.documents.scalar_type() == at::kLong && request.documents.dim() == 2 &&
                request.documents.size(0) == query.size(0) && request.documents.size(1) == query.size(2),
            "HostExecutor: documents of shape ", request.documents.sizes(), ", expected int64 [batch, length]");
  }
}

PositionStorage storage_of(const at::Tensor& symbols, bool is_packed) {
  if (is_packed) return PositionStorage::bits;
  return symbols.scalar_type() == at::kLong ? PositionStorage::words : PositionStorage::bytes;
}

}  // namespace

HostExecutor::HostExecutor(int num_threads, MakeDeviceTransfer make_transfer)
    : make_transfer_(std::move(make_transfer)),
      transfers_(std::make_shared<Transfers>(make_transfer_ ? make_transfer_ : make_device_transfer)),
      pool_(num_threads) {}

HostExecutor::~HostExecutor() = default;

// Tensors that are one (the gate's symbols are query, key and value) stay one.
void HostExecutor::Memory::pack_one_bit_symbols() {
  std::vector<std::pair<at::Tensor, at::Tensor>> packed;
  const auto pack = [&](at::Tensor& symbols) {
    for (const auto& [from, to] : packed) {
      if (from.is_same(symbols)) return void(symbols = to);
    }
    at::Tensor bits = at::empty({symbols.size(0), symbols.size(1), num_packed_bytes(symbols.size(2))},
                                symbols.options().dtype(at::kByte));
    transfer->launch([from = symbols, bits]() mutable { pack_positions(from, bits); });
    packed.emplace_back(symbols, bits);
    symbols = bits;
  };
  if (packs_symbols) pack(request.query_symbols);
  if (packs_symbols) pack(request.key_symbols);
  if (packs_values) pack(request.value_symbols);
}

// Replaces the device's tensors by host tensors that the transfer fills; what stands several times crosses once.
void HostExecutor::Memory::copy_to_host(int64_t result_bytes) {
  const at::Device device = request.query_symbols.device();
  std::vector<at::Tensor*> tensors;
  std::vector<at::Tensor> sources;
  std::vector<size_t> source_of;
  for (at::Tensor* tensor :
       {&request.query_symbols, &request.key_symbols, &request.value_symbols, &request.mask, &request.documents}) {
    if (!tensor->defined() || tensor->device() != device) continue;
    const auto found =
        std::find_if(sources.begin(), sources.end(), [&](const at::Tensor& source) { return source.is_same(*tensor); });
    tensors.push_back(tensor);
    source_of.push_back(static_cast<size_t>(found - sources.begin()));
    if (found == sources.end()) sources.push_back(*tensor);
  }
  const std::vector<at::Tensor> copies = transfer->start_to_host(sources, result_bytes);
  for (size_t i = 0; i < tensors.size(); ++i) *tensors[i] = copies[source_of[i]];
}

// Brings the request to the host and makes room for the results.
void HostExecutor::Memory::prepare() {
  const std::vector<int64_t> sizes = request.query_symbols.sizes().vec();
  const std::vector<int64_t> packed_sizes = {sizes[0], sizes[1], num_packed_bytes(sizes[2])};
  const std::vector<int64_t> sums_sizes = {sizes[0], sizes[1], sizes[2], request.value_bits};
  struct Result {
    at::Tensor* tensor;
    const std::vector<int64_t>& sizes;
    at::ScalarType dtype;
  };
  std::vector<Result> results;
  if (request.want_place_sums) {
    const at::ScalarType counter = sizes[2] <= kMostShortCounters ? at::kShort : at::kInt;
    results.push_back({&result.place_counts, sizes, counter});
    results.push_back({&result.place_sums, sums_sizes, counter});
  } else if (packs_values) {
    results.push_back({&result.value_symbols, packed_sizes, at::kByte});
  } else {
    results.push_back({&result.value_symbols, sizes, request.value_symbols.scalar_type()});
  }
  if (!crosses()) {
    results.push_back({&result.matched, sizes, at::kBool});
  } else if (!request.want_lengths && !request.want_place_sums) {  // which say it too
    results.push_back({&result.matched, packed_sizes, at::kByte});
  }
  if (request.want_positions) results.push_back({&result.positions, sizes, at::kInt});
  if (request.want_lengths) results.push_back({&result.lengths, sizes, at::kByte});
  if (crosses()) {
    pack_one_bit_symbols();
    int64_t result_bytes = 0;
    for (const Result& wanted : results) result_bytes += StagingBuffer::bytes_of(wanted.sizes, wanted.dtype);
    copy_to_host(result_bytes);
  }
  for (const Result& wanted : results) {
    *wanted.tensor = crosses() ? transfer->host_tensor(wanted.sizes, wanted.dtype)
                               : at::empty(wanted.sizes, at::TensorOptions(wanted.dtype));
  }
}

automaton::MatchBatch HostExecutor::Memory::match_batch(int64_t length) const {
  automaton::MatchBatch batch;
  batch.batch = request.query_symbols.size(0);
  batch.num_heads = request.query_symbols.size(1);
  batch.num_kv_heads = request.key_symbols.size(1);
  batch.length = length;
  const PositionStorage symbols = storage_of(request.query_symbols, packs_symbols);
  const PositionStorage values = storage_of(request.value_symbols, packs_values);
  batch.query = {request.query_symbols.const_data_ptr(), symbols};
  batch.key = {request.key_symbols.const_data_ptr(), symbols};
  batch.value = {request.value_symbols.const_data_ptr(), values};
  if (result.value_symbols.defined()) batch.retrieved = {result.value_symbols.mutable_data_ptr(), values};
  if (result.place_sums.defined()) {
    const bool is_wide = result.place_sums.scalar_type() == at::kInt;
    batch.place_counts = {result.place_counts.mutable_data_ptr(), is_wide};
    batch.place_sums = {result.place_sums.mutable_data_ptr(), is_wide};
    batch.value_bits = static_cast<int32_t>(request.value_bits);
  }
  if (result.matched.defined()) {
    batch.matched = {result.matched.mutable_data_ptr(), crosses() ? PositionStorage::bits : PositionStorage::bytes};
  }
  if (result.positions.defined()) batch.positions = result.positions.mutable_data_ptr<int32_t>();
  if (result.lengths.defined()) batch.lengths = result.lengths.mutable_data_ptr<uint8_t>();
  if (request.mask.defined()) {
    const at::Tensor& mask = request.mask;
    batch.mask = mask.const_data_ptr<bool>();
    batch.mask_batch_stride = mask.size(0) == 1 ? 0 : mask.size(1) * length * length;
    batch.mask_head_stride = mask.size(1) == 1 ? 0 : length * length;
  }
  if (request.documents.defined()) batch.documents = request.documents.const_data_ptr<int64_t>();
  batch.layer = request.layer;
  if (crosses()) batch.wait_for_inputs = [transfer = transfer] { transfer->wait_for_host(); };
  return batch;
}

HostExecutor::Ticket HostExecutor::submit(MatchRequest request) {
  check_request(request);
  auto job = std::make_shared<Job>();
  job->layer = request.layer;
  job->options = request.query_symbols.options();
  job->sizes = request.query_symbols.sizes().vec();
  const auto memory = std::make_shared<Memory>();
  for (at::Tensor* tensor :
       {&request.query_symbols, &request.key_symbols, &request.value_symbols, &request.mask, &request.documents}) {
    if (tensor->defined()) *tensor = tensor->contiguous();
  }
  if (make_transfer_ || !request.query_symbols.is_cpu()) {
    memory->transfers = transfers_;
    memory->transfer = &transfers_->acquire(request.query_symbols.device());
    memory->packs_symbols = request.symbol_bits == 1;
    memory->packs_values = request.value_bits == 1;
  }
  memory->request = std::move(request);
  memory->prepare();
  automaton::MatchBatch batch = memory->match_batch(job->sizes[2]);
  batch.owner = memory;
  job->memory = memory;
  job->ticket = pool_.submit(std::move(batch));
  return job;
}

HardResult HostExecutor::wait(const Ticket& ticket) {
  require(ticket != nullptr && ticket->memory != nullptr,
          "HostExecutor::wait: got no ticket, expected that of a submit(), and once");
  const std::shared_ptr<Memory> memory = std::exchange(ticket->memory, nullptr);
  const base::TraceSpan span("wait", "wait for automata", {{"layer", ticket->layer}});
  if (!memory->crosses()) {
    const auto start = std::chrono::steady_clock::now();
    pool_.wait(ticket->ticket);
    const auto waited = std::chrono::steady_clock::now() - start;
    waited_ns_ += std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count();
    return memory->result;
  }
  DeviceTransfer& transfer = *memory->transfer;
  transfer.stall_begins();
  pool_.wait(ticket->ticket);
  HardResult result = memory->result;
  for (at::Tensor* tensor : {&result.value_symbols, &result.matched, &result.positions, &result.lengths,
                             &result.place_counts, &result.place_sums}) {
    if (tensor->defined()) *tensor = transfer.to_device(*tensor);
  }
  transfer.stall_ends();
  const auto unpack = [&](at::Tensor& packed, at::ScalarType dtype) {
    at::Tensor symbols = at::empty(ticket->sizes, ticket->options.dtype(dtype));
    transfer.launch([packed, symbols]() mutable { unpack_positions(packed, symbols); });
    packed = symbols;
  };
  const at::Tensor& tells_matched = result.lengths.defined() ? result.lengths : result.place_counts;
  if (tells_matched.defined()) {
    result.matched = at::empty(ticket->sizes, ticket->options.dtype(at::kBool));
    transfer.launch([matched = result.matched, tells_matched]() mutable { at::ne_out(matched, tells_matched, 0); });
  } else {
    unpack(result.matched, at::kBool);
  }
  if (memory->packs_values && result.value_symbols.defined()) unpack(result.value_symbols, at::kByte);
  return result;
}

double HostExecutor::waited_ms() {
  return static_cast<double>(waited_ns_.load()) / 1e6 +
         transfers_->sum<double>([](DeviceTransfer& transfer) { return transfer.stalled_ms(); });
}

int HostExecutor::num_staging_buffers() const {
  return transfers_->sum<int>([](DeviceTransfer&) { return 1; });
}

int64_t HostExecutor::staging_bytes() const {
  return transfers_->sum<int64_t>([](DeviceTransfer& transfer) { return transfer.staging_bytes(); });
}

void HostExecutor::run_beside(const std::function<void()>& body) const {
  if (hooks_.beside_begins) hooks_.beside_begins();
  body();
  if (hooks_.beside_ends) hooks_.beside_ends();
}

void HostExecutor::parallel_for(int64_t count, const std::function<void(int64_t)>& body) {
  pool_.parallel_for(count, body);
}

void HostExecutor::set_hooks(Hooks hooks) {
  hooks_ = std::move(hooks);
  pool_.set_work_begins(hooks_.work_begins);
}

}  // namespace rosa
