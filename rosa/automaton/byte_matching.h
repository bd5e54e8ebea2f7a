// The inner interface of the batch matcher: one document of byte symbols, matched by code for one kind of CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rosa/automaton/match_statistics.h"
#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

// The instruction sets that the batch matcher is compiled for. The results are the same bit for bit.
enum class CpuLevel { portable, avx2, avx512 };

// Bytes that must be readable before and after the symbols of a document: vectors are read whole.
inline constexpr int32_t kPadding = 64;

struct ByteDocument {
  const uint8_t* query = nullptr;
  const uint8_t* key = nullptr;
  int32_t size = 0;
  int32_t bits = 8;            // 1, 2, 4 or 8: every symbol is below 1 << bits
  int32_t first_position = 0;  // added to the positions written
  int32_t* positions = nullptr;
  int32_t* lengths = nullptr;  // null: not wanted
};

// What a match cost, for tests of the running time and for tuning.
struct MatchingWork {
  int64_t num_searches = 0;   // positions that needed a search
  int64_t num_steps = 0;      // candidates looked at, and 64-byte blocks compared
  int64_t num_fallbacks = 0;  // documents that went on with the automaton
};

// Bytes of workspace that a document of this size may take, whatever its symbols.
size_t byte_matching_workspace(int32_t size);

// What is compiled for each CpuLevel.
struct MatcherCode {
  void (*match_bytes)(const ByteDocument&, Workspace&, MatchingWork&);
  // Adds one sequence of byte symbols: equally long queries, keys and match lengths.
  void (*add_statistics)(std::span<const uint8_t> query, std::span<const uint8_t> key, std::span<const int32_t> lengths,
                         MatchStatistics&);
};
extern const MatcherCode kPortableCode;
extern const MatcherCode kAvx2Code;
extern const MatcherCode kAvx512Code;

// The highest level that both the build and this CPU have.
CpuLevel best_cpu_level();
// Returns the code for a level. Throws ArgumentError where the build or this CPU lacks it.
const MatcherCode& matcher_code(CpuLevel level);

}  // namespace rosa::automaton
