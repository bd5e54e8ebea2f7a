#include "parallel/replicas.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <sstream>
#include <vector>

#include "base/checksum.h"

namespace rosa::parallel {

using base::concat;

namespace {

// The first line where two texts differ, shown from both.
std::string first_difference(const std::string& ours, const std::string& theirs) {
  std::istringstream our_lines(ours);
  std::istringstream their_lines(theirs);
  std::string our_line;
  std::string their_line;
  for (int line = 1;; ++line) {
    const bool more_of_ours = static_cast<bool>(std::getline(our_lines, our_line));
    const bool more_of_theirs = static_cast<bool>(std::getline(their_lines, their_line));
    if (!more_of_ours && !more_of_theirs) return "in the ends of lines";
    if (!more_of_ours) our_line = "(nothing)";
    if (!more_of_theirs) their_line = "(nothing)";
    if (our_line != their_line)
      return concat("in line ", line, ": rank 0 has '", our_line, "', got '", their_line, "'");
  }
}

}  // namespace

void compare_across_ranks(Communicator& communicator, const std::string& what, const std::string& text) {
  const std::vector<std::string> texts = communicator.all_gather_text(text);
  std::string differences;
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    if (texts[rank] == texts[0]) continue;
    differences += concat(differences.empty() ? "" : "; ", "rank ", rank, " differs from rank 0 ",
                          first_difference(texts[0], texts[rank]));
  }
  base::require<base::ConfigError>(differences.empty(), "the ranks do not agree in their ", what, ": ", differences,
                                   ". Start every rank from the same program, files and kind of machine");
}

void broadcast_parameters(Communicator& communicator, const std::map<std::string, at::Tensor>& parameters, int root) {
  std::ostringstream form;
  for (const auto& [name, tensor] : parameters) {
    base::require(tensor.defined(), "broadcast_parameters: ", name, " is undefined");
    form << name << ' ' << tensor.sizes() << ' ' << c10::toString(tensor.scalar_type()) << '\n';
  }
  compare_across_ranks(communicator, "parameters", form.str());
  for (const auto& [name, tensor] : parameters) communicator.broadcast(tensor, root);
}

namespace {

// One hash a tensor, in name order, of its bytes whatever the device.
at::Tensor hashes_of(const std::map<std::string, at::Tensor>& tensors) {
  at::Tensor hashes = at::empty({static_cast<int64_t>(tensors.size())}, at::kLong);
  int64_t* hash = hashes.data_ptr<int64_t>();
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor values = tensor.detach().cpu().contiguous();
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes());
    *hash++ = static_cast<int64_t>(base::checksum(bytes));
  }
  return hashes;
}

// The rank whose hashes most ranks have; the lowest in a tie.
size_t majority_rank(const std::vector<at::Tensor>& hashes) {
  size_t best = 0;
  int64_t most = 0;
  for (size_t rank = 0; rank < hashes.size(); ++rank) {
    const auto equal = std::count_if(hashes.begin(), hashes.end(),
                                     [&](const at::Tensor& other) { return at::equal(other, hashes[rank]); });
    if (equal > most) most = equal, best = rank;
  }
  return best;
}

// "'a', 'b' and 3 more"
std::string differing_tensors(const at::Tensor& hashes, const at::Tensor& reference,
                              const std::map<std::string, at::Tensor>& tensors) {
  constexpr int kMaxNamed = 3;
  std::string text;
  int count = 0;
  int64_t index = 0;
  for (const auto& [name, tensor] : tensors) {
    if (hashes[index].item<int64_t>() != reference[index].item<int64_t>() && ++count <= kMaxNamed) {
      text += concat(count == 1 ? "'" : ", '", name, "'");
    }
    ++index;
  }
  return count > kMaxNamed ? concat(text, " and ", count - kMaxNamed, " more") : text;
}

}  // namespace

void compare_replicas(Communicator& communicator, const std::map<std::string, at::Tensor>& tensors,
                      const std::string& when) {
  const std::vector<at::Tensor> hashes = communicator.all_gather(hashes_of(tensors));
  const at::Tensor& reference = hashes[majority_rank(hashes)];
  std::string differences;
  for (size_t rank = 0; rank < hashes.size(); ++rank) {
    if (at::equal(hashes[rank], reference)) continue;
    differences += concat(differences.empty() ? "" : "; ", "rank ", rank, " in ",
                          differing_tensors(hashes[rank], reference, tensors));
  }
  base::require<base::NumericError>(differences.empty(), "the ranks' weights have drifted apart, seen ", when, ": ",
                                    differences,
                                    ". All earlier checkpoints since the last comparison are in doubt; a device or "
                                    "memory of that rank's host may be defective");
}

}  // namespace rosa::parallel
