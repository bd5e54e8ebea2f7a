#include "parallel/self_check.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/error.h"

namespace rosa::parallel {
namespace {

using Seconds = std::chrono::duration<double>;

// Element i is small and whole, so that every sum over ranks is exact in float32 whatever its order.
constexpr int64_t kPeriod = 251;

int64_t part_begin(int64_t num_elements, int part, int num_parts) { return num_elements * part / num_parts; }

class CollectiveCheck {
 public:
  CollectiveCheck(Communicator& communicator, const at::Device& device, const CollectiveCheckOptions& options)
      : communicator_(communicator),
        device_(device),
        options_(options),
        rank_(communicator.rank()),
        world_size_(communicator.world_size()) {}

  std::vector<CollectiveTiming> run() {
    for (const int64_t num_elements : options_.num_elements) {
      check_all_reduce(num_elements);
      check_broadcast(num_elements);
      check_all_gather(num_elements);
      check_reduce_scatter(num_elements);
      check_all_to_all(num_elements);
    }
    check_small_values();
    return std::move(timings_);
  }

 private:
  // What rank `rank` puts in.
  at::Tensor input_of(int rank, int64_t num_elements) const {
    return at::arange(num_elements, at::kFloat).remainder_(kPeriod).add_(rank);
  }
  at::Tensor own_input(int64_t num_elements) const { return input_of(rank_, num_elements).to(device_, false, true); }
  // The sum of all ranks' inputs.
  at::Tensor sum_of_inputs(int64_t num_elements) const {
    const double ranks = static_cast<double>(world_size_) * (world_size_ - 1) / 2;
    return input_of(0, num_elements).mul_(world_size_).add_(ranks);
  }
  // What rank `from` sends to rank `to` in an exchange where all numbers differ.
  int64_t exchanged(int64_t num_elements, int from, int to) const {
    const int part = (from + to) % world_size_;
    return part_begin(num_elements, part + 1, world_size_) - part_begin(num_elements, part, world_size_);
  }
  at::Tensor empty(int64_t num_elements) const { return at::zeros({num_elements}, at::device(device_)); }

  // A call is prepared, then timed; it returns tensors that together are to equal `expected`.
  using Call = std::function<std::vector<at::Tensor>()>;
  void measure(const std::string& name, int64_t num_bytes, const at::Tensor& expected,
               const std::function<Call()>& prepare) {
    double shortest = std::numeric_limits<double>::infinity();
    for (int repeat = 0; repeat < options_.num_repeats; ++repeat) {
      const Call call = prepare();
      communicator_.barrier();
      const auto start = std::chrono::steady_clock::now();
      std::vector<at::Tensor> results = call();
      for (at::Tensor& result : results) result = result.cpu();
      shortest = std::min(shortest, Seconds(std::chrono::steady_clock::now() - start).count());
      require_equal(name, at::cat(results), expected);
    }
    const double slowest = communicator_.all_reduce_values(std::vector<double>{shortest}, Reduction::max).front();
    timings_.push_back({name, num_bytes, slowest * 1e3});
  }

  void require_equal(const std::string& name, const at::Tensor& result, const at::Tensor& expected) const {
    if (result.equal(expected)) return;
    const at::Tensor differs = result.ne(expected).nonzero();
    const int64_t first = differs[0].item<int64_t>();
    throw base::CommunicationError(
        base::concat(name, " over ", communicator_.backend_name(), " gives a wrong result on rank ", rank_, " of ",
                     world_size_, ": ", differs.size(0), " of ", expected.numel(), " elements, the first at ", first,
                     ": got ", result[first].item<float>(), ", expected ", expected[first].item<float>(),
                     ". Don't train with this network or library"));
  }

  static int64_t bytes_of(int64_t num_elements) { return num_elements * static_cast<int64_t>(sizeof(float)); }

  void check_all_reduce(int64_t n) {
    const auto reduce = [&](Reduction reduction) {
      return [this, n, reduction]() -> Call {
        return [this, reduction, tensor = own_input(n)]() -> std::vector<at::Tensor> {
          communicator_.all_reduce(tensor, reduction);
          return {tensor};
        };
      };
    };
    measure("all_reduce sum", bytes_of(n), sum_of_inputs(n), reduce(Reduction::sum));
    measure("all_reduce max", bytes_of(n), input_of(world_size_ - 1, n), reduce(Reduction::max));
    measure("all_reduce min", bytes_of(n), input_of(0, n), reduce(Reduction::min));
    measure("all_reduce_async, two", bytes_of(2 * n), sum_of_inputs(n).repeat({2}), [&]() -> Call {
      return [this, first = own_input(n), second = own_input(n)]() -> std::vector<at::Tensor> {
        const auto first_work = communicator_.all_reduce_async(first);
        const auto second_work = communicator_.all_reduce_async(second);
        second_work->wait();
        first_work->wait();
        return {first, second};
      };
    });
  }

  void check_broadcast(int64_t n) {
    const int last = world_size_ - 1;
    measure("broadcast", bytes_of(n), input_of(last, n), [&]() -> Call {
      return [this, last, tensor = own_input(n)]() -> std::vector<at::Tensor> {
        communicator_.broadcast(tensor, last);
        return {tensor};
      };
    });
    measure("broadcast_async", bytes_of(n), input_of(0, n), [&]() -> Call {
      return [this, tensor = own_input(n)]() -> std::vector<at::Tensor> {
        communicator_.broadcast_async(tensor, 0)->wait();
        return {tensor};
      };
    });
  }

