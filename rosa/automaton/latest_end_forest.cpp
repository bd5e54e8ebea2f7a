#include "rosa/automaton/latest_end_forest.h"

namespace rosa::automaton {

int32_t LatestEndForest::add_node() {
  nodes_.emplace_back();
  return static_cast<int32_t>(nodes_.size()) - 1;
}

void LatestEndForest::hang(int32_t leaf, int32_t parent) { nodes_[leaf].parent = parent; }

void LatestEndForest::insert_above(int32_t node, int32_t inserted) {
  splay(node);
  const int32_t above = nodes_[node].left;
  nodes_[inserted].left = above;
  if (above != kNone) nodes_[above].parent = inserted;
  nodes_[inserted].parent = node;
  nodes_[node].left = inserted;
}

void LatestEndForest::mark(int32_t node, int32_t position) {
  int32_t below = kNone;
  for (int32_t top = node; top != kNone; top = nodes_[top].parent) {
    splay(top);
    // What hung below on the old path becomes a path of its own and keeps the old position.
    const int32_t cut = nodes_[top].right;
    if (cut != kNone) nodes_[cut].latest_end = nodes_[top].latest_end;
    nodes_[top].right = below;
    below = top;
  }
  nodes_[below].latest_end = position;
  splay(node);
}

int32_t LatestEndForest::latest_end(int32_t node) {
  splay(node);
  return nodes_[node].latest_end;
}

bool LatestEndForest::is_splay_root(int32_t node) const {
  const int32_t parent = nodes_[node].parent;
  return parent == kNone || (nodes_[parent].left != node && nodes_[parent].right != node);
}

void LatestEndForest::rotate(int32_t node) {
  ++num_steps_;
  const int32_t parent = nodes_[node].parent;
  const int32_t grandparent = nodes_[parent].parent;
  if (is_splay_root(parent)) {
    nodes_[node].latest_end = nodes_[parent].latest_end;
  } else if (nodes_[grandparent].left == parent) {
    nodes_[grandparent].left = node;
  } else {
    nodes_[grandparent].right = node;
  }
  const bool is_left = nodes_[parent].left == node;
  int32_t& inner = is_left ? nodes_[node].right : nodes_[node].left;
  if (inner != kNone) nodes_[inner].parent = parent;
  (is_left ? nodes_[parent].left : nodes_[parent].right) = inner;
  inner = parent;
  nodes_[parent].parent = node;
  nodes_[node].parent = grandparent;
}

void LatestEndForest::splay(int32_t node) {
  while (!is_splay_root(node)) {
    const int32_t parent = nodes_[node].parent;
    if (!is_splay_root(parent)) {
      const int32_t grandparent = nodes_[parent].parent;
      const bool same_side = (nodes_[parent].left == node) == (nodes_[grandparent].left == parent);
      rotate(same_side ? parent : node);
    }
    rotate(node);
  }
}

}  // namespace rosa::automaton
