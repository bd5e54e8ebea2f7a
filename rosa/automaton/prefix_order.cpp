#include "rosa/automaton/prefix_order.h"

#include <algorithm>
#include <limits>

namespace rosa::automaton {
namespace {

// Whether a subtree of that size may have a child of this one. At 2^30 nodes the depth is 57 at most.
bool is_balanced(int32_t child_size, int32_t size) { return int64_t{10} * child_size <= int64_t{7} * size + 5; }

}  // namespace

void PrefixOrder::Path::push(int32_t node, bool turns_right) {
  nodes[length] = node;
  turned_right[length] = turns_right;
  ++length;
}

int32_t PrefixOrder::Path::last_that_turned(bool right) const {
  for (int32_t i = length - 1; i >= 0; --i) {
    if (turned_right[i] == right) return nodes[i];
  }
  return kNone;
}

// Returns what points at the place of that depth.
int32_t& PrefixOrder::link(const Path& path, int32_t depth) {
  return depth == 0 ? root_ : child(path.nodes[depth - 1], path.turned_right[depth - 1]);
}

uint64_t PrefixOrder::label_below(uint64_t label, bool right) {
  const uint64_t step = (label & (~label + 1)) / 2;
  return right ? label + step : label - step;
}

// Returns the way to the place of the target: between the last node that turned right and the last that did not.
PrefixOrder::Path PrefixOrder::path_to(const SymbolSequence& keys, const Target& target) {
  Path path;
  const uint64_t label = label_of(target.prefix);
  for (int32_t node = root_; node != kNone;) {
    ++num_steps_;
    const uint64_t key = keys[node];
    const bool right = key != target.symbol ? key < target.symbol : label_of(node - 1) <= label;
    path.push(node, right);
    node = child(node, right);
  }
  return path;
}

// Returns how many last symbols of the target and of a node are equal; 0 for kNone.
int32_t PrefixOrder::common_with(const SymbolSequence& keys, const Target& target, int32_t node) {
  if (node == kNone || keys[node] != target.symbol) return 0;
  return 1 + common_of(keys, node - 1, target.prefix);
}

// Returns how many last symbols of two prefixes are equal: the least of what neighbours between them have in common.
int32_t PrefixOrder::common_of(const SymbolSequence& keys, int32_t a, int32_t b) {
  constexpr int32_t kShort = 64;
  const int32_t shorter = std::min(a, b) + 1;
  if (shorter == 0 || a == b) return shorter;
  const int32_t common = keys.common_suffix(a, b, std::min(shorter, kShort));
  if (common < kShort) return common;
  const uint64_t low = std::min(nodes_[a].label, nodes_[b].label), high = std::max(nodes_[a].label, nodes_[b].label);
  int32_t top = root_;
  for (; nodes_[top].label < low || nodes_[top].label > high; top = child(top, nodes_[top].label < low)) ++num_steps_;
  constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
  int32_t least = nodes_[top].label == low ? kMost : nodes_[top].common;
  const auto take_all_below = [&](int32_t node) {
    if (node != kNone) least = std::min(least, nodes_[node].least_common);
  };
  for (int32_t node = nodes_[top].label == low ? kNone : nodes_[top].left; node != kNone; ++num_steps_) {
    const bool is_above = nodes_[node].label > low, is_low = nodes_[node].label == low;
    if (is_above) least = std::min(least, nodes_[node].common);
    if (is_above || is_low) take_all_below(nodes_[node].right);
    node = is_low ? kNone : child(node, !is_above);
  }
  for (int32_t node = nodes_[top].label == high ? kNone : nodes_[top].right; node != kNone; ++num_steps_) {
    const bool is_in = nodes_[node].label <= high;
    if (is_in) least = std::min(least, nodes_[node].common);
    if (is_in) take_all_below(nodes_[node].left);
    node = nodes_[node].label == high ? kNone : child(node, is_in);
  }
  return least;
}

// Visits the nodes after the place, the first of which is of use, up to the first that has fewer symbols than `length`
// in common with the one before it: one by one, or whole subtrees.
template <class VisitNode, class VisitTree>
void PrefixOrder::visit_right_of(const Path& path, int32_t length, const VisitNode& visit_node,
                                 const VisitTree& visit_tree) {
  bool is_first = true;
  for (int32_t i = path.length - 1; i >= 0; --i) {
    const int32_t node = path.nodes[i];
    if (path.turned_right[i]) continue;
    ++num_steps_;
    if (!is_first && nodes_[node].common < length) return;
    is_first = false;
    visit_node(node);
    int32_t below = nodes_[node].right;
    if (below == kNone) continue;
    if (nodes_[below].least_common >= length) {
      visit_tree(below);
      continue;
    }
    while (below != kNone) {  // the end is in there
      ++num_steps_;
      const int32_t left = nodes_[below].left;
      if (left != kNone && nodes_[left].least_common < length) {
        below = left;
        continue;
      }
      if (left != kNone) visit_tree(left);
      if (nodes_[below].common < length) break;
      visit_node(below);
      below = nodes_[below].right;
    }
    return;
  }
}

// The same before the place, where what a node has in common with the one before it tells whether to go on.
template <class VisitNode, class VisitTree>
void PrefixOrder::visit_left_of(const Path& path, int32_t length, const VisitNode& visit_node,
                                const VisitTree& visit_tree) {
  for (int32_t i = path.length - 1; i >= 0; --i) {
    const int32_t node = path.nodes[i];
    if (!path.turned_right[i]) continue;
    ++num_steps_;
    visit_node(node);
    if (nodes_[node].common < length) return;
    int32_t below = nodes_[node].left;
    if (below == kNone) continue;
    if (nodes_[below].least_common >= length) {
      visit_tree(below);
      continue;
    }
    while (below != kNone) {  // the end is in there
      ++num_steps_;
      const int32_t right = nodes_[below].right;
      if (right != kNone && nodes_[right].least_common < length) {
        below = right;
        continue;
      }
      if (right != kNone) visit_tree(right);
      visit_node(below);
      if (nodes_[below].common < length) break;
      below = nodes_[below].left;
    }
    return;
  }
}

Match PrefixOrder::search(const SymbolSequence& keys, const Match& before, uint64_t symbol) {
  for (auto i = static_cast<int32_t>(nodes_.size()); i < keys.size(); ++i) insert(keys, i);
  const Target target{symbol, before.length > 0 ? before.position : -1};
  const Path path = path_to(keys, target);
  const int32_t common_before = common_with(keys, target, path.last_that_turned(true));
  const int32_t common_after = common_with(keys, target, path.last_that_turned(false));
  const int32_t length = std::min(before.length + 1, std::max(common_before, common_after));
  if (length == 0) return {};
  int32_t latest = kNone;
  const auto take = [&](int32_t node) { latest = std::max(latest, node); };
  const auto take_tree = [&](int32_t node) { latest = std::max(latest, nodes_[node].latest); };
  if (common_before >= length) visit_left_of(path, length, take, take_tree);
  if (common_after >= length) visit_right_of(path, length, take, take_tree);
  return {latest, length};
}

void PrefixOrder::append(const SymbolSequence& keys, uint64_t value, int32_t num_bits) {
  num_value_bits_ = num_bits;
  values_.push_back(value);
  for (int32_t bit = 0; bit < num_bits; ++bit) sums_.push_back(value >> bit & 1);
  insert(keys, size());
}

uint32_t PrefixOrder::count(const SymbolSequence& keys, int32_t position, int32_t length, std::span<uint32_t> sums) {
  const Target target{keys[position], position - 1};
  const Path path = path_to(keys, target);  // right after the position itself
  uint32_t count = 0;
  const auto take = [&](int32_t node) {
    ++count;
    for (int32_t bit = 0; bit < num_value_bits_; ++bit) sums[bit] += values_[node] >> bit & 1;
  };
  const auto take_tree = [&](int32_t node) {
    count += static_cast<uint32_t>(nodes_[node].size);
    const uint32_t* tree = sums_.data() + int64_t{node} * num_value_bits_;
    for (int32_t bit = 0; bit < num_value_bits_; ++bit) sums[bit] += tree[bit];
  };
  visit_left_of(path, length, take, take_tree);
  const int32_t after = path.last_that_turned(false);
  if (after != kNone && nodes_[after].common >= length) visit_right_of(path, length, take, take_tree);
  return count;
}

void PrefixOrder::insert(const SymbolSequence& keys, int32_t position) {
  const Target target{keys[position], position - 1};
  Path path = path_to(keys, target);
  const int32_t before = path.last_that_turned(true), after = path.last_that_turned(false);
  // What two neighbours have in common is the lesser of what they have in common with the one between them.
  const int32_t common_before = common_with(keys, target, before);
  if (after != kNone && common_before <= nodes_[after].common) {
    nodes_[after].common = common_with(keys, target, after);
  }
  const uint64_t label =
      path.length == 0 ? kRootLabel
                       : label_below(nodes_[path.nodes[path.length - 1]].label, path.turned_right[path.length - 1]);
  nodes_.push_back({label, kNone, kNone, 1, common_before, common_before, position});
  link(path, path.length) = position;
  mend(path);
}

// Forgets the last position.
void PrefixOrder::remove(int32_t position) {
  Path path;
  const uint64_t label = nodes_[position].label;
  for (int32_t node = root_; node != position; ++num_steps_) {
    const bool right = nodes_[node].label < label;
    path.push(node, right);
    node = child(node, right);
  }
  int32_t after = path.last_that_turned(false);
  for (int32_t node = nodes_[position].right; node != kNone; node = nodes_[node].left) after = node;
  if (after != kNone) nodes_[after].common = std::min(nodes_[after].common, nodes_[position].common);
  path.push(position, true);
  fill_place(path, path.length - 1);
  nodes_.truncate(position);
  mend(path);
}

// Takes the last node of the path off its place. The next one in the order takes the place, that one's place is filled
// in the same way, and so on down to a leaf. Each takes over the label of its new place.
void PrefixOrder::fill_place(Path& path, int32_t depth) {
  Node place = nodes_[path.nodes[depth]];
  while (place.left != kNone || place.right != kNone) {
    const bool right = place.right != kNone;
    path.turned_right[depth] = right;
    for (int32_t node = right ? place.right : place.left; node != kNone; node = child(node, !right)) {
      ++num_steps_;
      path.push(node, !right);
    }
    const int32_t taker = path.nodes[path.length - 1];
    const Node next_place = nodes_[taker];
    nodes_[taker].label = place.label;
    nodes_[taker].left = place.left;
    nodes_[taker].right = place.right;
    link(path, depth) = taker;
    path.nodes[depth] = taker;
    place = next_place;
    depth = path.length - 1;
  }
  link(path, depth) = kNone;
  path.length = depth;
}

void PrefixOrder::update(int32_t index) {
  Node& node = nodes_[index];
  node.size = 1;
  node.least_common = node.common;
  node.latest = index;
  for (const int32_t below : {node.left, node.right}) {
    if (below == kNone) continue;
    node.size += nodes_[below].size;
    node.least_common = std::min(node.least_common, nodes_[below].least_common);
    node.latest = std::max(node.latest, nodes_[below].latest);
  }
  if (values_.empty()) return;
  uint32_t* sums = &sums_[int64_t{index} * num_value_bits_];
  for (int32_t bit = 0; bit < num_value_bits_; ++bit) {
    sums[bit] = values_[index] >> bit & 1;
    if (node.left != kNone) sums[bit] += sums_[int64_t{node.left} * num_value_bits_ + bit];
    if (node.right != kNone) sums[bit] += sums_[int64_t{node.right} * num_value_bits_ + bit];
  }
}

// Brings what the nodes of a path know of their subtrees up to date, and builds the highest of these anew that has got
// out of balance.
void PrefixOrder::mend(const Path& path) {
  int32_t highest = kNone;
  for (int32_t i = path.length - 1; i >= 0; --i) {
    const int32_t node = path.nodes[i];
    update(node);
    const int32_t greater = std::max(size_of(nodes_[node].left), size_of(nodes_[node].right));
    if (!is_balanced(greater, nodes_[node].size)) highest = i;
  }
  if (highest == kNone) return;
  const int32_t node = path.nodes[highest];
  sorted_.clear();
  sort(node);
  link(path, highest) = rebuild(0, static_cast<int32_t>(sorted_.size()), nodes_[node].label);
}

// Appends the nodes of a subtree to sorted_, in their order.
void PrefixOrder::sort(int32_t node) {
  for (; node != kNone; node = nodes_[node].right) {
    sort(nodes_[node].left);
    sorted_.push_back(node);
  }
}

// Builds a subtree of these nodes of sorted_, and returns its root.
int32_t PrefixOrder::rebuild(int32_t begin, int32_t end, uint64_t label) {
  if (begin == end) return kNone;
  ++num_steps_;
  const int32_t middle = begin + (end - begin) / 2;
  const int32_t node = sorted_[middle];
  nodes_[node].label = label;
  nodes_[node].left = rebuild(begin, middle, label_below(label, false));
  nodes_[node].right = rebuild(middle + 1, end, label_below(label, true));
  update(node);
  return node;
}

void PrefixOrder::rewind(int32_t size) {
  if (size == 0) {
    root_ = kNone;
    nodes_.clear();
  }
  while (this->size() > size) remove(this->size() - 1);
  if (values_.empty()) return;
  values_.truncate(this->size());
  sums_.truncate(int64_t{this->size()} * num_value_bits_);
}

}  // namespace rosa::automaton
