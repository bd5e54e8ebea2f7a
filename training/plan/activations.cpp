#include "training/plan/activations.h"

#include <algorithm>
#include <set>

#include "rosa/operator/qkv_estimator.h"
#include "training/losses.h"

namespace rosa::training {
namespace {

constexpr int64_t kFloat = sizeof(float), kDouble = sizeof(double);

// The blocks and rows of models/attention.cpp.
constexpr int64_t kMinBlock = 32, kRowChunk = 1024;

class Planner {
 public:
  explicit Planner(const ActivationInput& input)
      : input_(input),
        model_(input.model),
        num_tokens_(input.sequences * input.length),
        element_(input.element_bytes),
        query_width_(model_.num_attention_heads * model_.head_dim),
        key_width_(model_.num_key_value_heads * model_.head_dim) {}

  ActivationBytes count() {
    ActivationBytes bytes;
    bytes.after_loss = tokens(model_.hidden_size * element_);
    // What the teacher's layers give is there to the end of the loss; the differences from it, for the backward.
    const int64_t aligned = input_.num_aligned_layers * tokens(model_.hidden_size);
    bytes.loss = loss_rest() + (input_.has_logits ? loss_chunk() : 0) + aligned * element_;
    bytes.kept = tables() + tokens(model_.hidden_size * element_ + kFloat);  // of the final norm
    std::set<int64_t> windows;
    for (size_t i = 0; i < input_.flow.layers.size(); ++i) {
      const LayerFlow& layer = input_.flow.layers[i];
      look_through(input_.layer_windows.empty() ? input_.sliding_window : input_.layer_windows.at(i));
      if (windows.insert(window_).second && is_whole()) bytes.kept += mask();
      bytes.kept += is_full() ? kept_by_checkpoint(layer) : kept_besides_parts(layer);
    }
    bytes.kept += aligned * kFloat;
    bytes.backward = std::max(backward_of_norm(), backward_of_last_layer());
    return bytes;
  }

 private:
  bool is_full() const { return input_.checkpointing == models::ActivationCheckpointing::full; }
  bool in_pieces() const { return input_.sequence_chunk > 0; }
  // Whether the attention of a layer with this window sees whole sequences.
  bool is_whole() const { return !in_pieces() || window_ == 0 || sinks() > 0; }

  int64_t tokens(int64_t bytes_of_token) const { return num_tokens_ * bytes_of_token; }

  // Tokens with those that fill the last block of a sequence.
  int64_t padded_tokens() const {
    if (block_ == 0) return num_tokens_;
    return input_.sequences * ((input_.length + block_ - 1) / block_) * block_;
  }

  // From here on a layer with this window is meant.
  void look_through(int64_t window) {
    window_ = window < input_.length ? window : 0;
    const int64_t block = std::max(window_, kMinBlock);
    block_ = window_ > 0 && 2 * block < input_.length ? block : 0;
    has_mask_ = window_ > 0 || input_.has_documents;
  }
  int64_t sinks() const { return window_ > 0 ? std::min(input_.sink_tokens, input_.length) : 0; }
  // Keys that a block of queries looks at.
  int64_t block_keys() const { return 2 * block_ + sinks(); }

  // Rotary tables.
  int64_t tables() const {
    if (in_pieces()) return 0;  // made of each piece
    const int64_t rows = input_.has_documents ? num_tokens_ : input_.length;
    return 2 * rows * model_.head_dim * element_;
  }

  // The attention's mask, which all layers of one window share.
  int64_t mask() const {
    const int64_t rows = input_.has_documents ? num_tokens_ : input_.length;
    if (block_ > 0) {
      const int64_t num_blocks = padded_tokens() / input_.sequences / block_;
      const int64_t texts = input_.has_documents ? input_.sequences : 1;
      return padded_tokens() * block_keys() * element_ + texts * num_blocks * sinks() * input_.length * element_;
    }
    return has_mask_ && input_.length <= kRowChunk ? rows * input_.length * element_ : 0;
  }

  int64_t kept_by_attention(const LayerFlow& layer) const {
    int64_t bytes = 0;
    const bool norms = models::traits(model_.family).query_key_norms;  // of each head, with their inputs
    if (norms && layer.q_proj.output()) bytes += tokens(query_width_ * element_ + model_.num_attention_heads * kFloat);
    if (norms && layer.k_proj.output()) bytes += tokens(key_width_ * element_ + model_.num_key_value_heads * kFloat);
    if (!layer.has_attention_gradient()) return bytes;
    const int64_t own = padded_tokens();
    const int64_t seen = block_ > 0 ? own / block_ * block_keys() : own;
    bytes +=
        own * (2 * query_width_ * element_ + model_.num_attention_heads * kFloat) + seen * 2 * key_width_ * element_;
    if (has_mask_ && block_ == 0 && input_.length > kRowChunk) {
      const int64_t rows = input_.has_documents ? num_tokens_ : input_.length;
      bytes += rows * (input_.length + kRowChunk) / 2 * element_;  // a mask for every chunk of rows
    }
    return bytes;
  }

