#include "reducer_checks.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "parallel/gradient_norm.h"
#include "parallel/gradient_reducer.h"
#include "parallel/micro_batch_tree.h"

namespace rosa::parallel {
namespace {

// Of several blocks, within a block, larger than a bucket; the third never gets a gradient.
const std::vector<int64_t> kSizes = {5, 5000, 33, 20000, 1, 4096, 700};
constexpr size_t kWithoutGradient = 2;
constexpr double kBucketMib = 6000.0 * 4 / (1 << 20);  // smaller than the largest tensor

// The gradient of one micro-batch, whose sum depends on the order of additions.
at::Tensor gradient(int64_t micro_batch, size_t tensor) {
  if (tensor == kWithoutGradient) return at::zeros({kSizes[tensor]});
  const at::Tensor index = at::arange(kSizes[tensor], at::kDouble) + static_cast<double>(1000 * tensor);
  return (at::sin(index * 1.7 + static_cast<double>(micro_batch) * 3.1) * std::pow(10.0, micro_batch % 5))
      .to(at::kFloat);
}

// The fixed tree, spelt out: the sum of micro-batches [first, end) of a global batch as a recursion.
at::Tensor tree_sum(int64_t first, int64_t end, size_t tensor) {
  if (end - first == 1) return gradient(first, tensor);
  int64_t half = 1;
  while (half * 2 < end - first) half *= 2;
  return tree_sum(first, first + half, tensor) + tree_sum(first + half, end, tensor);
}

struct ExactSum {
  at::Tensor sum, absolute_sum;  // float64
};

ExactSum exact_sum(int64_t num_micro_batches, size_t tensor) {
  ExactSum exact{at::zeros({kSizes[tensor]}, at::kDouble), at::zeros({kSizes[tensor]}, at::kDouble)};
  for (int64_t i = 0; i < num_micro_batches; ++i) {
    const at::Tensor addend = gradient(i, tensor).to(at::kDouble);
    exact.sum += addend;
    exact.absolute_sum += addend.abs();
  }
  return exact;
}

// Tensors whose gradients autograd computes: the backward of run() gives tensor t the gradient gradient(i, t). On a
// made-up device, which autograd does not know, the same is done by hand.
struct Subject {
  at::Device device;
  std::vector<at::Tensor> tensors;
  std::vector<std::function<void()>> ready;  // by hand: what the reducer wants to be called
  std::unique_ptr<GradientReducer> reducer;

  Subject(Communicator& communicator, const ParallelConfig& config, int64_t num_micro_batches,
          at::Device where = at::kCPU)
      : device(where), ready(kSizes.size()) {
    std::vector<ReducedTensor> reduced;
    for (const int64_t size : kSizes) {
      tensors.push_back(at::ones({size}).to(device).requires_grad_(true));
      if (device.is_cpu()) {
        reduced.push_back(reduced_by_autograd(tensors.back()));
      } else {
        std::function<void()>& place = ready[reduced.size()];
        reduced.push_back({tensors.back(), [&place](std::function<void()> function) { place = std::move(function); }});
      }
    }
    std::vector<size_t> placement(kSizes.size());
    std::iota(placement.rbegin(), placement.rend(), size_t{0});
    reducer = std::make_unique<GradientReducer>(communicator, config, num_micro_batches, std::move(reduced), placement);
  }

  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  void backward(int64_t micro_batch) const {
    if (!device.is_cpu()) return backward_by_hand(micro_batch);
    at::Tensor loss = at::zeros({});
    for (size_t tensor = 0; tensor < tensors.size(); ++tensor) {
      if (tensor != kWithoutGradient) loss = loss + at::dot(tensors[tensor], gradient(micro_batch, tensor));
    }
    torch::autograd::backward({loss}, {});
  }

  void backward_by_hand(int64_t micro_batch) const {
    for (size_t tensor = tensors.size(); tensor-- > 0;) {
      if (tensor == kWithoutGradient) continue;
      const at::Tensor computed = gradient(micro_batch, tensor).to(device);
      at::Tensor& sum = tensors[tensor].mutable_grad();
      if (sum.defined()) {
        sum.add_(computed);
      } else {
        sum = computed;
      }
      ready[tensor]();
    }
  }

