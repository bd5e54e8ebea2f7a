#include "rosa/operator/rosa_state.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <random>

#include "base/checksum.h"
#include "base/error.h"
#include "tests/rosa/operator/inputs.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

using testing::make_input;
using testing::Sizes;

using Bytes = std::vector<std::byte>;

OperatorOutput append_part(RosaState& state, const OperatorInput& input, int64_t begin, int64_t count,
                           HostExecutor& executor, Candidates candidates = Candidates::latest) {
  const OperatorInput part = testing::slice(input, begin, count);
  return state.append(part.query, part.key, part.value, executor, /*want_lengths=*/true, candidates);
}

// Appends everything in steps of the given sizes, cyclically.
OperatorOutput append_all(RosaState& state, const OperatorInput& input, const std::vector<int64_t>& steps,
                          HostExecutor& executor, Candidates candidates = Candidates::latest) {
  std::vector<at::Tensor> bits, matched, lengths;
  int64_t begin = 0;
  for (size_t i = 0; begin < input.query.size(2); ++i) {
    const int64_t count = std::min(steps[i % steps.size()], input.query.size(2) - begin);
    const OperatorOutput output = append_part(state, input, begin, count, executor, candidates);
    bits.push_back(output.bits);
    matched.push_back(output.matched);
    lengths.push_back(output.lengths);
    begin += count;
  }
  return {at::cat(bits, 2), at::cat(matched, 2), at::cat(lengths, 2)};
}

TEST(RosaState, EqualsTheBatchForm) {
  at::manual_seed(1);
  HostExecutor executor(2);
  for (const char* kind : {"random", "constant", "zero", "periodic", "nan"}) {
    for (const Sizes& sizes : {Sizes{2, 4, 2, 50, 2, 5}, Sizes{1, 3, 1, 40, 20, 63}, Sizes{1, 2, 2, 33, 63, 1}}) {
      const OperatorInput input = make_input(kind, sizes, at::kFloat, true);
      for (const Candidates candidates : {Candidates::latest, Candidates::mean}) {
        OperatorOptions options;
        options.want_lengths = true;
        options.candidates = candidates;
        const OperatorOutput batch = rosa_operator(input, options, executor);
        for (const std::vector<int64_t>& steps : {std::vector<int64_t>{1}, {50}, {7, 1, 3}}) {
          RosaState state(sizes.batch, sizes.heads, sizes.kv_heads, sizes.query_bits, sizes.value_bits);
          const OperatorOutput streamed = append_all(state, input, steps, executor, candidates);
          EXPECT_TRUE(testing::is_equal(streamed.bits, batch.bits)) << kind;
          EXPECT_TRUE(testing::is_equal(streamed.matched, batch.matched)) << kind;
          EXPECT_TRUE(testing::is_equal(streamed.lengths, batch.lengths)) << kind;
          EXPECT_EQ(state.size(), sizes.length);
        }
      }
    }
  }
}

TEST(RosaState, Documents) {
  at::manual_seed(2);
  HostExecutor executor(1);
  const Sizes sizes{2, 4, 2, 60, 2, 4};
  OperatorInput input = make_input("random", sizes, at::kFloat, true);
  const std::vector<int64_t> lengths{20, 1, 39};
  input.documents = testing::documents_of(sizes.batch, lengths);
  const OperatorOutput batch = rosa_operator(input, {}, executor);
  RosaState state(sizes.batch, sizes.heads, sizes.kv_heads, sizes.query_bits, sizes.value_bits);
  int64_t begin = 0;
  for (const int64_t length : lengths) {
    for (int64_t row = 0; begin > 0 && row < sizes.batch; ++row) state.start_document(row);
    const OperatorOutput part = append_part(state, input, begin, length, executor);
    EXPECT_TRUE(testing::is_equal(part.bits, batch.bits.narrow(2, begin, length)));
    EXPECT_TRUE(testing::is_equal(part.matched, batch.matched.narrow(2, begin, length)));
    begin += length;
  }
}

TEST(RosaState, CopiesAreIndependent) {
  at::manual_seed(3);
  HostExecutor executor(1);
  const Sizes sizes{1, 2, 1, 40, 2, 4};
  const OperatorInput input = make_input("random", sizes, at::kFloat, true);
  const OperatorOutput batch = rosa_operator(input, {}, executor);
  RosaState state(1, 2, 1, 2, 4);
  append_part(state, input, 0, 20, executor);
  RosaState copy = state;
  const OperatorInput other = make_input("random", sizes);
  append_part(copy, other, 0, 10, executor);  // goes another way
  const OperatorOutput rest = append_part(state, input, 20, 20, executor);
  EXPECT_TRUE(testing::is_equal(rest.bits, batch.bits.narrow(2, 20, 20)));
  EXPECT_EQ(copy.size(), 30);
}