  // Widths of the adapter's logits and of its output.
  int64_t logits_width() const {
    const models::AdapterConfig& adapter = *input_.adapter;
    return (adapter.num_heads + adapter.num_key_value_heads) * adapter.query_key_bits +
           adapter.num_key_value_heads * adapter.value_bits;
  }
  int64_t output_width() const { return input_.adapter->num_heads * input_.adapter->value_bits; }

  bool wants_positions() const {
    return input_.adapter->exact_value_gradient || find_qkv_estimator(input_.adapter->estimator).needs_positions();
  }

  // Where each head matched and what it retrieved, as the automata give it.
  int64_t hard_result() const {
    const models::AdapterConfig& adapter = *input_.adapter;
    const int64_t symbol = adapter.value_bits <= 8 ? 1 : static_cast<int64_t>(sizeof(int64_t));
    const int64_t position = wants_positions() ? static_cast<int64_t>(sizeof(int32_t)) : 0;
    const int64_t length = models::adapter_gates(adapter).length ? 1 : 0;
    const bool is_mean = adapter.candidates == Candidates::mean;
    const auto counter = static_cast<int64_t>(input_.length <= 32768 ? sizeof(int16_t) : sizeof(int32_t));
    const int64_t retrieved = is_mean ? (1 + adapter.value_bits) * counter : symbol;
    return tokens(adapter.num_heads * (retrieved + 1 + length + position));
  }

  // What the gates of AdapterSet::output keep: the values before them, the gates, and what each is made of.
  int64_t kept_by_gates(const LayerFlow& layer) const {
    if (!layer.gates) return 0;
    const models::AdapterGates gates = models::adapter_gates(*input_.adapter);
    const int64_t heads = input_.adapter->num_heads, hidden = model_.hidden_size;
    const bool is_tied = input_.adapter->agreement == models::Agreement::tied;
    int64_t numbers = output_width() + 2 * heads;
    if (gates.length) numbers += heads * models::kNumLengthBuckets;
    if (gates.hidden || gates.agreement) numbers += hidden;
    if (gates.agreement) numbers += 2 * output_width() + (is_tied ? hidden + heads : 0);
    return tokens(numbers * kFloat);
  }

  // Bits, where there was a match, and the values that are projected.
  int64_t kept_by_adapter_output(const LayerFlow& layer) const {
    if (!layer.has_adapter || !layer.adapter_o.output()) return 0;
    int64_t bytes = tokens(output_width() * kFloat);
    if (layer.adapter_o.weight) bytes += tokens(output_width() * kFloat);
    if (input_.adapter->no_match_embedding) bytes += tokens(input_.adapter->num_heads);
    return bytes + kept_by_gates(layer);
  }

  int64_t kept_by_adapter(const LayerFlow& layer) const {
    if (!layer.has_adapter || !layer.adapter_o.output()) return 0;
    int64_t bytes = kept_by_adapter_output(layer);
    if (!layer.has_logit_gradient()) return bytes;  // fixed hashes
    bytes += tokens(logits_width() * kFloat);
    if (wants_positions()) bytes += tokens(input_.adapter->num_heads * static_cast<int64_t>(sizeof(int32_t)));
    return bytes;
  }

  // The input of the attention and of the adapter: one tensor where both are float32.
  int64_t kept_normed(const LayerFlow& layer) const {
    const bool by_base = layer.q_proj.keeps_input() || layer.k_proj.keeps_input() || layer.v_proj.keeps_input();
    const bool by_adapter = layer.adapter_q.weight || layer.adapter_k.weight || layer.adapter_v.weight;
    int64_t bytes = by_base || (by_adapter && element_ == kFloat) ? tokens(model_.hidden_size * element_) : 0;
    if (by_adapter && element_ != kFloat) bytes += tokens(model_.hidden_size * kFloat);
    return bytes;
  }

  int64_t kept_by_mlp(const LayerFlow& layer) const {
    if (!layer.gate.output()) return 0;
    const int64_t inner = tokens(model_.intermediate_size * element_);
    int64_t bytes = 3 * inner + tokens(model_.hidden_size * element_ + kFloat);
    if (layer.gate.keeps_input() || layer.up.keeps_input()) bytes += tokens(model_.hidden_size * element_);
    if (layer.down.keeps_input()) bytes += inner;
    return bytes;
  }

