// LatestEndForest: the tree of suffix links, with the latest end position of every state.
// A link-cut tree: the states that ended last at the same position form one path, which holds that position once.
// Amortised O(log n) an operation, where writing the position up the links would take O(n).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rosa::automaton {

class LatestEndForest {
 public:
  static constexpr int32_t kNone = -1;

  // Adds a tree of one node, and returns the node: 0, 1, 2, ...
  int32_t add_node();
  // Hangs `leaf`, the root of its tree, below `parent`.
  void hang(int32_t leaf, int32_t parent);
  // Puts `inserted`, a tree of one node, between `node` and its parent; its latest end is that of `node`.
  void insert_above(int32_t node, int32_t inserted);
  // Makes `position` the latest end of `node` and of all that lie above it.
  void mark(int32_t node, int32_t position);
  // Returns the latest end of `node`. It reorders the tree inside, hence not const.
  int32_t latest_end(int32_t node);

  size_t num_bytes() const { return nodes_.capacity() * sizeof(Node); }
  // Rotations so far: the work done.
  int64_t num_steps() const { return num_steps_; }

 private:
  // A node of the splay tree of its path, ordered from the path's top (left) to its bottom (right).
  struct Node {
    int32_t left = kNone;
    int32_t right = kNone;
    int32_t parent = kNone;      // at a splay tree's root: the node above the path's top
    int32_t latest_end = kNone;  // valid at a splay tree's root only
  };

  bool is_splay_root(int32_t node) const;
  void rotate(int32_t node);
  void splay(int32_t node);

  std::vector<Node> nodes_;
  int64_t num_steps_ = 0;
};

}  // namespace rosa::automaton