TEST(RosaState, RefusesWhatDoesNotFit) {
  HostExecutor executor(1);
  EXPECT_THROW(RosaState(1, 3, 2, 4, 4), base::ArgumentError);
  EXPECT_THROW(RosaState(1, 2, 2, 64, 4), base::ArgumentError);
  RosaState state(1, 2, 1, 4, 4);
  EXPECT_THROW(state.append(at::zeros({1, 2, 3, 4}), at::zeros({1, 2, 3, 4}), at::zeros({1, 1, 3, 4}), executor),
               base::ArgumentError);
  EXPECT_THROW(state.start_document(1), base::ArgumentError);
}

TEST(RosaState, RewoundAndLoadedStatesGoOnAsIfNothingHadBeen) {
  at::manual_seed(5);
  HostExecutor executor(2);
  for (const char* kind : {"random", "constant", "periodic"}) {
    const Sizes sizes{2, 4, 2, 60, 2, 5};
    const OperatorInput input = make_input(kind, sizes, at::kFloat, true);
    const OperatorInput other = make_input("random", sizes, at::kFloat, true);
    for (const Candidates candidates : {Candidates::latest, Candidates::mean}) {
      OperatorOptions options;
      options.candidates = candidates;
      const OperatorOutput batch = rosa_operator(input, options, executor);
      RosaState state(sizes.batch, sizes.heads, sizes.kv_heads, sizes.query_bits, sizes.value_bits);
      std::vector<at::Tensor> bits;
      for (int64_t begin = 0; begin < sizes.length; begin += 6) {
        append_part(state, other, begin, 4, executor, candidates);
        state.rewind(4);
        const std::vector<std::byte> bytes = state.save();
        state = RosaState::load(bytes);
        EXPECT_EQ(state.save(), bytes);
        EXPECT_EQ(state.size(), begin);
        bits.push_back(append_part(state, input, begin, 6, executor, candidates).bits);
      }
      EXPECT_TRUE(testing::is_equal(at::cat(bits, 2), batch.bits)) << kind;
    }
  }
}

TEST(RosaState, ARewindBeyondADocumentChangesNothing) {
  at::manual_seed(6);
  HostExecutor executor(1);
  const Sizes sizes{2, 2, 1, 10, 2, 3};
  const OperatorInput input = make_input("random", sizes, at::kFloat, true);
  RosaState state(sizes.batch, sizes.heads, sizes.kv_heads, sizes.query_bits, sizes.value_bits);
  append_part(state, input, 0, 6, executor);
  state.start_document(1);
  append_part(state, input, 6, 2, executor);
  const std::vector<std::byte> before = state.save();
  EXPECT_THROW(state.rewind(3), base::ArgumentError);
  EXPECT_THROW(state.rewind(-1), base::ArgumentError);
  EXPECT_EQ(state.save(), before);
}

// Writes a number at an offset of the bytes.
void put(Bytes& bytes, size_t offset, uint64_t number) {
  for (size_t k = 0; k < 8; ++k) bytes[offset + k] = static_cast<std::byte>(number >> (8 * k));
}

// Writes the checksum anew, as somebody hostile would.
void seal(Bytes& bytes) {
  if (bytes.size() >= 8) put(bytes, bytes.size() - 8, base::checksum(std::span(bytes).first(bytes.size() - 8)));
}

TEST(RosaState, DamagedBytesAreRefused) {
  at::manual_seed(7);
  HostExecutor executor(1);
  const Sizes sizes{1, 2, 1, 8, 2, 3};
  RosaState state(sizes.batch, sizes.heads, sizes.kv_heads, sizes.query_bits, sizes.value_bits);
  append_part(state, make_input("random", sizes, at::kFloat, true), 0, 8, executor);
  const std::vector<std::byte> bytes = state.save();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(RosaState::load(std::span(bytes).first(size)), base::DataError) << size;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> damaged = bytes;
    damaged[i] ^= std::byte{16};
    EXPECT_THROW(RosaState::load(damaged), base::DataError) << "byte " << i;
    // As somebody hostile would: refused, or as harmless as any other state.
    seal(damaged);
    try {
      RosaState::load(damaged).save();
    } catch (const base::DataError&) {
    }
  }
}

