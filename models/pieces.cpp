#include "models/pieces.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "base/error.h"

namespace rosa::models {
namespace {

using torch::autograd::variable_list;

// A part and the pieces it is computed in. Autograd's context owns it.
struct Part : torch::CustomClassHolder {
  PieceFunction function;
  size_t num_inputs = 0;
  int64_t length = 0;
  PieceSize size;

  void for_each_piece(const std::function<void(const Piece&)>& body) const {
    for (int64_t first = 0; first < length; first += size.positions) {
      body({first, std::min(size.positions, length - first), std::min(size.halo, first)});
    }
  }
  bool is_whole() const { return size.positions >= length; }
};

// Of a piece with what it looks at before.
at::Tensor seen(const at::Tensor& whole, const Piece& piece) {
  return whole.narrow(1, piece.first - piece.before, piece.before + piece.count);
}

variable_list forward_in_pieces(const Part& part, const variable_list& inputs) {
  if (part.is_whole()) return part.function({0, part.length, 0}, inputs);
  variable_list outputs;
  part.for_each_piece([&](const Piece& piece) {
    variable_list own;
    for (const at::Tensor& input : inputs) own.push_back(seen(input, piece));
    const variable_list results = part.function(piece, own);
    for (size_t i = 0; i < results.size(); ++i) {
      base::require(results[i].size(1) == piece.count, "a piece of ", piece.count, " positions gave ",
                    results[i].size(1));
      if (i == outputs.size()) {
        std::vector<int64_t> sizes = results[i].sizes().vec();
        sizes[1] = part.length;
        outputs.push_back(at::empty(sizes, results[i].options()));
      }
      outputs[i].narrow(1, piece.first, piece.count).copy_(results[i]);
    }
  });
  return outputs;
}

// Not in place: a gradient may share its memory with another.
void add_to(at::Tensor& sum, const at::Tensor& term) {
  if (term.defined()) sum = sum.defined() ? sum + term : term;
}

class InPieces : public torch::autograd::Function<InPieces> {
 public:
  // `tensors`: the inputs, then the parameters.
  static variable_list forward(torch::autograd::AutogradContext* context, at::TensorList tensors,
                               const c10::intrusive_ptr<Part>& part) {
    const variable_list all = tensors.vec();
    context->save_for_backward(all);
    context->saved_data["part"] = c10::IValue::make_capsule(part);
    return forward_in_pieces(*part, {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(part->num_inputs)});
  }

  static variable_list backward(torch::autograd::AutogradContext* context, const variable_list& output_gradients) {
    const variable_list tensors = context->get_saved_variables();
    const auto holder = c10::static_intrusive_pointer_cast<Part>(context->saved_data["part"].toCapsule());
    const Part& part = *holder;
    variable_list gradients(tensors.size() + 1);  // one of the part itself
    const bool has_gradient = std::any_of(output_gradients.begin(), output_gradients.end(),
                                          [](const at::Tensor& gradient) { return gradient.defined(); });
    if (has_gradient) {
      part.for_each_piece([&](const Piece& piece) { add_piece(part, piece, tensors, output_gradients, gradients); });
    }
    return gradients;
  }

 private:
  static void add_piece(const Part& part, const Piece& piece, const variable_list& tensors,
                        const variable_list& output_gradients, variable_list& gradients) {
    variable_list inputs, wanted;
    std::vector<size_t> places;  // of the wanted among the tensors
    for (size_t i = 0; i < tensors.size(); ++i) {
      const bool needs_gradient = tensors[i].defined() && tensors[i].requires_grad();
      at::Tensor own = tensors[i];
      if (i < part.num_inputs) {
        const at::Tensor plain = tensors[i].detach();
        own = (part.is_whole() ? plain : seen(plain, piece)).requires_grad_(needs_gradient);
        inputs.push_back(own);
      }
      if (!needs_gradient) continue;
      wanted.push_back(own);
      places.push_back(i);
    }
    variable_list outputs, upstream, found;
    {
      const at::AutoGradMode with_gradient(true);
      const variable_list results = part.function(piece, inputs);
      for (size_t i = 0; i < results.size(); ++i) {
        if (!output_gradients[i].defined() || !results[i].requires_grad()) continue;
        outputs.push_back(results[i]);
        upstream.push_back(part.is_whole() ? output_gradients[i]
                                           : output_gradients[i].narrow(1, piece.first, piece.count));
      }
      if (outputs.empty()) return;
      found = torch::autograd::grad(outputs, wanted, upstream, /*retain_graph=*/false, /*create_graph=*/false,
                                    /*allow_unused=*/true);
    }
    const at::NoGradGuard no_gradient;
    for (size_t i = 0; i < found.size(); ++i) {
      at::Tensor& sum = gradients[places[i]];
      if (places[i] >= part.num_inputs || part.is_whole()) {
        add_to(sum, found[i]);
      } else if (found[i].defined()) {
        const at::Tensor& whole = tensors[places[i]];
        if (!sum.defined()) sum = at::zeros(whole.sizes(), whole.options().requires_grad(false));
        seen(sum, piece).add_(found[i]);
      }
    }
  }
};

}  // namespace

std::vector<at::Tensor> run_in_pieces(PieceFunction part, const std::vector<at::Tensor>& inputs,
                                      const std::vector<at::Tensor>& parameters, const PieceSize& size) {
  base::require(size.positions > 0 && size.halo >= 0, "pieces of ", size.positions, " positions with a halo of ",
                size.halo, "; expected at least 1 and 0");
  base::require(!inputs.empty(), "a part needs an input");
  auto holder = c10::make_intrusive<Part>();
  holder->function = std::move(part);
  holder->num_inputs = inputs.size();
  holder->length = inputs.front().size(1);
  holder->size = size;
  std::vector<at::Tensor> tensors = inputs;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.defined() && parameter.requires_grad()) tensors.push_back(parameter);
  }
  const bool differentiate =
      at::GradMode::is_enabled() &&
      std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) { return tensor.requires_grad(); });
  if (!differentiate) return forward_in_pieces(*holder, inputs);
  return InPieces::apply(at::TensorList(tensors), holder);
}

}  // namespace rosa::models
