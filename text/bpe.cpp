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

// Pieces up to this many symbols are merged by looking at all of them each time.
constexpr size_t kShortSymbols = 48;

uint64_t key_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

uint64_t slot_of(uint64_t key) {
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
  pairs_.resize(std::bit_ceil(2 * vocabulary_.merges.size() + 2));
  mask_ = pairs_.size() - 1;
  for (size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
    const BpeMerge& merge = vocabulary_.merges[rank];
    const uint64_t key = key_of(merge.left, merge.right);
    uint64_t slot = slot_of(key) & mask_;
    while (pairs_[slot].rank >= 0 && pairs_[slot].key != key) slot = (slot + 1) & mask_;
    pairs_[slot] = {key, static_cast<int32_t>(rank), merge.result};
  }
  vocabulary_.merges.clear();
  if (!vocabulary_.ignore_merges) vocabulary_.ids.clear();
}

const ByteBpe::Pair* ByteBpe::find(int32_t left, int32_t right) const {
  const uint64_t key = key_of(left, right);
  for (uint64_t slot = slot_of(key) & mask_; pairs_[slot].rank >= 0; slot = (slot + 1) & mask_) {
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

void ByteBpe::merge_short(std::vector<int32_t>& symbols) const {
  std::array<int32_t, kShortSymbols> ranks;
  size_t size = symbols.size();
  for (size_t i = 0; i + 1 < size; ++i) ranks[i] = rank_of(symbols[i], symbols[i + 1]);
  while (size > 1) {
    const auto least = std::min_element(ranks.begin(), ranks.begin() + static_cast<ptrdiff_t>(size) - 1);
    if (*least == kNoRank) break;
    const auto at = static_cast<size_t>(least - ranks.begin());
    symbols[at] = find(symbols[at], symbols[at + 1])->result;
    std::copy(symbols.begin() + static_cast<ptrdiff_t>(at) + 2, symbols.begin() + static_cast<ptrdiff_t>(size),
              symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
    std::copy(least + 1, ranks.begin() + static_cast<ptrdiff_t>(size) - 1, least);
    --size;
    if (at > 0) ranks[at - 1] = rank_of(symbols[at - 1], symbols[at]);
    if (at + 1 < size) ranks[at] = rank_of(symbols[at], symbols[at + 1]);
  }
  symbols.resize(size);
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