  void check_all_gather(int64_t n) {
    std::vector<at::Tensor> expected;
    for (int rank = 0; rank < world_size_; ++rank) expected.push_back(input_of(rank, exchanged(n, rank, 0)));
    for (const bool async : {false, true}) {
      measure(async ? "all_gather_async" : "all_gather", bytes_of(n), at::cat(expected), [&]() -> Call {
        std::vector<at::Tensor> receives;
        for (int rank = 0; rank < world_size_; ++rank) receives.push_back(empty(exchanged(n, rank, 0)));
        return [this, async, receives, send = own_input(exchanged(n, rank_, 0))] {
          if (async) {
            communicator_.all_gather_async(send, receives)->wait();
          } else {
            communicator_.all_gather(send, receives);
          }
          return receives;
        };
      });
    }
  }

  void check_reduce_scatter(int64_t n) {
    const int64_t part = std::max<int64_t>(1, n / world_size_), all = part * world_size_;
    const at::Tensor expected = sum_of_inputs(all).narrow(0, part * rank_, part);
    measure("reduce_scatter", bytes_of(all), expected, [&]() -> Call {
      return
          [this, send = own_input(all)]() -> std::vector<at::Tensor> { return {communicator_.reduce_scatter(send)}; };
    });
    measure("reduce_scatter_async", bytes_of(all), expected, [&]() -> Call {
      return [this, send = own_input(all), receive = empty(part)]() -> std::vector<at::Tensor> {
        communicator_.reduce_scatter_async(send, receive)->wait();
        return {receive};
      };
    });
  }

  void check_all_to_all(int64_t n) {
    std::vector<at::Tensor> expected;
    for (int rank = 0; rank < world_size_; ++rank) expected.push_back(input_of(rank, exchanged(n, rank, rank_)));
    for (const bool async : {false, true}) {
      measure(async ? "all_to_all_async" : "all_to_all", bytes_of(n), at::cat(expected), [&]() -> Call {
        std::vector<at::Tensor> sends, receives;
        for (int rank = 0; rank < world_size_; ++rank) {
          sends.push_back(own_input(exchanged(n, rank_, rank)));
          receives.push_back(empty(exchanged(n, rank, rank_)));
        }
        return [this, async, sends, receives] {
          if (async) {
            communicator_.all_to_all_async(sends, receives)->wait();
          } else {
            communicator_.all_to_all(sends, receives);
          }
          return receives;
        };
      });
    }
  }

  // What travels as small values on the host.
  void check_small_values() {
    const auto number = [](float value) -> std::vector<at::Tensor> { return {at::full({1}, value)}; };
    const auto measure_small = [&](const std::string& name, const at::Tensor& expected, const Call& call) {
      measure(name, 0, expected, [&] { return call; });
    };
    measure_small("barrier", at::zeros({1}), [&] {
      communicator_.barrier();
      return number(0.0f);
    });
    measure_small("all_reduce_values", sum_of_inputs(1), [&] {
      const auto sum = communicator_.all_reduce_values(std::vector<int64_t>{rank_}, Reduction::sum);
      return number(static_cast<float>(sum.front()));
    });
    measure_small("all_gather_text", at::arange(world_size_, at::kFloat), [&] {
      std::vector<at::Tensor> numbers;
      for (const std::string& text : communicator_.all_gather_text(std::to_string(rank_))) {
        numbers.push_back(number(std::stof(text)).front());
      }
      return numbers;
    });
    measure_small("broadcast_text", at::full({1}, static_cast<float>(world_size_ - 1)), [&] {
      return number(std::stof(communicator_.broadcast_text(std::to_string(rank_), world_size_ - 1)));
    });
  }

  Communicator& communicator_;
  at::Device device_;
  CollectiveCheckOptions options_;
  int rank_, world_size_;
  std::vector<CollectiveTiming> timings_;
};

double wall_clock() { return Seconds(std::chrono::system_clock::now().time_since_epoch()).count(); }

// One number from rank `from` to rank `to`; the others send nothing. Returns it there, and 0 elsewhere.
double send_number(Communicator& communicator, int from, int to, double number) {
  std::vector<at::Tensor> sends, receives;
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    sends.push_back(at::full({communicator.rank() == from && rank == to ? 1 : 0}, number, at::kDouble));
    receives.push_back(at::zeros({communicator.rank() == to && rank == from ? 1 : 0}, at::kDouble));
  }
  communicator.all_to_all(sends, receives);
  return communicator.rank() == to ? receives[static_cast<std::size_t>(from)].item<double>() : 0.0;
}

}  // namespace

std::vector<CollectiveTiming> check_collectives(Communicator& communicator, const at::Device& device,
                                                const CollectiveCheckOptions& options) {
  return CollectiveCheck(communicator, device, options).run();
}

std::vector<ClockOffset> measure_clock_offsets(Communicator& communicator, int num_rounds,
                                               const std::function<double()>& clock) {
  const std::function<double()> now = clock ? clock : wall_clock;
  std::vector<double> numbers;  // offset and uncertainty of each rank, known to rank 0
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    ClockOffset best{0.0, rank == 0 ? 0.0 : std::numeric_limits<double>::infinity()};
    for (int round = 0; round < num_rounds && rank != 0; ++round) {
      communicator.barrier();
      const double asked = now();
      send_number(communicator, 0, rank, asked);
      const double there = send_number(communicator, rank, 0, now());
      const double answered = now();
      if ((answered - asked) / 2 < best.uncertainty_seconds) {
        best = {there - (asked + answered) / 2, (answered - asked) / 2};
      }
    }
    numbers.insert(numbers.end(), {best.seconds, best.uncertainty_seconds});
  }
  const at::Tensor table = at::tensor(numbers, at::kDouble);
  communicator.broadcast(table, /*root=*/0);
  std::vector<ClockOffset> offsets;
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    offsets.push_back({table[2 * rank].item<double>(), table[2 * rank + 1].item<double>()});
  }
  return offsets;
}

}  // namespace rosa::parallel
