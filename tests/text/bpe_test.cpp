// ByteBpe against the definition: merge the pair of least rank, the leftmost of equals, until there is none.
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace rosa::text {
namespace {

struct Vocabulary {
  BpeVocabulary taken;
  std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, int32_t>> ranks_and_results;
};

// Random merges of tokens over a few letters. Shuffled: then a merge may come before those that make its parts.
Vocabulary random_vocabulary(std::mt19937& random, bool shuffled) {
  BpeVocabulary vocabulary;
  std::vector<std::string> tokens = {"a", "b", "c", "\xe4", "\xb8"};
  for (size_t i = 0; i < tokens.size(); ++i) vocabulary.ids.emplace(tokens[i], static_cast<int32_t>(i));
  for (int i = 0; i < 60; ++i) {
    const auto left = static_cast<int32_t>(random() % tokens.size());
    const auto right = static_cast<int32_t>(random() % tokens.size());
    const std::string joined = tokens[static_cast<size_t>(left)] + tokens[static_cast<size_t>(right)];
    const auto [found, is_new] = vocabulary.ids.emplace(joined, static_cast<int32_t>(tokens.size()));
    if (is_new) tokens.push_back(joined);
    vocabulary.merges.push_back({left, right, found->second});
  }
  if (shuffled) std::shuffle(vocabulary.merges.begin(), vocabulary.merges.end(), random);
  Vocabulary result;
  for (size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const BpeMerge& merge = vocabulary.merges[rank];
    result.ranks_and_results[{merge.left, merge.right}] = {static_cast<int32_t>(rank), merge.result};
  }
  result.taken = std::move(vocabulary);
  return result;
}

std::vector<int64_t> by_definition(const Vocabulary& vocabulary, const std::vector<int32_t>& bytes) {
  std::vector<int64_t> ids(bytes.begin(), bytes.end());
  for (;;) {
    std::pair<int32_t, int32_t> least = {std::numeric_limits<int32_t>::max(), 0};
    size_t place = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found =
          vocabulary.ranks_and_results.find({static_cast<int32_t>(ids[i]), static_cast<int32_t>(ids[i + 1])});
      if (found == vocabulary.ranks_and_results.end() || found->second.first >= least.first) continue;
      least = found->second;
      place = i;
    }
    if (least.first == std::numeric_limits<int32_t>::max()) return ids;
    ids[place] = least.second;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(place) + 1);
  }
}

TEST(ByteBpe, MergesAsDefined) {
  std::mt19937 random(20261130);
  const std::vector<std::string> bytes = {"a", "b", "c", "\xe4", "\xb8"};
  for (int round = 0; round < 60; ++round) {
    const Vocabulary vocabulary = random_vocabulary(random, round % 2 == 1);
    const ByteBpe bpe(vocabulary.taken);
    // Sizes on both sides of the blocks of a short piece, and of what is short.
    for (const size_t size : {1, 2, 15, 16, 17, 33, 200, 1023, 1024, 1025, 1300}) {
      const size_t num_letters = 1 + random() % bytes.size();  // one letter: the piece repeats itself
      std::vector<int32_t> symbols;
      std::string piece;
      for (size_t i = 0; i < size; ++i) {
        symbols.push_back(static_cast<int32_t>(random() % num_letters));
        piece += bytes[static_cast<size_t>(symbols.back())];
      }
      std::vector<int64_t> ids;
      bpe.encode(piece, ids);
      ASSERT_EQ(ids, by_definition(vocabulary, symbols)) << "round " << round << ", size " << size;
    }
  }
}

TEST(ByteBpe, BytesWithoutATokenAreLeftOut) {
  std::mt19937 random(1);
  const ByteBpe bpe(random_vocabulary(random, /*shuffled=*/false).taken);
  std::vector<int64_t> ids;
  for (const char* piece : {"", "x", "xyz"}) bpe.encode(piece, ids);
  EXPECT_TRUE(ids.empty());
  bpe.encode("xay", ids);
  EXPECT_EQ(ids, std::vector<int64_t>{0});
}

}  // namespace
}  // namespace rosa::text
