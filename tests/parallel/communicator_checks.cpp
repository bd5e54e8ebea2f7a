#include "communicator_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "parallel/replicas.h"

namespace rosa::parallel {
namespace {

using testing::HasSubstr;

const std::vector<int64_t> kSizes = {0, 1, 2, 3, 7, 64, 1001};
constexpr int64_t kBigSize = (int64_t{1} << 18) + 3;
const std::vector<at::ScalarType> kReducibleTypes = {at::kFloat, at::kDouble, at::kInt, at::kLong, at::kByte};
const std::vector<at::ScalarType> kTypes = {at::kFloat, at::kDouble, at::kHalf,        at::kBFloat16,
                                            at::kBool,  at::kByte,   at::kChar,        at::kShort,
                                            at::kInt,   at::kLong,   at::kComplexFloat};

// What rank `rank` brings, exact in every dtype used here.
at::Tensor sample(int rank, int64_t size, at::ScalarType type) {
  return (at::arange(size, at::kLong) % 7 + rank + 1).to(type);
}

at::Tensor reduced_samples(int world_size, int64_t size, at::ScalarType type, Reduction reduction) {
  at::Tensor result = sample(0, size, type);
  for (int rank = 1; rank < world_size; ++rank) {
    const at::Tensor other = sample(rank, size, type);
    if (reduction == Reduction::sum) result += other;
    if (reduction == Reduction::max) result = at::maximum(result, other);
    if (reduction == Reduction::min) result = at::minimum(result, other);
  }
  return result;
}

// A tensor of its own on `device`.
at::Tensor on(at::Device device, const at::Tensor& tensor) {
  return tensor.to(device, tensor.scalar_type(), false, true);
}

bool holds(const at::Tensor& tensor, const at::Tensor& expected) { return at::equal(tensor.cpu(), expected); }

std::vector<at::Tensor> zeros_for_each_rank(const Communicator& communicator, int64_t size, at::ScalarType type,
                                            at::Device device) {
  std::vector<at::Tensor> tensors;
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    tensors.push_back(on(device, at::zeros({size}, type)));
  }
  return tensors;
}

void check_all_reduce(Communicator& communicator, at::Device device) {
  for (const at::ScalarType type : kReducibleTypes) {
    for (const int64_t size : kSizes) {
      for (const Reduction reduction : {Reduction::sum, Reduction::max, Reduction::min}) {
        const at::Tensor tensor = on(device, sample(communicator.rank(), size, type));
        const at::Tensor later = on(device, sample(communicator.rank(), size, type));
        communicator.all_reduce(tensor, reduction);
        communicator.all_reduce_async(later, reduction)->wait();
        const at::Tensor expected = reduced_samples(communicator.world_size(), size, type, reduction);
        EXPECT_TRUE(holds(tensor, expected)) << c10::toString(type) << " " << size << " " << name_of(reduction);
        EXPECT_TRUE(holds(later, expected)) << c10::toString(type) << " " << size << " " << name_of(reduction);
      }
    }
  }
}

void check_all_reduce_equal_bits(Communicator& communicator, at::Device device) {
  const at::Tensor tensor = on(device, at::sin(at::arange(999, at::kFloat) * (communicator.rank() + 1)));
  communicator.all_reduce(tensor);
  for (const at::Tensor& other : communicator.all_gather(tensor)) EXPECT_TRUE(holds(other, tensor.cpu()));
}

void check_all_reduce_of_parameter(Communicator& communicator, at::Device device) {
  at::Tensor parameter = on(device, at::ones({3, 2}));
  parameter.set_requires_grad(true);
  communicator.all_reduce(parameter);
  EXPECT_TRUE(holds(parameter, at::full({3, 2}, static_cast<double>(communicator.world_size()))));
  EXPECT_TRUE(parameter.is_leaf());
}

void check_broadcast(Communicator& communicator, at::Device device) {
  for (int root = 0; root < communicator.world_size(); ++root) {
    for (const at::ScalarType type : kTypes) {
      for (const int64_t size : kSizes) {
        const at::Tensor tensor = on(device, sample(communicator.rank(), size, type));
        const at::Tensor later = on(device, sample(communicator.rank(), size, type));
        communicator.broadcast(tensor, root);
        communicator.broadcast_async(later, root)->wait();
        EXPECT_TRUE(holds(tensor, sample(root, size, type))) << c10::toString(type) << " " << size;
        EXPECT_TRUE(holds(later, sample(root, size, type))) << c10::toString(type) << " " << size;
      }
    }
  }
}

void check_all_gather(Communicator& communicator, at::Device device) {
  for (const at::ScalarType type : kTypes) {
    for (const int64_t size : kSizes) {
      const at::Tensor mine = on(device, sample(communicator.rank(), size, type));
      const auto all = communicator.all_gather(mine);
      const auto later = zeros_for_each_rank(communicator, size, type, device);
      communicator.all_gather_async(mine, later)->wait();
      ASSERT_EQ(static_cast<int>(all.size()), communicator.world_size());
      for (int rank = 0; rank < communicator.world_size(); ++rank) {
        EXPECT_TRUE(holds(all[static_cast<size_t>(rank)], sample(rank, size, type))) << c10::toString(type);
        EXPECT_TRUE(holds(later[static_cast<size_t>(rank)], sample(rank, size, type))) << c10::toString(type);
      }
    }
  }
  const at::Tensor matrix = on(device, at::full({2, 3}, communicator.rank(), at::kInt));
  EXPECT_EQ(communicator.all_gather(matrix).back().sizes(), matrix.sizes());
}

void check_all_gather_of_unequal_sizes(Communicator& communicator, at::Device device) {
  const auto size_of = [](int rank) { return rank == 0 ? 0 : 3 * rank + 1; };
  std::vector<at::Tensor> receives;
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    receives.push_back(on(device, at::zeros({size_of(rank)})));
  }
  communicator.all_gather(on(device, sample(communicator.rank(), size_of(communicator.rank()), at::kFloat)), receives);
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    EXPECT_TRUE(holds(receives[static_cast<size_t>(rank)], sample(rank, size_of(rank), at::kFloat)));
  }
}

