// SymbolEdges: the edges of an automaton's states, by symbol of up to 64 bits.
// A state's edges are a list; the lists longer than kMaxListLength are found through one hash table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rosa::automaton {

class SymbolEdges {
 public:
  static constexpr int32_t kNone = -1;

  // Adds a state without edges, and returns it: 0, 1, 2, ...
  int32_t add_state();
  // Returns the target of the edge, or kNone.
  int32_t find(int32_t state, uint64_t symbol) const;
  // Adds an edge that is not there yet.
  void add(int32_t state, uint64_t symbol, int32_t target);
  // Changes the target of an edge that is there.
  void redirect(int32_t state, uint64_t symbol, int32_t target);
  // Gives `state`, which has no edges, the edges of `source`.
  void copy(int32_t source, int32_t state);

  size_t num_bytes() const {
    return edges_.capacity() * sizeof(Edge) + lists_.capacity() * sizeof(List) + table_.capacity() * sizeof(int32_t);
  }

 private:
  static constexpr int32_t kMaxListLength = 8;

  struct Edge {
    uint64_t symbol;
    int32_t state;
    int32_t target;
    int32_t next;  // the next edge of the same state, or kNone
  };
  struct List {
    int32_t first = kNone;
    int32_t length = 0;
  };

  int32_t find_edge(int32_t state, uint64_t symbol) const;
  uint64_t slot_of(int32_t state, uint64_t symbol) const;
  void insert_hashed(int32_t edge);
  void grow_table();

  std::vector<Edge> edges_;
  std::vector<List> lists_;
  std::vector<int32_t> table_;  // open addressing: edges or kNone; its size is a power of two
  int64_t num_hashed_ = 0;
};

}  // namespace rosa::automaton