  at::Tensor run() const {
    for (int64_t i = reducer->owned().first; i < reducer->owned().second; ++i) {
      reducer->run_backward([&] { backward(i); });
    }
    return reducer->finish().cpu();
  }
};

ParallelConfig config_of(const std::string& reduction, const std::string& wire_dtype = "float32",
                         bool sharded = false) {
  return {.reduction = reduction, .bucket_mib = kBucketMib, .wire_dtype = wire_dtype, .sharded_optimizer = sharded};
}

bool equal_bits(const at::Tensor& a, const at::Tensor& b) { return at::equal(a.view(at::kInt), b.view(at::kInt)); }

// Calls check(piece, values) for what `flat` holds on this rank.
template <class Check>
void for_each_held_piece(Communicator& communicator, const FlatLayout& layout, bool sharded, const at::Tensor& flat,
                         const Check& check) {
  for (const auto& piece : sharded ? layout.pieces_of_rank(communicator.rank()) : layout.whole_tensors()) {
    check(piece, flat.narrow(0, piece.offset, piece.size()));
  }
}

void check_tree_bits(Communicator& communicator) {
  for (const int64_t num_micro_batches : {12, 24, 60}) {
    std::vector<at::Tensor> expected;
    for (size_t tensor = 0; tensor < kSizes.size(); ++tensor)
      expected.push_back(tree_sum(0, num_micro_batches, tensor));
    for (const bool sharded : {false, true}) {
      const Subject subject(communicator, config_of("deterministic", "float32", sharded), num_micro_batches);
      ASSERT_GE(subject.reducer->layout().num_buckets(), 3u);
      for (int step = 0; step < 3; ++step) {
        for_each_held_piece(communicator, subject.reducer->layout(), sharded, subject.run(),
                            [&](const TensorPiece& piece, const at::Tensor& values) {
                              const at::Tensor sum = expected[piece.tensor].narrow(0, piece.begin, piece.size());
                              EXPECT_TRUE(equal_bits(values, sum))
                                  << num_micro_batches << " micro-batches, tensor " << piece.tensor << " from "
                                  << piece.begin << ", step " << step << (sharded ? ", sharded" : "");
                            });
      }
      EXPECT_LE(subject.reducer->max_live_buffers(),
                static_cast<int64_t>(std::log2(static_cast<double>(num_micro_batches))) + 1);
    }
  }
}

void check_tree_any_number(Communicator& communicator) {
  for (int64_t run = 1; run <= 9; ++run) {
    const int64_t num_micro_batches = run * communicator.world_size();
    const Subject subject(communicator, config_of("deterministic"), num_micro_batches);
    for_each_held_piece(communicator, subject.reducer->layout(), false, subject.run(),
                        [&](const TensorPiece& piece, const at::Tensor& values) {
                          EXPECT_TRUE(equal_bits(values, tree_sum(0, num_micro_batches, piece.tensor)));
                        });
  }
}

// The tolerance that reduction_strategy.h states.
void check_fast_within_tolerance(Communicator& communicator) {
  constexpr int64_t kNumMicroBatches = 12;
  for (const std::string wire_dtype : {"float32", "bfloat16"}) {
    for (const bool sharded : {false, true}) {
      const Subject subject(communicator, config_of("fast", wire_dtype, sharded), kNumMicroBatches,
                            communicator.device());
      const double ranks = communicator.world_size();
      const double tolerance = (kNumMicroBatches + ranks) * std::pow(2.0, -24) +
                               (wire_dtype == "bfloat16" ? (ranks + 1) * std::pow(2.0, -8) : 0.0);
      for (int step = 0; step < 3; ++step) {
        for_each_held_piece(
            communicator, subject.reducer->layout(), sharded, subject.run(),
            [&](const TensorPiece& piece, const at::Tensor& values) {
              const ExactSum exact = exact_sum(kNumMicroBatches, piece.tensor);
              const at::Tensor error = (values.to(at::kDouble) - exact.sum.narrow(0, piece.begin, piece.size())).abs();
              const at::Tensor bound = exact.absolute_sum.narrow(0, piece.begin, piece.size()) * tolerance;
              EXPECT_TRUE(at::le(error, bound).all().item<bool>())
                  << wire_dtype << ", tensor " << piece.tensor << ", step " << step;
            });
      }
    }
  }
}

void check_fast_equal_on_all_ranks(Communicator& communicator) {
  for (const std::string wire_dtype : {"float32", "bfloat16"}) {
    const Subject subject(communicator, config_of("fast", wire_dtype), 12, communicator.device());
    const at::Tensor sum = subject.run();
    for (const at::Tensor& other : communicator.all_gather(sum)) EXPECT_TRUE(equal_bits(other, sum)) << wire_dtype;
  }
}

void check_norm(Communicator& communicator) {
  std::vector<double> norms;
  for (const bool sharded : {false, true}) {
    for (const double bucket_mib : {kBucketMib, 64.0}) {
      ParallelConfig config = config_of("deterministic", "float32", sharded);
      config.bucket_mib = bucket_mib;
      const Subject subject(communicator, config, 12);
      norms.push_back(gradient_norm(communicator, subject.reducer->layout(), subject.run(), sharded));
      EXPECT_EQ(norms.back(), norms.front()) << "whatever the buckets and shards";
    }
  }
  double square = 0.0;
  for (size_t tensor = 0; tensor < kSizes.size(); ++tensor) {
    square += tree_sum(0, 12, tensor).to(at::kDouble).square().sum().item<double>();
  }
  EXPECT_NEAR(norms.front(), std::sqrt(square), 1e-12 * norms.front());
}

void check_gather_parts(Communicator& communicator) {
  const Subject subject(communicator, config_of("deterministic", "float32", true), 12);
  const at::Tensor sum = subject.run();
  all_gather_parts(communicator, subject.reducer->layout(), sum);
  for_each_held_piece(communicator, subject.reducer->layout(), false, sum,
                      [&](const TensorPiece& piece, const at::Tensor& values) {
                        EXPECT_TRUE(equal_bits(values, tree_sum(0, 12, piece.tensor))) << piece.tensor;
                      });
}

void check_misuse(Communicator& communicator) {
  const int64_t ranks = communicator.world_size();
  const Subject subject(communicator, config_of("deterministic"), ranks);
  EXPECT_THROW(subject.reducer->finish(), base::ArgumentError);
  subject.reducer->run_backward([] {});
  EXPECT_THROW(subject.reducer->run_backward([] {}), base::ArgumentError) << "more than its micro-batches";
  EXPECT_EQ(subject.reducer->finish().abs().max().item<float>(), 0.0f) << "no gradient anywhere";
  const auto reduce = [&](const at::Tensor& tensor, const ParallelConfig& config) {
    GradientReducer(communicator, config, ranks, {{tensor, [](const std::function<void()>&) {}}}, {0});
  };
  EXPECT_THROW(reduce(at::ones({2}, at::kDouble), {}), base::ArgumentError);
  EXPECT_THROW(reduce(at::ones({2, 3}).t(), {}), base::ArgumentError);
  EXPECT_THROW(reduce(at::Tensor(), {}), base::ArgumentError);
  EXPECT_THROW(reduce(at::ones({2}), {.wire_dtype = "bfloat16"}), base::ConfigError);
  EXPECT_THROW(reduced_by_autograd(at::ones({2})), base::ArgumentError);
}

void check_backward_of_others_is_left_alone(Communicator& communicator) {
  const Subject subject(communicator, config_of("deterministic"), communicator.world_size());
  subject.backward(0);
  EXPECT_TRUE(subject.tensors[0].grad().defined());
  for (const at::Tensor& tensor : subject.tensors) tensor.mutable_grad().reset();
  subject.run();
}

// Through host memory, where MPI needs operations of our own; each sum is rounded to the nearest bfloat16, ties to
// even.
void check_bfloat16_reductions(Communicator& communicator) {
  const int64_t world_size = communicator.world_size();
  const auto values = [](int64_t rank) { return ((at::arange(1000) % 7 + rank + 1) * 8).to(at::kBFloat16); };
  const std::vector<std::pair<Reduction, at::Tensor>> expected = {
      {Reduction::sum, ((at::arange(1000) % 7 * world_size + world_size * (world_size + 1) / 2) * 8).to(at::kBFloat16)},
      {Reduction::max, values(world_size - 1)},
      {Reduction::min, values(0)}};
  for (const auto& [reduction, result] : expected) {
    const at::Tensor tensor = values(communicator.rank());
    communicator.all_reduce(tensor, reduction);
    EXPECT_TRUE(at::equal(tensor, result)) << name_of(reduction);
  }
  // 256 + 1 lies half way between 256 and 258, 258 + 1 half way between 258 and 260.
  for (const auto& [large, rounded] : {std::pair{256.0, 256.0}, std::pair{258.0, 260.0}}) {
    const at::Tensor tie = at::full({10}, communicator.rank() == 0 ? large : 1.0, at::kBFloat16);
    communicator.all_reduce(tie);
    if (world_size != 2) continue;
    EXPECT_EQ(tie[9].item<double>(), rounded);
  }
}

void check_ordered_sums(Communicator& communicator) {
  constexpr int64_t kNumMicroBatches = 12;
  std::vector<double> expected = {0, 0};
  std::vector<std::vector<double>> owned;
  const auto [first, end] = owned_micro_batches(kNumMicroBatches, communicator.rank(), communicator.world_size());
  for (int64_t i = 0; i < kNumMicroBatches; ++i) {
    const std::vector<double> values = {std::sin(static_cast<double>(i)) * std::pow(10.0, i), static_cast<double>(i)};
    for (size_t value = 0; value < 2; ++value) expected[value] += values[value];
    if (i >= first && i < end) owned.push_back(values);
  }
  EXPECT_EQ(sum_in_micro_batch_order(communicator, kNumMicroBatches, owned), expected);
}

}  // namespace

const std::vector<CommunicatorCheck>& reducer_checks() {
  static const std::vector<CommunicatorCheck> kChecks = {
      {"tree_bits", check_tree_bits},
      {"tree_any_number", check_tree_any_number},
      {"fast_within_tolerance", check_fast_within_tolerance},
      {"fast_equal_on_all_ranks", check_fast_equal_on_all_ranks},
      {"gradient_norm", check_norm},
      {"gather_parts", check_gather_parts},
      {"reducer_misuse", check_misuse},
      {"backward_of_others", check_backward_of_others_is_left_alone},
      {"bfloat16_reductions", check_bfloat16_reductions},
      {"ordered_sums", check_ordered_sums},
  };
  return kChecks;
}

}  // namespace rosa::parallel