void check_reduce_scatter(Communicator& communicator, at::Device device) {
  const int world_size = communicator.world_size();
  for (const at::ScalarType type : kReducibleTypes) {
    for (const int64_t size : kSizes) {
      for (const Reduction reduction : {Reduction::sum, Reduction::max, Reduction::min}) {
        const int64_t total = size * world_size * 2;
        const at::Tensor send = on(device, sample(communicator.rank(), total, type).view({-1, 2}));
        const at::Tensor expected = reduced_samples(world_size, total, type, reduction).view({-1, 2});
        const at::Tensor mine = expected.slice(0, communicator.rank() * size, (communicator.rank() + 1) * size);
        EXPECT_TRUE(holds(communicator.reduce_scatter(send, reduction), mine)) << c10::toString(type) << " " << size;
        const at::Tensor later = on(device, at::zeros({size, 2}, type));
        communicator.reduce_scatter_async(send, later, reduction)->wait();
        EXPECT_TRUE(holds(later, mine)) << c10::toString(type) << " " << size;
      }
    }
  }
}

void check_big_tensors(Communicator& communicator, at::Device device) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  const at::Tensor sum = on(device, sample(rank, kBigSize, at::kFloat));
  const at::Tensor copy = on(device, sample(rank, kBigSize, at::kBFloat16));
  const at::Tensor send = on(device, sample(rank, kBigSize * world_size, at::kLong));
  const at::Tensor part = on(device, at::zeros({kBigSize}, at::kLong));
  const auto gathered = zeros_for_each_rank(communicator, kBigSize, at::kByte, device);
  std::vector<std::unique_ptr<Work>> works;
  works.push_back(communicator.all_reduce_async(sum));
  works.push_back(communicator.broadcast_async(copy, world_size - 1));
  works.push_back(communicator.reduce_scatter_async(send, part));
  works.push_back(communicator.all_gather_async(on(device, sample(rank, kBigSize, at::kByte)), gathered));
  for (const auto& work : works) work->wait();
  EXPECT_TRUE(holds(sum, reduced_samples(world_size, kBigSize, at::kFloat, Reduction::sum)));
  EXPECT_TRUE(holds(copy, sample(world_size - 1, kBigSize, at::kBFloat16)));
  EXPECT_TRUE(holds(part, reduced_samples(world_size, kBigSize * world_size, at::kLong, Reduction::sum)
                              .slice(0, rank * kBigSize, (rank + 1) * kBigSize)));
  for (int other = 0; other < world_size; ++other) {
    EXPECT_TRUE(holds(gathered[static_cast<size_t>(other)], sample(other, kBigSize, at::kByte)));
  }
}