  // The attention's own output, but where that is padded, made of chunks, or not kept.
  int64_t kept_before_o_proj(const LayerFlow& layer) const {
    const bool is_whole = padded_tokens() == num_tokens_ && (block_ > 0 || !has_mask_ || input_.length <= kRowChunk);
    if (!layer.o_proj.keeps_input() || (layer.has_attention_gradient() && is_whole)) return 0;
    return tokens(query_width_ * element_);
  }

  // What stands between the two matrices of each low-rank pair.
  int64_t kept_by_pairs(const LayerFlow& layer) const {
    int64_t numbers = 0;
    for (const LinearFlow* flow :
         {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj, &layer.gate, &layer.up, &layer.down}) {
      if (flow->low_rank) numbers += input_.lora_rank;
    }
    return tokens(numbers * element_);
  }

  int64_t kept_by_layer(const LayerFlow& layer) const {
    int64_t bytes = kept_normed(layer) + kept_by_attention(layer) + kept_by_adapter(layer) + kept_by_mlp(layer) +
                    kept_before_o_proj(layer) + kept_by_pairs(layer);
    if (layer.normed) bytes += tokens(model_.hidden_size * element_ + kFloat);
    return bytes;
  }

  // What a layer keeps where not all of it is run again.
  int64_t kept_besides_parts(const LayerFlow& layer) const {
    using models::ActivationCheckpointing;
    if (in_pieces()) return kept_in_pieces(layer);
    const int64_t of_hidden = tokens(model_.hidden_size * element_);
    int64_t bytes = kept_by_layer(layer);
    // In their place, each part's input; the norm's is the same tensor.
    if (input_.checkpointing == ActivationCheckpointing::mlp && layer.gate.output()) {
      bytes += of_hidden - kept_by_mlp(layer);
    }
    if (input_.checkpointing == ActivationCheckpointing::attention && layer.o_proj.output()) {
      bytes += of_hidden - kept_by_attention(layer) - kept_before_o_proj(layer);
    }
    return bytes;
  }

  // The inputs of the parts that are computed in pieces, and what is whole between them: the operator, and attention
  // that sees whole sequences.
  int64_t kept_in_pieces(const LayerFlow& layer) const {
    const int64_t of_hidden = tokens(model_.hidden_size * element_);
    const bool joins = layer.has_adapter && input_.adapter->place == models::AdapterPlace::attention;
    const bool mlp = layer.gate.output() || layer.down.output();
    int64_t bytes = joins && mlp ? of_hidden : 0;  // of the MLP alone
    if (layer.normed || layer.o_proj.output() || (!joins && mlp)) bytes += of_hidden;
    if (layer.has_adapter && layer.adapter_o.output()) {
      bytes += of_hidden;
      if (has_estimator(layer)) {
        if (!joins) bytes += of_hidden;
        bytes += tokens((logits_width() + output_width()) * kFloat + input_.adapter->num_heads);
        if (wants_positions()) bytes += tokens(input_.adapter->num_heads * static_cast<int64_t>(sizeof(int32_t)));
      } else {
        bytes += hard_result();
      }
    }
    return is_whole() ? bytes + kept_by_attention(layer) : bytes;
  }

  // Whether logits are kept whole for an estimator, not symbols alone.
  bool has_estimator(const LayerFlow& layer) const {
    return layer.has_logit_gradient() && find_qkv_estimator(input_.adapter->estimator).has_gradient();
  }

  // What autograd keeps of a layer for one piece with its halo, at the fullest.
  int64_t kept_by_piece(const LayerFlow& layer) const {
    ActivationInput of_piece = input_;
    of_piece.length = std::min(input_.length, input_.sequence_chunk + window_);
    of_piece.sequence_chunk = 0;
    Planner planner(of_piece);
    planner.look_through(window_);
    return planner.kept_by_layer(layer) + planner.mask() + planner.tables();
  }

  // The layer's input, and the record of its automata.
  int64_t kept_by_checkpoint(const LayerFlow& layer) const {
    if (!layer.output) return 0;
    return tokens(model_.hidden_size * element_) + (layer.has_adapter ? hard_result() : 0);
  }

  // Final norm: the gradient, and four float32 tensors of its size on the way.
  int64_t backward_of_norm() const { return tokens(model_.hidden_size * (element_ + 4 * kFloat)); }

