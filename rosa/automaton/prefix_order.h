// PrefixOrder: all prefixes of a growing sequence of keys, in the order of their symbols read from the last to the
// first. Prefixes that end with the same symbols lie side by side there, so that it answers the searches that are too
// slow for KeyChains. O(log n) for every key that comes or goes and for every search, whatever the keys are, and
// however often they are taken back: nothing counts on work that was done before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rosa/automaton/growing_array.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/symbol_sequence.h"

namespace rosa::automaton {

class PrefixOrder {
 public:
  // As KeyChains::search, but never gives up.
  Match search(const SymbolSequence& keys, const Match& before, uint64_t symbol);

  // The same order as it stands beside StreamingPlaces: with the value after each key, whose bits are summed. An order
  // is filled either by search() or by append().
  // Takes in the key at size() and the value after it, of num_bits, the same number always.
  void append(const SymbolSequence& keys, uint64_t value, int32_t num_bits);
  // Returns how many keys taken in end the same `length` symbols as that at `position`, one of them, and adds to
  // sums[j] how many of the values after them have bit j.
  uint32_t count(const SymbolSequence& keys, int32_t position, int32_t length, std::span<uint32_t> sums);
  // The number of keys taken in.
  int32_t size() const { return static_cast<int32_t>(nodes_.size()); }

  // Forgets the keys from `size` on.
  void rewind(int32_t size);

  // Nodes looked at so far: the work done.
  int64_t num_steps() const { return num_steps_; }
  size_t num_bytes() const {
    return sizeof(*this) + nodes_.num_bytes() + values_.num_bytes() + sums_.num_bytes() +
           sorted_.capacity() * sizeof(int32_t);
  }

 private:
  static constexpr int32_t kNone = -1;
  static constexpr int32_t kMaxDepth = 62;

  // The prefix that ends at a position, as a node of a search tree. A label belongs to the node's place in the tree:
  // the root's is kRootLabel, its children's differ by half of that, and so on. So labels compare as the prefixes do.
  struct Node {
    uint64_t label;
    int32_t left;
    int32_t right;
    int32_t size;          // of the subtree
    int32_t common;        // so many last symbols are those of the prefix before it in the order
    int32_t least_common;  // in the subtree
    int32_t latest;        // position in the subtree
  };
  static constexpr uint64_t kRootLabel = uint64_t{1} << kMaxDepth;

  // The way from the root down to a place.
  struct Path {
    int32_t length = 0;
    std::array<int32_t, kMaxDepth + 1> nodes;
    std::array<bool, kMaxDepth + 1> turned_right;  // after the node

    void push(int32_t node, bool turns_right);
    int32_t last_that_turned(bool right) const;  // kNone: none did
  };

  // The string of `symbol` after the prefix that ends at `prefix`; -1: the empty one.
  struct Target {
    uint64_t symbol;
    int32_t prefix;
  };

  uint64_t label_of(int32_t prefix) const { return prefix < 0 ? 0 : nodes_[prefix].label; }
  int32_t size_of(int32_t node) const { return node == kNone ? 0 : nodes_[node].size; }
  int32_t& child(int32_t node, bool right) { return right ? nodes_[node].right : nodes_[node].left; }
  int32_t& link(const Path& path, int32_t depth);
  static uint64_t label_below(uint64_t label, bool right);

  Path path_to(const SymbolSequence& keys, const Target& target);
  int32_t common_with(const SymbolSequence& keys, const Target& target, int32_t node);
  int32_t common_of(const SymbolSequence& keys, int32_t a, int32_t b);
  template <class VisitNode, class VisitTree>
  void visit_right_of(const Path& path, int32_t length, const VisitNode& visit_node, const VisitTree& visit_tree);
  template <class VisitNode, class VisitTree>
  void visit_left_of(const Path& path, int32_t length, const VisitNode& visit_node, const VisitTree& visit_tree);

  void insert(const SymbolSequence& keys, int32_t position);
  void remove(int32_t position);
  void fill_place(Path& path, int32_t depth);
  void update(int32_t node);
  void mend(const Path& path);
  void sort(int32_t node);
  int32_t rebuild(int32_t begin, int32_t end, uint64_t label);

  GrowingArray<Node> nodes_;  // by position
  int32_t num_value_bits_ = 0;
  GrowingArray<uint64_t> values_;  // after each position; empty: there are none
  GrowingArray<uint32_t> sums_;    // of their bits, num_value_bits_ for each node's subtree
  int32_t root_ = kNone;
  std::vector<int32_t> sorted_;  // scratch: the nodes of a subtree that is built anew
  int64_t num_steps_ = 0;
};

}  // namespace rosa::automaton