// Symbols of more than a byte have no tables of contexts and take another path through the matcher.
TEST(RosaState, RewoundAndLoadedStatesOfEveryWidthEqualTheBatchForm) {
  at::manual_seed(8);
  HostExecutor executor(1);
  for (int64_t bits = 1; bits <= 63; ++bits) {
    for (const char* kind : {"random", "constant", "periodic"}) {
      const Sizes sizes{1, 2, 1, 24, bits, 64 - bits};
      const OperatorInput input = make_input(kind, sizes, at::kFloat, true);
      const OperatorInput other = make_input("random", sizes, at::kFloat, true);
      const OperatorOutput batch = rosa_operator(input, {}, executor);
      RosaState state(sizes.batch, sizes.heads, sizes.kv_heads, sizes.query_bits, sizes.value_bits);
      append_part(state, other, 0, 9, executor);
      state.rewind(9);
      std::vector<at::Tensor> parts;
      for (int64_t begin = 0; begin < sizes.length; begin += 4) {
        append_part(state, other, begin, 3, executor);
        state.rewind(3);
        if (begin % 8 == 0) state = RosaState::load(state.save());
        parts.push_back(append_part(state, input, begin, 4, executor).bits);
      }
      ASSERT_TRUE(testing::is_equal(at::cat(parts, 2), batch.bits)) << kind << ", " << bits << " bits";
    }
  }
}

TEST(RosaState, GarbledBytesAreRefusedOrWork) {
  at::manual_seed(9);
  HostExecutor executor(1);
  std::mt19937_64 random(9);
  int num_refused = 0;
  int num_taken = 0;
  for (const int64_t bits : {1, 8, 12, 63}) {
    const Sizes sizes{2, 2, 1, 8, bits, 3};
    const OperatorInput input = make_input("random", sizes, at::kFloat, true);
    RosaState state(sizes.batch, sizes.heads, sizes.kv_heads, sizes.query_bits, sizes.value_bits);
    append_part(state, input, 0, 8, executor);
    const Bytes bytes = state.save();
    for (int round = 0; round < 1500; ++round) {
      Bytes garbled = bytes;
      for (uint64_t left = 1 + random() % 3; left > 0; --left) {
        // Half of the time in the numbers at the beginning.
        const size_t at = random() % (random() % 2 == 0 ? 72 : garbled.size());
        garbled[at] = static_cast<std::byte>(random());
      }
      if (random() % 8 == 0) garbled.resize(random() % garbled.size());
      seal(garbled);
      try {
        RosaState loaded = RosaState::load(garbled);
        loaded.rewind(0);
        EXPECT_EQ(RosaState::load(loaded.save()).save(), loaded.save());
        ++num_taken;
      } catch (const base::DataError& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
        ++num_refused;
      }
    }
  }
  EXPECT_GT(num_refused, 1000);
  EXPECT_GT(num_taken, 10);
}

// A megabyte that promises as many heads as could ever be in it, and one that really holds as many as it can.
TEST(RosaState, HostileBytesTakeNoMoreMemoryThanTheyHold) {
  const auto peak_mib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
  };
  constexpr uint64_t kHeads = 18000;
  const Bytes honest = RosaState(1, kHeads, 1, 12, 3).save();
  ASSERT_GT(honest.size(), 1000000u);
  const int64_t before = peak_mib();
  EXPECT_EQ(RosaState::load(honest).save(), honest);
  constexpr size_t kBatchOffset = 16, kHeadsOffset = 24, kKvHeadsOffset = 32, kSizeOffset = 56;
  for (const uint64_t heads : {uint64_t{2 * kHeads}, honest.size() / 8, honest.size(), uint64_t{1} << 30}) {
    for (const uint64_t batch : {uint64_t{1}, heads}) {
      for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 30}) {
        Bytes hostile = honest;
        put(hostile, kHeadsOffset, heads);
        put(hostile, kKvHeadsOffset, size == 1 ? heads : 1);
        put(hostile, kBatchOffset, batch);
        put(hostile, kSizeOffset, size);
        seal(hostile);
        EXPECT_THROW(RosaState::load(hostile), base::DataError);
      }
    }
  }
  EXPECT_LT(peak_mib() - before, 32);
}

}  // namespace
}  // namespace rosa