  // The last layer is the first whose backward runs, when all others still keep what they need; what the loss and the
  // final norm kept is gone. It is fullest while the MLP's product is taken apart; or, when that is gone, while the
  // estimator works.
  int64_t backward_of_last_layer() const {
    const LayerFlow& layer = input_.flow.layers.back();
    const int64_t of_hidden = tokens(model_.hidden_size * element_);
    const int64_t mlp = 3 * tokens(model_.intermediate_size * element_);
    const int64_t adapter =
        layer.has_adapter ? of_hidden + estimator(layer) - kept_by_mlp(layer) - kept_by_adapter_output(layer) : 0;
    // The gradient of the layer's output comes, its value and the loss's gradient go.
    const int64_t own = std::max(mlp, adapter) - of_hidden - tokens(kFloat);
    if (in_pieces()) {
      // The gradients of a part's input and output, beside one piece; or the estimator, which sees whole rows.
      const int64_t piece = kept_by_piece(layer) + own_of_piece();
      const int64_t whole = layer.has_adapter && has_estimator(layer) ? estimator(layer) : 0;
      // Run again, the layer keeps for its parts what it has not got already.
      const int64_t again = is_full() ? std::max<int64_t>(0, kept_in_pieces(layer) - kept_by_checkpoint(layer)) : 0;
      // A gradient of the layer comes for each that goes, as above.
      return std::max(piece, whole) + again;
    }
    if (input_.checkpointing == models::ActivationCheckpointing::mlp) {
      return std::max(mlp + kept_by_mlp(layer), adapter + kept_by_mlp(layer)) - of_hidden - tokens(kFloat);
    }
    if (!is_full()) return own;
    // Run again. Its input and the automata's record are there already, its output is there too.
    const int64_t shared = layer.has_adapter && input_.adapter->no_match_embedding ? input_.adapter->num_heads : 0;
    return own + kept_by_layer(layer) + (layer.normed ? 0 : of_hidden) - tokens(shared);
  }

  // While the MLP's product of a piece is taken apart.
  int64_t own_of_piece() const {
    return input_.sequences * std::min(input_.length, input_.sequence_chunk) * 3 * model_.intermediate_size * element_;
  }

  // The gradient of the bits, and what the estimator makes of it.
  int64_t estimator(const LayerFlow& layer) const {
    if (!layer.has_logit_gradient()) return 0;
    const models::AdapterConfig& adapter = *input_.adapter;
    const int64_t upstream = output_width() * kFloat;
    if (adapter.estimator == "none") return tokens(upstream + logits_width() * kFloat);
    if (adapter.estimator == "bit_flip" || adapter.estimator == "local_counterfactual") {
      // The gradient once more in order, the effects of queries and keys, and eight tensors on the way from those of
      // the queries to their gradient, in float64.
      const int64_t query_width = adapter.num_heads * adapter.query_key_bits;
      const int64_t key_width = adapter.num_key_value_heads * adapter.query_key_bits;
      return tokens(2 * upstream + (9 * query_width + key_width) * kDouble);
    }
    // Rows after tanh and sigmoid, their gradients, and those of the logits.
    return tokens(upstream + 3 * logits_width() * kFloat);
  }

  // Hidden states of teacher and student, and the gradient of the latter.
  int64_t loss_rest() const {
    const int64_t own = model_.hidden_size * element_;
    const int64_t of_teacher = input_.teacher_state_bytes > 0 ? input_.teacher_state_bytes : own;
    return tokens(2 * own + (input_.has_teacher ? of_teacher : 0));
  }

  int64_t loss_chunk() const {
    const int64_t numbers = std::min(input_.chunk_tokens, num_tokens_) * model_.vocab_size;
    const int64_t row = model_.vocab_size * kFloat;
    const int64_t block = std::min(numbers * kFloat, std::max(row, kLossBlockBytes / row * row));
    // Logits of student and teacher, which become the gradient; and what is made of a block of them.
    const int64_t of_lm_head = input_.flow.logits.weight && element_ < kFloat ? numbers * kFloat : 0;
    const int64_t of_block =
        ((input_.has_teacher ? 4 : 1) + (element_ < kFloat ? (input_.has_teacher ? 2 : 1) : 0)) * block;
    return (input_.has_teacher ? 2 : 1) * numbers * element_ + of_lm_head + of_block;
  }

  const ActivationInput& input_;
  const models::ModelConfig& model_;
  int64_t num_tokens_, element_, query_width_, key_width_;
  // Of the layer that is looked at.
  int64_t window_ = 0;
  int64_t block_ = 0;  // of the window's attention; 0: not in blocks
  bool has_mask_ = false;
};

}  // namespace

ActivationBytes activation_bytes(const ActivationInput& input) { return Planner(input).count(); }

}  // namespace rosa::training
