#include "communicator_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/replicas.h"

namespace rosa::parallel {
namespace {

using testing::HasSubstr;

const std::vector<int64_t> kSizes = {0, 1, 2, 3, 7, 64, 1001};

// What rank `rank` brings: 1000 rank + 0, 1, 2 ... modulo 100, exact in every dtype used here.
at::Tensor sample(int rank, int64_t size, at::ScalarType type) {
  return (at::arange(size, at::kLong) % 7 + rank + 1).to(type);
}

void check_all_reduce(Communicator& communicator) {
  const int world_size = communicator.world_size();
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kInt, at::kLong, at::kByte}) {
    for (const int64_t size : kSizes) {
      at::Tensor sum = sample(communicator.rank(), size, type);
      at::Tensor largest = sum.clone();
      at::Tensor smallest = sum.clone();
      communicator.all_reduce(sum);
      communicator.all_reduce(largest, Reduction::max);
      communicator.all_reduce(smallest, Reduction::min);
      at::Tensor expected = at::zeros({size}, type);
      for (int rank = 0; rank < world_size; ++rank) expected += sample(rank, size, type);
      EXPECT_TRUE(at::equal(sum, expected)) << c10::toString(type) << " " << size;
      EXPECT_TRUE(at::equal(largest, sample(world_size - 1, size, type))) << c10::toString(type) << " " << size;
      EXPECT_TRUE(at::equal(smallest, sample(0, size, type))) << c10::toString(type) << " " << size;
    }
  }
}

void check_all_reduce_equal_bits(Communicator& communicator) {
  at::Tensor tensor = at::sin(at::arange(999, at::kFloat) * (communicator.rank() + 1));
  communicator.all_reduce(tensor);
  for (const at::Tensor& other : communicator.all_gather(tensor)) EXPECT_TRUE(at::equal(other, tensor));
}

void check_all_reduce_of_parameter(Communicator& communicator) {
  at::Tensor parameter = at::ones({3, 2});
  parameter.set_requires_grad(true);
  communicator.all_reduce(parameter);
  EXPECT_TRUE(at::equal(parameter, at::full({3, 2}, static_cast<double>(communicator.world_size()))));
  EXPECT_TRUE(parameter.is_leaf());
}

void check_broadcast(Communicator& communicator) {
  for (int root = 0; root < communicator.world_size(); ++root) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf, at::kBool, at::kLong}) {
      for (const int64_t size : kSizes) {
        at::Tensor tensor = sample(communicator.rank(), size, type);
        communicator.broadcast(tensor, root);
        EXPECT_TRUE(at::equal(tensor, sample(root, size, type))) << c10::toString(type) << " " << size;
      }
    }
  }
}

void check_all_gather(Communicator& communicator) {
  for (const int64_t size : kSizes) {
    const auto all = communicator.all_gather(sample(communicator.rank(), size, at::kBFloat16));
    ASSERT_EQ(static_cast<int>(all.size()), communicator.world_size());
    for (int rank = 0; rank < communicator.world_size(); ++rank) {
      EXPECT_TRUE(at::equal(all[static_cast<size_t>(rank)], sample(rank, size, at::kBFloat16)));
    }
  }
  const at::Tensor matrix = at::full({2, 3}, communicator.rank(), at::kInt);
  EXPECT_EQ(communicator.all_gather(matrix).back().sizes(), matrix.sizes());
}

void check_all_gather_of_unequal_sizes(Communicator& communicator) {
  const auto size_of = [](int rank) { return rank == 0 ? 0 : 3 * rank + 1; };
  std::vector<at::Tensor> receives;
  for (int rank = 0; rank < communicator.world_size(); ++rank) receives.push_back(at::zeros({size_of(rank)}));
  communicator.all_gather(sample(communicator.rank(), size_of(communicator.rank()), at::kFloat), receives);
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    EXPECT_TRUE(at::equal(receives[static_cast<size_t>(rank)], sample(rank, size_of(rank), at::kFloat)));
  }
}

