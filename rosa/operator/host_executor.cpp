#include "rosa/operator/host_executor.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <span>
#include <utility>

#include "base/error.h"
#include "rosa/automaton/matcher.h"
#include "rosa/operator/device_transfer.h"
#include "rosa/operator/document_runs.h"

namespace rosa {

using base::require;

// What one worker thread keeps from call to call.
struct HostExecutor::Worker {
  automaton::Matcher matcher;
  std::vector<int32_t> positions;
  std::vector<int32_t> document_starts;
};

class HostExecutor::Job {
 public:
  MatchRequest request;                      // on the host
  HardResult result;                         // on the host; positions are always there only if asked for
  std::unique_ptr<DeviceTransfer> transfer;  // null: the symbols are on the host already
  std::atomic<int64_t> next_piece{0};
  int64_t num_pieces = 0;
  std::vector<std::future<void>> parts;

  int64_t batch() const { return request.query_symbols.size(0); }
  int64_t heads() const { return request.query_symbols.size(1); }
  int64_t kv_heads() const { return request.key_symbols.size(1); }
  int64_t length() const { return request.query_symbols.size(2); }
  at::Tensor empty(at::ScalarType dtype) const {
    const at::IntArrayRef sizes = request.query_symbols.sizes();
    return transfer ? transfer->host_tensor(sizes, dtype) : at::empty(sizes, at::TensorOptions(dtype));
  }
};

namespace {

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
  if (request.documents.defined()) {
    require(request.documents.scalar_type() == at::kLong && request.documents.dim() == 2 &&
                request.documents.size(0) == query.size(0) && request.documents.size(1) == query.size(2),
            "HostExecutor: documents of shape ", request.documents.sizes(), ", expected int64 [batch, length]");
  }
}

template <class Symbol>
std::span<const Symbol> symbols_of(const at::Tensor& tensor, int64_t row, int64_t length) {
  const auto* data = static_cast<const Symbol*>(tensor.const_data_ptr());
  return {data + row * length, static_cast<size_t>(length)};
}

template <class Symbol>
void match_row(const MatchRequest& request, int64_t batch, int64_t head, automaton::Matcher& matcher,
               std::span<int32_t> positions, std::span<const int32_t> starts) {
  const int64_t heads = request.query_symbols.size(1), kv_heads = request.key_symbols.size(1);
  const int64_t length = request.query_symbols.size(2);
  const auto query = symbols_of<Symbol>(request.query_symbols, batch * heads + head, length);
  const auto key = symbols_of<Symbol>(request.key_symbols, batch * kv_heads + head / (heads / kv_heads), length);
  if (!request.mask.defined()) {
    matcher.match(query, key, positions, std::span<int32_t>{}, starts);
    return;
  }
  const at::Tensor& mask = request.mask;
  const int64_t row = (mask.size(0) == 1 ? 0 : batch) * mask.size(1) + (mask.size(1) == 1 ? 0 : head);
  matcher.match_masked(query, key, positions, std::span<int32_t>{}, starts,
                       mask.const_data_ptr<bool>() + row * length * length, length);
}

template <class Symbol>
void gather_values(std::span<const int32_t> positions, const Symbol* values, Symbol* retrieved, bool* matched) {
  for (size_t t = 0; t < positions.size(); ++t) {
    matched[t] = positions[t] >= 0;
    retrieved[t] = matched[t] ? values[positions[t] + 1] : Symbol{0};
  }
}

}  // namespace

HostExecutor::HostExecutor(int num_threads) : pool_(num_threads) {
  for (int index = 0; index < num_threads; ++index) workers_.push_back(std::make_unique<Worker>());
}

HostExecutor::~HostExecutor() = default;

