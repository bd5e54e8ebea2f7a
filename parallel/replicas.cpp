#include "parallel/replicas.h"

#include <sstream>

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

}  // namespace rosa::parallel