void check_reduce_scatter(Communicator& communicator) {
  const int world_size = communicator.world_size();
  for (const int64_t size : kSizes) {
    for (const Reduction reduction : {Reduction::sum, Reduction::max, Reduction::min}) {
      const at::Tensor send = sample(communicator.rank(), size * world_size * 2, at::kDouble).view({-1, 2});
      at::Tensor expected = sample(0, size * world_size * 2, at::kDouble);
      for (int rank = 1; rank < world_size; ++rank) {
        const at::Tensor other = sample(rank, size * world_size * 2, at::kDouble);
        if (reduction == Reduction::sum) expected += other;
        if (reduction == Reduction::max) expected = at::maximum(expected, other);
        if (reduction == Reduction::min) expected = at::minimum(expected, other);
      }
      const at::Tensor part = communicator.reduce_scatter(send, reduction);
      const int64_t begin = communicator.rank() * size;
      EXPECT_TRUE(at::equal(part, expected.view({-1, 2}).slice(0, begin, begin + size)));
    }
  }
}

// Rank a sends (a + 2 b) % 5 numbers to rank b: sizes differ from pair to pair, and some are 0.
int64_t pair_size(int from, int to) { return (from + 2 * to) % 5; }

void check_all_to_all(Communicator& communicator) {
  const int rank = communicator.rank();
  std::vector<at::Tensor> sends;
  std::vector<at::Tensor> receives;
  for (int other = 0; other < communicator.world_size(); ++other) {
    sends.push_back(at::full({pair_size(rank, other)}, 10.0 * rank + other));
    receives.push_back(at::zeros({pair_size(other, rank)}));
  }
  communicator.all_to_all(sends, receives);
  for (int other = 0; other < communicator.world_size(); ++other) {
    EXPECT_TRUE(
        at::equal(receives[static_cast<size_t>(other)], at::full({pair_size(other, rank)}, 10.0 * other + rank)));
  }
}

void check_several_in_flight(Communicator& communicator) {
  const int world_size = communicator.world_size();
  const size_t slots = static_cast<size_t>(world_size);
  std::vector<at::Tensor> sums;
  std::vector<std::vector<at::Tensor>> gathered;
  std::vector<std::unique_ptr<Work>> works;
  for (int64_t call = 0; call < 5; ++call) {
    sums.push_back(at::full({100 + call}, static_cast<double>(communicator.rank() + call)));
    works.push_back(communicator.all_reduce_async(sums.back()));
    gathered.emplace_back();
    for (size_t slot = 0; slot < slots; ++slot) gathered.back().push_back(at::zeros({3}, at::kLong));
    works.push_back(
        communicator.all_gather_async(at::full({3}, 100 * call + communicator.rank(), at::kLong), gathered.back()));
  }
  const at::Tensor flag = at::full({1}, communicator.rank() == 0 ? 1 : 0, at::kInt);
  works.push_back(communicator.broadcast_async(flag, 0));
  const at::Tensor part = at::zeros({2});
  works.push_back(communicator.reduce_scatter_async(at::ones({2 * world_size}), part));
  for (auto work = works.rbegin(); work != works.rend(); ++work) (*work)->wait();
  for (const auto& work : works) EXPECT_TRUE(work->is_complete());
  for (int64_t call = 0; call < 5; ++call) {
    const double expected = world_size * (world_size - 1) / 2.0 + static_cast<double>(world_size * call);
    EXPECT_TRUE(at::equal(sums[static_cast<size_t>(call)], at::full({100 + call}, expected)));
    for (int rank = 0; rank < world_size; ++rank) {
      EXPECT_TRUE(at::equal(gathered[static_cast<size_t>(call)][static_cast<size_t>(rank)],
                            at::full({3}, 100 * call + rank, at::kLong)));
    }
  }
  EXPECT_EQ(flag.item<int>(), 1);
  EXPECT_TRUE(at::equal(part, at::full({2}, static_cast<double>(world_size))));
}

void check_async_all_to_all(Communicator& communicator) {
  const size_t slots = static_cast<size_t>(communicator.world_size());
  std::vector<at::Tensor> sends;
  std::vector<at::Tensor> receives;
  for (size_t slot = 0; slot < slots; ++slot) {
    sends.push_back(at::full({4}, communicator.rank(), at::kInt));
    receives.push_back(at::zeros({4}, at::kInt));
  }
  const auto work = communicator.all_to_all_async(sends, receives);
  while (!work->is_complete()) {
  }
  work->wait();
  for (size_t slot = 0; slot < slots; ++slot) EXPECT_EQ(receives[slot][3].item<int>(), static_cast<int>(slot));
}