// Rank a sends (a + 2 b) % 5 numbers to rank b: sizes differ from pair to pair, and some are 0.
int64_t pair_size(int from, int to) { return (from + 2 * to) % 5; }

void check_all_to_all(Communicator& communicator, at::Device device) {
  const int rank = communicator.rank();
  for (const at::ScalarType type : kTypes) {
    for (const bool async : {false, true}) {
      std::vector<at::Tensor> sends;
      std::vector<at::Tensor> receives;
      for (int other = 0; other < communicator.world_size(); ++other) {
        sends.push_back(on(device, at::full({pair_size(rank, other)}, 10 * rank + other).to(type)));
        receives.push_back(on(device, at::zeros({pair_size(other, rank)}, type)));
      }
      if (async) {
        communicator.all_to_all_async(sends, receives)->wait();
      } else {
        communicator.all_to_all(sends, receives);
      }
      for (int other = 0; other < communicator.world_size(); ++other) {
        EXPECT_TRUE(
            holds(receives[static_cast<size_t>(other)], at::full({pair_size(other, rank)}, 10 * other + rank).to(type)))
            << c10::toString(type);
      }
    }
  }
}

// Only rank 0 has anything to send, then nobody.
void check_empty_parts(Communicator& communicator, at::Device device) {
  for (const int64_t size : {int64_t{5}, int64_t{0}}) {
    std::vector<at::Tensor> sends;
    std::vector<at::Tensor> receives;
    for (int other = 0; other < communicator.world_size(); ++other) {
      sends.push_back(on(device, at::full({communicator.rank() == 0 ? size : 0}, other, at::kInt)));
      receives.push_back(on(device, at::zeros({other == 0 ? size : 0}, at::kInt)));
    }
    const auto work = communicator.all_to_all_async(sends, receives);
    communicator.barrier();
    work->wait();
    EXPECT_TRUE(holds(receives[0], at::full({size}, communicator.rank(), at::kInt)));
    std::vector<at::Tensor> gathered;
    for (int other = 0; other < communicator.world_size(); ++other) {
      gathered.push_back(on(device, at::zeros({other == 0 ? size : 0}, at::kInt)));
    }
    communicator.all_gather(on(device, at::full({communicator.rank() == 0 ? size : 0}, 3, at::kInt)), gathered);
    EXPECT_TRUE(holds(gathered[0], at::full({size}, 3, at::kInt)));
  }
}

// Started in one order, waited for in another, on another thread, while the tensors' last writes are still under way.
void check_several_in_flight(Communicator& communicator, at::Device device) {
  const int world_size = communicator.world_size();
  std::vector<at::Tensor> sums;
  std::vector<std::vector<at::Tensor>> gathered;
  std::vector<std::unique_ptr<Work>> works;
  for (int64_t call = 0; call < 5; ++call) {
    sums.push_back(on(device, at::full({100 + call}, static_cast<double>(communicator.rank() + call))));
    works.push_back(communicator.all_reduce_async(sums.back()));
    gathered.push_back(zeros_for_each_rank(communicator, 3, at::kLong, device));
    works.push_back(communicator.all_gather_async(
        on(device, at::full({3}, 100 * call + communicator.rank(), at::kLong)), gathered.back()));
  }
  const at::Tensor flag = on(device, at::full({1}, communicator.rank() == 0 ? 1 : 0, at::kInt));
  works.push_back(communicator.broadcast_async(flag, 0));
  const at::Tensor part = on(device, at::zeros({2}));
  works.push_back(communicator.reduce_scatter_async(on(device, at::ones({2 * world_size})), part));
  std::thread other_thread([&] {
    for (auto work = works.rbegin(); work != works.rend(); ++work) (*work)->wait();
  });
  other_thread.join();
  for (const auto& work : works) EXPECT_TRUE(work->is_complete());
  for (int64_t call = 0; call < 5; ++call) {
    const double expected = world_size * (world_size - 1) / 2.0 + static_cast<double>(world_size * call);
    EXPECT_TRUE(holds(sums[static_cast<size_t>(call)], at::full({100 + call}, expected)));
    for (int rank = 0; rank < world_size; ++rank) {
      EXPECT_TRUE(holds(gathered[static_cast<size_t>(call)][static_cast<size_t>(rank)],
                        at::full({3}, 100 * call + rank, at::kLong)));
    }
  }
  EXPECT_TRUE(holds(flag, at::ones({1}, at::kInt)));
  EXPECT_TRUE(holds(part, at::full({2}, static_cast<double>(world_size))));
}