HostExecutor::Ticket HostExecutor::submit(MatchRequest request) {
  check_request(request);
  auto job = std::make_shared<Job>();
  job->request = std::move(request);
  MatchRequest& host = job->request;
  at::Tensor* const tensors[] = {&host.query_symbols, &host.key_symbols, &host.value_symbols, &host.mask,
                                 &host.documents};
  for (at::Tensor* tensor : tensors) {
    if (tensor->defined()) *tensor = tensor->contiguous();
  }
  if (!host.query_symbols.is_cpu()) {
    job->transfer = make_device_transfer(host.query_symbols.device());
    std::vector<at::Tensor> sources;
    for (at::Tensor* tensor : tensors) {
      if (tensor->defined() && !tensor->is_cpu()) sources.push_back(*tensor);
    }
    auto copies = job->transfer->start_to_host(sources);
    auto copy = copies.begin();
    for (at::Tensor* tensor : tensors) {
      if (tensor->defined() && !tensor->is_cpu()) *tensor = *copy++;
    }
  }
  job->result.value_symbols = job->empty(host.value_symbols.scalar_type());
  job->result.matched = job->empty(at::kBool);
  if (host.want_positions) job->result.positions = job->empty(at::kInt);
  job->num_pieces = job->batch() * job->heads();
  for (int64_t part = 0; part < std::min<int64_t>(job->num_pieces, num_threads()); ++part) {
    job->parts.push_back(pool_.submit([this, job] { run_pieces(*job); }));
  }
  return job;
}

HardResult HostExecutor::wait(const Ticket& ticket) {
  require(ticket != nullptr, "HostExecutor::wait: got no ticket, expected the one of a submit()");
  const auto start = std::chrono::steady_clock::now();
  for (std::future<void>& part : ticket->parts) part.wait();
  waited_ns_ += std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
  // The tasks hold the job: letting the futures go breaks that circle.
  std::vector<std::future<void>> parts = std::exchange(ticket->parts, {});
  for (std::future<void>& part : parts) part.get();
  HardResult result = ticket->result;
  if (ticket->transfer) {
    for (at::Tensor* tensor : {&result.value_symbols, &result.matched, &result.positions}) {
      if (tensor->defined()) *tensor = ticket->transfer->to_device(*tensor);
    }
  }
  return result;
}

void HostExecutor::run_beside(const std::function<void()>& body) const {
  if (hooks_.beside_begins) hooks_.beside_begins();
  body();
  if (hooks_.beside_ends) hooks_.beside_ends();
}

void HostExecutor::parallel_for(int64_t count, const std::function<void(int64_t)>& body) {
  pool_.parallel_for(count, body);
}

void HostExecutor::run_pieces(Job& job) {
  Worker& worker = *workers_[pool_.worker_index()];
  if (hooks_.work_begins) hooks_.work_begins();
  if (job.transfer) job.transfer->wait_for_host();
  const MatchRequest& request = job.request;
  const int64_t length = job.length(), heads = job.heads(), kv_heads = job.kv_heads();
  for (int64_t piece = job.next_piece++; piece < job.num_pieces; piece = job.next_piece++) {
    const int64_t batch = piece / heads, head = piece % heads;
    worker.document_starts.clear();
    if (request.documents.defined()) {
      for (const auto& [begin, end] : document_runs(request.documents, batch, length)) {
        worker.document_starts.push_back(static_cast<int32_t>(begin));
      }
    }
    worker.positions.resize(length);
    std::span<int32_t> positions(worker.positions);
    if (request.want_positions) {
      positions = {job.result.positions.mutable_data_ptr<int32_t>() + piece * length, positions.size()};
    }
    if (request.query_symbols.scalar_type() == at::kByte) {
      match_row<uint8_t>(request, batch, head, worker.matcher, positions, worker.document_starts);
    } else {
      match_row<uint64_t>(request, batch, head, worker.matcher, positions, worker.document_starts);
    }
    const int64_t value_row = batch * kv_heads + head / (heads / kv_heads);
    bool* matched = job.result.matched.mutable_data_ptr<bool>() + piece * length;
    if (request.value_symbols.scalar_type() == at::kByte) {
      gather_values(positions, request.value_symbols.const_data_ptr<uint8_t>() + value_row * length,
                    job.result.value_symbols.mutable_data_ptr<uint8_t>() + piece * length, matched);
    } else {
      gather_values(positions, request.value_symbols.const_data_ptr<int64_t>() + value_row * length,
                    job.result.value_symbols.mutable_data_ptr<int64_t>() + piece * length, matched);
    }
  }
}

}  // namespace rosa