void check_barrier(Communicator& communicator) {
  for (int repeat = 0; repeat < 10; ++repeat) communicator.barrier();
}

void check_values_and_text(Communicator& communicator) {
  const int world_size = communicator.world_size();
  const int rank = communicator.rank();
  EXPECT_EQ(communicator.all_reduce_values(std::vector<double>{1.5, rank * 1.0}, Reduction::max),
            (std::vector<double>{1.5, world_size - 1.0}));
  EXPECT_EQ(communicator.all_reduce_values(std::vector<int64_t>{int64_t{1} << 40}, Reduction::sum),
            (std::vector<int64_t>{world_size * (int64_t{1} << 40)}));
  const auto texts =
      communicator.all_gather_text(std::string(static_cast<size_t>(rank), 'x') + (rank == 1 ? "\n" : ""));
  for (int other = 0; other < world_size; ++other) {
    EXPECT_EQ(texts[static_cast<size_t>(other)],
              std::string(static_cast<size_t>(other), 'x') + (other == 1 ? "\n" : ""));
  }
  EXPECT_EQ(communicator.broadcast_text(rank == 0 ? "from the root" : "mine", 0), "from the root");
  EXPECT_EQ(communicator.broadcast_text(rank == world_size - 1 ? "" : "mine", world_size - 1), "");
}

template <class Call>
void expect_argument_error(const std::string& part, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "expected an ArgumentError with '" << part << "'";
  } catch (const base::ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

void check_arguments(Communicator& communicator) {
  const size_t slots = static_cast<size_t>(communicator.world_size());
  expect_argument_error("undefined", [&] { communicator.all_reduce(at::Tensor()); });
  expect_argument_error("not contiguous", [&] { communicator.all_reduce(at::ones({2, 3}).t()); });
  expect_argument_error("expected float32", [&] { communicator.all_reduce(at::ones({2}, at::kBFloat16)); });
  expect_argument_error("got root", [&] { communicator.broadcast(at::ones({2}), communicator.world_size()); });
  expect_argument_error("got root", [&] { communicator.broadcast(at::ones({2}), -1); });
  expect_argument_error(
      "one a rank", [&] { communicator.all_gather(at::ones({2}), std::vector<at::Tensor>(slots + 1, at::ones({2}))); });
  expect_argument_error("beside one of", [&] {
    communicator.all_gather(at::ones({2}), std::vector<at::Tensor>(slots, at::ones({2}, at::kLong)));
  });
  expect_argument_error("from itself",
                        [&] { communicator.all_gather(at::ones({2}), std::vector<at::Tensor>(slots, at::ones({3}))); });
  expect_argument_error("no tensors", [&] { communicator.all_to_all({}, {}); });
  expect_argument_error("first dimension", [&] { communicator.reduce_scatter(at::ones({})); });
  expect_argument_error("times as many", [&] {
    communicator.reduce_scatter_async(at::ones({2 * communicator.world_size()}), at::ones({3}));
  });
}

void check_debug_mode(Communicator& communicator) {
  communicator.set_debug_mode(true);
  at::Tensor tensor = at::ones({3});
  communicator.all_reduce(tensor);
  communicator.barrier();
  if (communicator.world_size() > 1) {
    const bool odd_one = communicator.rank() == communicator.world_size() - 1;
    try {
      if (odd_one) {
        communicator.barrier();
      } else {
        communicator.all_reduce(at::ones({4}));
      }
      ADD_FAILURE() << "the collectives differ";
    } catch (const base::CommunicationError& error) {
      EXPECT_THAT(error.what(), HasSubstr(base::concat("rank ", communicator.world_size() - 1, " called barrier")));
      EXPECT_THAT(error.what(), HasSubstr("called all_reduce of Float, 4 elements, sum"));
    }
  }
  communicator.all_reduce(tensor);
  communicator.set_debug_mode(false);
}

// Calls on the one and on the other do not mix, though the ranks wait for them in different orders.
void check_duplicate(Communicator& communicator) {
  communicator.set_timeout(77);
  communicator.set_debug_mode(true);
  const std::unique_ptr<Communicator> duplicate = communicator.duplicate();
  EXPECT_EQ(duplicate->rank(), communicator.rank());
  EXPECT_EQ(duplicate->world_size(), communicator.world_size());
  EXPECT_EQ(duplicate->backend_name(), communicator.backend_name());
  EXPECT_EQ(duplicate->timeout_seconds(), 77);
  EXPECT_TRUE(duplicate->debug_mode());
  communicator.set_debug_mode(false);
  duplicate->set_debug_mode(false);
  const int world_size = communicator.world_size();
  const at::Tensor ones = at::ones({1001});
  const at::Tensor twos = at::full({1001}, 2.0);
  const bool is_even = communicator.rank() % 2 == 0;
  Communicator& first = is_even ? communicator : *duplicate;
  Communicator& second = is_even ? *duplicate : communicator;
  const auto first_work = first.all_reduce_async(is_even ? ones : twos);
  const auto second_work = second.all_reduce_async(is_even ? twos : ones);
  first_work->wait();
  second_work->wait();
  EXPECT_TRUE(at::equal(ones, at::full({1001}, 1.0 * world_size)));
  EXPECT_TRUE(at::equal(twos, at::full({1001}, 2.0 * world_size)));
}

void check_compare_across_ranks(Communicator& communicator) {
  compare_across_ranks(communicator, "version", "0.1.0\nabc");
  if (communicator.world_size() == 1) return;
  const bool odd_one = communicator.rank() == communicator.world_size() - 1;
  try {
    compare_across_ranks(communicator, "configuration", odd_one ? "a: 1\nb: 3\n" : "a: 1\nb: 2\n");
    ADD_FAILURE() << "the texts differ";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("configuration"));
    EXPECT_THAT(error.what(), HasSubstr("rank " + std::to_string(communicator.world_size() - 1) + " differs"));
    EXPECT_THAT(error.what(), HasSubstr("line 2: rank 0 has 'b: 2', got 'b: 3'"));
  }
}

