// Bandwidth of the gradient reducer against a bare MPI_Allreduce of as many bytes, under mpirun:
//   mpirun -np 2 --bind-to none build/bench/reduction_bench [REPEATS]
// All in one process, in another order in each of REPEATS (default 15) rounds, since a call is up to a quarter slower
// after another kind of call than after its own; medians. A size's gradients are 1 MiB tensors that become ready one
// after the other, as in a backward that costs nothing: all communication is exposed. The time is from the first ready
// callback to the return of finish(); deterministic sums include copying the gradients into a leaf. Before each run the
// caches are filled with other things, as a backward leaves them, and then the gradients are written: a call repeated
// on its own finds its buffers in the caches and is up to twice as fast. Beside it, what parts of a fast reduction cost
// a single call: a meeting of the ranks before it, being carried out by another thread than the one that wrote the
// buffer, and the buckets' own time in the reduction.
#include <ATen/Parallel.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "parallel/gradient_reducer.h"
#include "parallel/mpi_communicator.h"
#include "parallel/mpi_session.h"

namespace rosa::parallel {
namespace {

constexpr int64_t kTensorElements = (1 << 20) / static_cast<int64_t>(sizeof(float));

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr int kNumWarmups = 2;

// Without the first runs.
double median(std::vector<double> values) {
  values.erase(values.begin(), values.begin() + kNumWarmups);
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A reducer of `num_mib` tensors and their ready callbacks.
class Subject {
 public:
  Subject(Communicator& communicator, const ParallelConfig& config, int64_t num_mib)
      : ready_(static_cast<size_t>(num_mib)) {
    std::vector<ReducedTensor> reduced;
    std::vector<size_t> placement;
    for (size_t i = 0; i < ready_.size(); ++i) {
      tensors_.push_back(at::ones({kTensorElements}));
      reduced.push_back({tensors_.back(), [this, i](std::function<void()> ready) { ready_[i] = std::move(ready); }});
      placement.push_back(ready_.size() - 1 - i);
    }
    reducer_ = std::make_unique<GradientReducer>(communicator, config, communicator.world_size(), std::move(reduced),
                                                 placement);
  }

  double time_ms() {
    double start = 0.0;
    reducer_->run_backward([&] {
      for (const at::Tensor& tensor : tensors_) {
        at::Tensor& gradient = tensor.mutable_grad();
        if (!gradient.defined()) gradient = at::empty_like(tensor);
        gradient.fill_(1.0);
      }
      MPI_Barrier(MPI_COMM_WORLD);
      start = now_ms();
      for (auto ready = ready_.rbegin(); ready != ready_.rend(); ++ready) (*ready)();
    });
    reducer_->finish();
    const double time = now_ms() - start;
    buckets_ms_.push_back(reducer_->times().communication_ms);
    return time;
  }

  // Of all runs: time that buckets were on their way.
  double median_buckets_ms() const { return median(buckets_ms_); }

 private:
  std::vector<at::Tensor> tensors_;
  std::vector<std::function<void()>> ready_;
  std::unique_ptr<GradientReducer> reducer_;
  std::vector<double> buckets_ms_;
};

void fill_caches() {
  static at::Tensor others = at::zeros({64 * kTensorElements});
  others.add_(1.0);
}

const at::Tensor& written(const at::Tensor& buffer) { return buffer.fill_(1.0); }

double all_reduce_ms(const at::Tensor& buffer) {
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = now_ms();
  MPI_Allreduce(MPI_IN_PLACE, buffer.data_ptr(), static_cast<int>(buffer.numel()), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  return now_ms() - start;
}

// The same call behind a meeting as the reducer's.
double met_ms(Communicator& communicator, const at::Tensor& buffer) {
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = now_ms();
  const auto meeting = communicator.barrier_async();
  while (!meeting->is_complete()) std::this_thread::yield();
  meeting->wait();
  communicator.all_reduce(buffer);
  return now_ms() - start;
}

double other_thread_ms(const at::Tensor& buffer) {
  double time = 0.0;
  std::thread([&] { time = all_reduce_ms(buffer); }).join();
  return time;
}

void compare(Communicator& communicator, int64_t num_mib, int num_repeats) {
  const ParallelConfig defaults;
  const auto with = [&](const char* reduction, const char* wire_dtype) {
    ParallelConfig config = defaults;
    config.reduction = reduction;
    config.wire_dtype = wire_dtype;
    return std::make_unique<Subject>(communicator, config, num_mib);
  };
  const at::Tensor buffer = at::ones({num_mib * kTensorElements});
  const auto fast = with("fast", "float32"), half = with("fast", "bfloat16"), tree = with("deterministic", "float32");
  std::vector<double> bare_ms, fast_ms, half_ms, tree_ms, with_meeting_ms, on_other_thread_ms;
  std::vector<std::pair<std::vector<double>*, std::function<double()>>> subjects = {
      {&bare_ms, [&] { return all_reduce_ms(written(buffer)); }},
      {&fast_ms, [&] { return fast->time_ms(); }},
      {&half_ms, [&] { return half->time_ms(); }},
      {&tree_ms, [&] { return tree->time_ms(); }},
      {&with_meeting_ms, [&] { return met_ms(communicator, written(buffer)); }},
      {&on_other_thread_ms, [&] { return other_thread_ms(written(buffer)); }}};
  std::mt19937 random(1);  // the same order on every rank
  for (int repeat = 0; repeat < kNumWarmups + num_repeats; ++repeat) {
    std::shuffle(subjects.begin(), subjects.end(), random);
    for (const auto& [times, measure] : subjects) {
      fill_caches();
      times->push_back(measure());
    }
  }
  if (communicator.rank() != 0) return;
  const double bare = median(bare_ms);
  std::printf("| %lld | %.2f | %.2f | %.0f %% | %.0f %% | %.0f %% | %.2f | %.2f | %.2f |\n",
              static_cast<long long>(num_mib), bare, static_cast<double>(num_mib) / 1024 / bare * 1000,
              100 * bare / median(fast_ms), 100 * bare / median(half_ms), 100 * bare / median(tree_ms),
              median(with_meeting_ms), median(on_other_thread_ms), fast->median_buckets_ms());
  std::fflush(stdout);
}

void run(int num_repeats) {
  const auto communicator = make_mpi_communicator();
  if (communicator->rank() == 0) {
    std::printf("%d ranks, median of %d; bandwidth as a share of MPI_Allreduce's\n\n", communicator->world_size(),
                num_repeats);
    std::printf(
        "| MiB | MPI_Allreduce ms | GiB/s | fast | fast, bfloat16 | deterministic | with a meeting ms | on another "
        "thread ms | buckets of fast ms |\n|---|---|---|---|---|---|---|---|---|\n");
  }
  for (int64_t num_mib = 1; num_mib <= 64; num_mib *= 2) compare(*communicator, num_mib, num_repeats);
}

}  // namespace
}  // namespace rosa::parallel

int main(int argc, char** argv) {
  at::set_num_threads(1);
  const rosa::parallel::MpiSession session(&argc, &argv);
  rosa::parallel::run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 15);
  return 0;
}
