#include "text/bpe.h"

#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <functional>
#include <memory>
#include <queue>

namespace rosa::text {
namespace {

std::atomic<uint64_t> next_serial{1};

constexpr size_t kBitsASlot = 8;  // one pair in eight that is none passes the filter, at most

// Pieces of more symbols are merged by a queue.
constexpr size_t kShortSymbols = 1024;

uint64_t key_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

uint64_t hash_of(uint64_t key) {
  key *= 0x9e3779b97f4a7c15u;  // Knuth's multiplicative hashing
  return key ^ key >> 32;
}

// What a thread has encoded lately. Words come again and again, so most pieces are found here.
class PieceCache {
 public:
  static constexpr size_t kMaxBytes = 23, kMaxIds = 7;

  struct Entry {
    uint64_t serial = 0;
    std::array<char, kMaxBytes> bytes{};
    uint8_t size = 0;
    std::array<int32_t, kMaxIds> ids{};
    int32_t num_ids = 0;

    bool holds(uint64_t wanted_serial, std::string_view piece) const {
      return serial == wanted_serial && size == piece.size() && std::memcmp(bytes.data(), piece.data(), size) == 0;
    }
  };

  Entry& at(uint64_t serial, std::string_view piece) {
    return entries_[XXH3_64bits_withSeed(piece.data(), piece.size(), serial) % kNumEntries];
  }

 private:
  static constexpr size_t kNumEntries = 1 << 15;
  std::vector<Entry> entries_{kNumEntries};
};

PieceCache& cache_of_thread() {
  thread_local std::unique_ptr<PieceCache> cache;
  if (!cache) cache = std::make_unique<PieceCache>();
  return *cache;
}

}  // namespace

ByteBpe::ByteBpe(BpeVocabulary vocabulary) : vocabulary_(std::move(vocabulary)), serial_(next_serial++) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = vocabulary_.ids.find(std::string(1, static_cast<char>(byte)));
    of_byte_[static_cast<size_t>(byte)] = found == vocabulary_.ids.end() ? -1 : found->second;
  }
  pairs_.resize(std::bit_ceil(vocabulary_.merges.size() * 3 / 2 + 2));
  mask_ = pairs_.size() - 1;
  may_be_pair_.resize(pairs_.size() * kBitsASlot);
  for (size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
    const BpeMerge& merge = vocabulary_.merges[rank];
    const uint64_t key = key_of(merge.left, merge.right);
    may_be_pair_[hash_of(key) & (may_be_pair_.size() - 1)] = true;
    uint64_t slot = hash_of(key) & mask_;
    while (pairs_[slot].rank >= 0 && pairs_[slot].key != key) slot = (slot + 1) & mask_;
    pairs_[slot] = {key, static_cast<int32_t>(rank), merge.result};
  }
  vocabulary_.merges.clear();
  if (!vocabulary_.ignore_merges) vocabulary_.ids.clear();
}

const ByteBpe::Pair* ByteBpe::find(int32_t left, int32_t right) const {
  const uint64_t key = key_of(left, right);
  const uint64_t hash = hash_of(key);
  if (!may_be_pair_[hash & (may_be_pair_.size() - 1)]) return nullptr;
  for (uint64_t slot = hash & mask_; pairs_[slot].rank >= 0; slot = (slot + 1) & mask_) {
    if (pairs_[slot].key == key) return &pairs_[slot];
  }
  return nullptr;
}

int32_t ByteBpe::rank_of(int32_t left, int32_t right) const {
  const Pair* pair = find(left, right);
  return pair == nullptr ? kNoRank : pair->rank;
}