void check_polling(Communicator& communicator, at::Device device) {
  const std::vector<at::Tensor> sends(static_cast<size_t>(communicator.world_size()),
                                      on(device, at::full({4}, communicator.rank(), at::kInt)));
  const auto receives = zeros_for_each_rank(communicator, 4, at::kInt, device);
  const auto work = communicator.all_to_all_async(sends, receives);
  while (!work->is_complete()) {
  }
  work->wait();
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    EXPECT_TRUE(holds(receives[static_cast<size_t>(rank)], at::full({4}, rank, at::kInt)));
  }
}

void check_barrier(Communicator& communicator) {
  for (int repeat = 0; repeat < 10; ++repeat) communicator.barrier();
  const auto first = communicator.barrier_async();
  const auto second = communicator.barrier_async();
  while (!second->is_complete()) {
  }
  second->wait();
  first->wait();
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
  expect_argument_error("expected float32", [&] { communicator.all_reduce(at::ones({2}, at::kHalf)); });
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

// Calls on the one and on the other do not mix, though the ranks wait for them in different orders.
void check_duplicate(Communicator& communicator, at::Device device) {
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
  const at::Tensor ones = on(device, at::ones({1001}));
  const at::Tensor twos = on(device, at::full({1001}, 2.0));
  const bool is_even = communicator.rank() % 2 == 0;
  Communicator& first = is_even ? communicator : *duplicate;
  Communicator& second = is_even ? *duplicate : communicator;
  const auto first_work = first.all_reduce_async(is_even ? ones : twos);
  const auto second_work = second.all_reduce_async(is_even ? twos : ones);
  first_work->wait();
  second_work->wait();
  EXPECT_TRUE(holds(ones, at::full({1001}, 1.0 * world_size)));
  EXPECT_TRUE(holds(twos, at::full({1001}, 2.0 * world_size)));
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

void check_compare_replicas(Communicator& communicator) {
  std::map<std::string, at::Tensor> weights = {{"a", at::arange(7)}, {"b", at::ones({2, 3})}, {"c", at::ones({1})}};
  compare_replicas(communicator, weights, "after step 3");
  if (communicator.world_size() == 1) return;
  const int odd_one = communicator.world_size() - 1;
  if (communicator.rank() == odd_one) weights["b"][1][2] += 1e-6;
  try {
    compare_replicas(communicator, weights, "after step 4");
    ADD_FAILURE() << "the weights differ";
  } catch (const base::NumericError& error) {
    EXPECT_THAT(error.what(), HasSubstr("after step 4: rank " + std::to_string(odd_one) + " in 'b'."));
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

// Two threads in one communicator are told, whatever the backend; each can have its own.
void check_threads(Communicator& communicator) {
  const std::unique_ptr<Communicator> others = communicator.duplicate();
  const at::Tensor mine = at::full({1}, 1.0);
  const at::Tensor theirs = at::full({1}, 2.0);
  std::thread other_thread([&] {
    for (int repeat = 0; repeat < 20; ++repeat) others->all_reduce(theirs, Reduction::max);
  });
  for (int repeat = 0; repeat < 20; ++repeat) communicator.all_reduce(mine, Reduction::min);
  other_thread.join();
  EXPECT_EQ(mine.item<double>(), 1.0);
  EXPECT_EQ(theirs.item<double>(), 2.0);
}

// Every second rank, counted from the last one on; then the groups of one rank each, made of those.
void check_split(Communicator& communicator, at::Device device) {
  const int color = communicator.rank() % 2, world_size = communicator.world_size();
  const std::unique_ptr<Communicator> group =
      communicator.split(color, -communicator.rank(), base::concat("half ", color));
  std::vector<int> members;
  for (int rank = world_size - 1; rank >= 0; --rank) {
    if (rank % 2 == color) members.push_back(rank);
  }
  ASSERT_EQ(group->world_size(), static_cast<int>(members.size()));
  EXPECT_EQ(members[static_cast<size_t>(group->rank())], communicator.rank());
  EXPECT_EQ(group->group().world_ranks, members);
  EXPECT_EQ(group->local_size(), group->world_size());
  EXPECT_EQ(group->local_leader(), 0);
  EXPECT_EQ(group->timeout_seconds(), communicator.timeout_seconds());
  EXPECT_EQ(group->who(), base::concat("rank ", communicator.rank(), " (", group->rank(), " of ", members.size(),
                                       " in group half ", color, ")"));
  // The groups work at the same time, each as often as it likes.
  for (int repeat = 0; repeat < 3 + color; ++repeat) {
    const at::Tensor own = on(device, at::full({5}, communicator.rank(), at::kLong));
    const std::vector<at::Tensor> all = group->all_gather(own);
    for (size_t other = 0; other < all.size(); ++other)
      EXPECT_TRUE(holds(all[other], at::full({5}, members[other], at::kLong)));
    group->all_reduce(own);
    int64_t sum = 0;
    for (const int member : members) sum += member;
    EXPECT_TRUE(holds(own, at::full({5}, sum, at::kLong)));
  }
  const std::unique_ptr<Communicator> alone = group->split(group->rank(), 0, base::concat("alone ", group->rank()));
  EXPECT_EQ(alone->world_size(), 1);
  EXPECT_EQ(alone->group().world_ranks, std::vector<int>{communicator.rank()});
  alone->barrier();
  const std::unique_ptr<Communicator> copy = group->duplicate();
  EXPECT_EQ(copy->who(), group->who());
  copy->barrier();
  communicator.barrier();
}

void check_split_arguments(Communicator& communicator) {
  const bool is_last = communicator.rank() == communicator.world_size() - 1;
  // Every rank is told of what one did wrong.
  EXPECT_THROW(communicator.split(is_last ? -1 : 0, 0, "some"), base::ArgumentError);
  EXPECT_THROW(communicator.split(0, 0, is_last ? "" : "some"), base::ArgumentError);
  if (communicator.world_size() == 1) return;
  EXPECT_THROW(communicator.split(0, 0, is_last ? "one" : "another"), base::ArgumentError);
  try {
    communicator.split(is_last ? 1 : 0, 0, "the same");
    ADD_FAILURE() << "two groups of one name";
  } catch (const base::ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr(base::concat("rank ", communicator.world_size() - 1, " came with color 1")));
  }
}

void check_time_limit_argument(Communicator& communicator) {
  EXPECT_THROW(communicator.set_timeout(0), base::ArgumentError);
  EXPECT_THROW(communicator.set_timeout(-1), base::ArgumentError);
}

void check_place(Communicator& communicator) {
  EXPECT_GE(communicator.rank(), 0);
  EXPECT_LT(communicator.rank(), communicator.world_size());
  EXPECT_EQ(communicator.local_rank(), communicator.rank());  // all tests run on one host
  EXPECT_EQ(communicator.local_size(), communicator.world_size());
}

// Runs the check on tensors where the communicator works best and, if that is a GPU, on the host too.
std::function<void(Communicator&)> everywhere(void (*check)(Communicator&, at::Device)) {
  return [check](Communicator& communicator) {
    check(communicator, communicator.device());
    if (!communicator.device().is_cpu()) check(communicator, at::kCPU);
  };
}

}  // namespace

const std::vector<CommunicatorCheck>& communicator_checks() {
  static const std::vector<CommunicatorCheck> kChecks = {
      {"place", check_place},
      {"all_reduce", everywhere(check_all_reduce)},
      {"all_reduce_equal_bits", everywhere(check_all_reduce_equal_bits)},
      {"all_reduce_of_parameter", everywhere(check_all_reduce_of_parameter)},
      {"broadcast", everywhere(check_broadcast)},
      {"all_gather", everywhere(check_all_gather)},
      {"all_gather_of_unequal_sizes", everywhere(check_all_gather_of_unequal_sizes)},
      {"reduce_scatter", everywhere(check_reduce_scatter)},
      {"all_to_all", everywhere(check_all_to_all)},
      {"empty_parts", everywhere(check_empty_parts)},
      {"big_tensors", everywhere(check_big_tensors)},
      {"several_in_flight", everywhere(check_several_in_flight)},
      {"polling", everywhere(check_polling)},
      {"barrier", check_barrier},
      {"values_and_text", check_values_and_text},
      {"arguments", check_arguments},
      {"duplicate", everywhere(check_duplicate)},
      {"split", everywhere(check_split)},
      {"split_arguments", check_split_arguments},
      {"threads", check_threads},
      {"time_limit_argument", check_time_limit_argument},
      {"compare_across_ranks", check_compare_across_ranks},
      {"compare_replicas", check_compare_replicas},
      {"broadcast_parameters", check_broadcast_parameters},
  };
  return kChecks;
}

}  // namespace rosa::parallel