void check_broadcast_parameters(Communicator& communicator) {
  const double own = communicator.rank();
  std::map<std::string, at::Tensor> parameters = {{"b.weight", at::full({3, 4}, own).set_requires_grad(true)},
                                                  {"a.bias", at::full({5}, own + 0.5)}};
  broadcast_parameters(communicator, parameters);
  EXPECT_TRUE(at::equal(parameters["b.weight"], at::zeros({3, 4})));
  EXPECT_TRUE(at::equal(parameters["a.bias"], at::full({5}, 0.5)));
  if (communicator.world_size() == 1) return;
  parameters["a.bias"] = at::ones({communicator.rank() == 0 ? 5 : 6});
  EXPECT_THROW(broadcast_parameters(communicator, parameters), base::ConfigError);
}

void check_place(Communicator& communicator) {
  EXPECT_GE(communicator.rank(), 0);
  EXPECT_LT(communicator.rank(), communicator.world_size());
  EXPECT_EQ(communicator.local_rank(), communicator.rank());  // all tests run on one host
  EXPECT_EQ(communicator.local_size(), communicator.world_size());
}

}  // namespace

const std::vector<CommunicatorCheck>& communicator_checks() {
  static const std::vector<CommunicatorCheck> kChecks = {
      {"place", check_place},
      {"all_reduce", check_all_reduce},
      {"all_reduce_equal_bits", check_all_reduce_equal_bits},
      {"all_reduce_of_parameter", check_all_reduce_of_parameter},
      {"broadcast", check_broadcast},
      {"all_gather", check_all_gather},
      {"all_gather_of_unequal_sizes", check_all_gather_of_unequal_sizes},
      {"reduce_scatter", check_reduce_scatter},
      {"all_to_all", check_all_to_all},
      {"several_in_flight", check_several_in_flight},
      {"async_all_to_all", check_async_all_to_all},
      {"barrier", check_barrier},
      {"values_and_text", check_values_and_text},
      {"arguments", check_arguments},
      {"debug_mode", check_debug_mode},
      {"duplicate", check_duplicate},
      {"compare_across_ranks", check_compare_across_ranks},
      {"broadcast_parameters", check_broadcast_parameters},
  };
  return kChecks;
}

}  // namespace rosa::parallel
