// The one fixed order in which sums over the micro-batches of a global batch are taken, so that any number of ranks
// gives the same bits; and which rank has which micro-batches. Sends no gradients (tree_reduction.cpp does).
//
// The order: leaf i is micro-batch i; leaves merge like a binary counter (two complete neighbouring subtrees of equal
// size become one); the complete subtrees left at the end are added from the smallest (last) to the largest (first).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "parallel/communicator.h"

namespace rosa::parallel {

// The run [first, end) of micro-batches that `rank` owns. Throws ConfigError, which lists the numbers of ranks and of
// micro-batches that would work, unless world_size divides num_micro_batches.
std::pair<int64_t, int64_t> owned_micro_batches(int64_t num_micro_batches, int rank, int world_size);

// A complete subtree: leaves [first, first + size), size a power of two that divides first.
struct TreeNode {
  int64_t first = 0;
  int64_t size = 1;
};

// Appends `node`'s leaves to the run that ends where it begins: merges trailing nodes like a binary counter and calls
// add(into, from) (indices into `nodes` before the merge) for each pair that becomes one.
template <class Add>
void push_tree_node(std::vector<TreeNode>& nodes, TreeNode node, const Add& add) {
  nodes.push_back(node);
  while (nodes.size() >= 2) {
    TreeNode& left = nodes[nodes.size() - 2];
    const TreeNode right = nodes.back();
    if (left.size != right.size || left.first % (2 * left.size) != 0) return;
    add(nodes.size() - 2, nodes.size() - 1);
    left.size *= 2;
    nodes.pop_back();
  }
}

// The maximal aligned subtrees of leaves [first, end), in leaf order.
std::vector<TreeNode> maximal_subtrees(int64_t first, int64_t end);

// Complete neighbouring subtrees and their sums, merged like a binary counter as further ones come.
class TreeSums {
 public:
  TreeSums() = default;
  // `sums` belong to `nodes`.
  TreeSums(std::vector<TreeNode> nodes, std::vector<at::Tensor> sums);

  // Appends a subtree that begins where the last one ends. The tensors are added in place: they may be overwritten.
  void push(TreeNode node, at::Tensor sum);
  // Adds what is left, from the smallest (last) subtree to the largest (first), in place, and returns the sum.
  at::Tensor fold() const;

  const std::vector<TreeNode>& nodes() const { return nodes_; }
  const std::vector<at::Tensor>& sums() const { return sums_; }

 private:
  std::vector<TreeNode> nodes_;
  std::vector<at::Tensor> sums_;
};

// Sums values (losses, counts) of the micro-batches in the order 0, 1, 2 ... in float64: `owned_values` holds this
// rank's micro-batches in order, each with the same number of values on every rank; every rank gets the sums, with
// equal bits for any number of ranks. Collective: every rank calls it.
std::vector<double> sum_in_micro_batch_order(Communicator& communicator, int64_t num_micro_batches,
                                             const std::vector<std::vector<double>>& owned_values);

}  // namespace rosa::parallel