void ByteBpe::encode(std::string_view piece, std::vector<int64_t>& ids) const {
  PieceCache::Entry* entry = nullptr;
  if (piece.size() <= PieceCache::kMaxBytes) {
    entry = &cache_of_thread().at(serial_, piece);
    if (entry->holds(serial_, piece)) {
      ids.insert(ids.end(), entry->ids.begin(), entry->ids.begin() + entry->num_ids);
      return;
    }
  }
  thread_local std::vector<int32_t> symbols;
  symbols.clear();
  const auto whole = vocabulary_.ignore_merges ? vocabulary_.ids.find(std::string(piece)) : vocabulary_.ids.end();
  if (whole != vocabulary_.ids.end()) {
    symbols.push_back(whole->second);
  } else {
    begin(piece, symbols);
    if (symbols.size() <= kShortSymbols) {
      merge_short(symbols);
    } else {
      merge_long(symbols);
    }
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  if (entry != nullptr && symbols.size() <= PieceCache::kMaxIds) {
    entry->serial = serial_;
    entry->size = static_cast<uint8_t>(piece.size());
    std::memcpy(entry->bytes.data(), piece.data(), piece.size());
    entry->num_ids = static_cast<int32_t>(symbols.size());
    std::copy(symbols.begin(), symbols.end(), entry->ids.begin());
  }
  constexpr size_t kMaxKept = 1 << 16;
  if (symbols.capacity() > kMaxKept) symbols = {};
}

void ByteBpe::begin(std::string_view piece, std::vector<int32_t>& symbols) const {
  bool last_is_unknown = false;
  for (const char byte : piece) {
    const int32_t symbol = of_byte_[static_cast<unsigned char>(byte)];
    if (symbol >= 0) {
      symbols.push_back(symbol);
    } else if (vocabulary_.unknown >= 0 && !(last_is_unknown && vocabulary_.fuse_unknown)) {
      symbols.push_back(vocabulary_.unknown);
    }
    last_is_unknown = symbol < 0;
  }
}

// The pair of least rank is merged, again and again. The least rank of each block of places is kept, so that few places
// are looked at to find it.
void ByteBpe::merge_short(std::vector<int32_t>& symbols) const {
  constexpr size_t kBlock = 16, kNumBlocks = kShortSymbols / kBlock;
  const size_t size = symbols.size(), num_blocks = (size + kBlock - 1) / kBlock;
  if (size < 2) return;
  // Of the pair that begins at each place.
  std::array<int32_t, kShortSymbols> ranks, results;
  std::array<uint16_t, kShortSymbols> previous, next;
  std::array<int32_t, kNumBlocks> least;
  const auto look_up = [&](size_t left) {
    const Pair* pair = next[left] < size ? find(symbols[left], symbols[next[left]]) : nullptr;
    ranks[left] = pair == nullptr ? kNoRank : pair->rank;
    if (pair != nullptr) results[left] = pair->result;
  };
  const auto update = [&](size_t block) {
    int32_t rank = kNoRank;
    for (size_t i = block * kBlock; i < (block + 1) * kBlock; ++i) rank = std::min(rank, ranks[i]);
    least[block] = rank;
  };
  for (size_t i = 0; i < size; ++i) {
    previous[i] = static_cast<uint16_t>(i - 1);
    next[i] = static_cast<uint16_t>(i + 1);
    look_up(i);
  }
  std::fill(ranks.begin() + static_cast<ptrdiff_t>(size), ranks.begin() + static_cast<ptrdiff_t>(num_blocks * kBlock),
            kNoRank);
  for (size_t block = 0; block < num_blocks; ++block) update(block);
  for (;;) {
    const auto found = std::min_element(least.begin(), least.begin() + static_cast<ptrdiff_t>(num_blocks));
    if (*found == kNoRank) break;
    const auto block = static_cast<size_t>(found - least.begin());
    size_t at = block * kBlock;
    while (ranks[at] != *found) ++at;
    const size_t right = next[at];
    symbols[at] = results[at];
    symbols[right] = -1;
    ranks[right] = kNoRank;
    next[at] = next[right];
    if (next[at] < size) previous[next[at]] = static_cast<uint16_t>(at);
    look_up(at);
    if (at > 0) {
      look_up(previous[at]);
      if (previous[at] / kBlock != block) update(previous[at] / kBlock);
    }
    update(block);
    if (right / kBlock != block) update(right / kBlock);
  }
  std::erase_if(symbols, [](int32_t symbol) { return symbol < 0; });
}

// The pairs of a rank wait together, so that the queue holds ranks, not pairs: a piece that repeats itself has few.
void ByteBpe::merge_long(std::vector<int32_t>& symbols) const {
  const auto size = static_cast<int32_t>(symbols.size());
  std::vector<int32_t> previous(symbols.size()), next(symbols.size());
  std::unordered_map<int32_t, std::vector<int32_t>> waiting;  // by rank: where the left symbol is
  std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ranks;
  std::vector<int32_t> sorted;
  const auto wait = [&](int32_t at) {
    if (at < 0 || next[static_cast<size_t>(at)] >= size) return kNoRank;
    const auto left = static_cast<size_t>(at), right = static_cast<size_t>(next[left]);
    const int32_t rank = rank_of(symbols[left], symbols[right]);
    if (rank == kNoRank) return rank;
    std::vector<int32_t>& places = waiting[rank];
    if (places.empty()) ranks.push(rank);
    places.push_back(at);
    return rank;
  };
  for (int32_t i = 0; i < size; ++i) {
    previous[static_cast<size_t>(i)] = i - 1;
    next[static_cast<size_t>(i)] = i + 1;
  }
  for (int32_t i = 0; i + 1 < size; ++i) wait(i);
  while (!ranks.empty()) {
    const int32_t rank = ranks.top();
    ranks.pop();
    sorted.swap(waiting[rank]);
    waiting.erase(rank);
    if (!std::is_sorted(sorted.begin(), sorted.end())) std::sort(sorted.begin(), sorted.end());
    for (size_t i = 0; i < sorted.size(); ++i) {
      const auto left = static_cast<size_t>(sorted[i]);
      if (symbols[left] < 0 || next[left] >= size) continue;
      const auto right = static_cast<size_t>(next[left]);
      const Pair* pair = find(symbols[left], symbols[right]);
      if (pair == nullptr || pair->rank != rank) continue;  // one of them was merged since
      symbols[left] = pair->result;
      symbols[right] = -1;
      next[left] = next[right];
      if (next[right] < size) previous[static_cast<size_t>(next[right])] = static_cast<int32_t>(left);
      const int32_t least = std::min(wait(previous[left]), wait(static_cast<int32_t>(left)));
      if (least > rank) continue;
      // Merges that are not in the order of their making: what comes first is merged first.
      std::vector<int32_t>& rest = waiting[rank];
      if (rest.empty()) ranks.push(rank);
      rest.insert(rest.end(), sorted.begin() + static_cast<ptrdiff_t>(i) + 1, sorted.end());
      break;
    }
    sorted.clear();
  }
  std::erase_if(symbols, [](int32_t symbol) { return symbol < 0; });
}

}  // namespace rosa::text
