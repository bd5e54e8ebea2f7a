// Generator: texts that grow token by token, in the model and the adapters' streaming states. Each new token costs one
// step of the layers, whatever stands before it. Teacher (all keys and values) and student (a ring of the window, and
// what ROSA matches in) alike. Chooses no tokens (continue_texts.h).
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "models/causal_model.h"

namespace rosa::models {

// A saved text belongs to another model, other adapters or another window.
class OtherWeightsError : public base::DataError {
 public:
  using DataError::DataError;
};

// A batch of texts, each of its own length. Keeps references to the model and what the options point to.
//
// A text's results do not depend on the texts beside it. Where rows_are_independent(), they are the same bits also for
// one token at a time and for up to kMaxTogether at once; longer pieces are computed in chunks, whose bits differ.
class Generator {
 public:
  static constexpr int64_t kMaxTogether = 16;
  static constexpr int64_t kDefaultMaxRewind = 64;

  // Of the options, sliding_window, adapters and executor count; documents, controls and left_out are refused
  // (ArgumentError). `max_rewind`: how many tokens of a text can be taken back at any time; each keeps a key and a
  // value of every layer.
  Generator(const CausalModel& model, const ForwardOptions& options, int64_t batch,
            int64_t max_rewind = kDefaultMaxRewind);
  ~Generator();
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;

  // A generator that goes on from here by itself, with the same bits.
  Generator fork() const;

  // Appends int64 [B,n] and returns the n new hidden states after the final norm, [B,n,hidden]: those that
  // CausalModel::hidden_states would give for the whole text, up to rounding. No gradient. Throws DataError for an id
  // outside the vocabulary, before anything is changed.
  at::Tensor append(const at::Tensor& input_ids);

  // Appends to each text its own tokens, or none. Returns for each text the hidden states of its last up to
  // kMaxTogether new tokens, [n,hidden]; undefined for none. A long piece takes memory for the window and a chunk of
  // it.
  std::vector<at::Tensor> append(std::span<const std::vector<int64_t>> tokens);

  // hidden [n,hidden] -> [n,vocab_size], each row by itself.
  at::Tensor logits(const at::Tensor& hidden) const;

  int64_t batch() const;
  // Tokens appended so far.
  int64_t size(int64_t row = 0) const;
  // How many of its latest tokens rewind() can take back from a text now: all, or at least max_rewind.
  int64_t rewindable(int64_t row = 0) const;
  // Takes back the latest tokens of a text: what comes next gets the bits as if they had never been. Throws
  // ArgumentError, and changes nothing, for more than rewindable().
  void rewind(int64_t row, int64_t num_tokens);

  // Whether this model is computed by TokenStep: on the CPU, in float32 or bfloat16.
  bool rows_are_independent() const;
  // Bytes of memory that the texts hold.
  size_t num_bytes() const;

  // Everything of the texts as bytes: versioned, with a checksum, naming the weights they belong to.
  std::vector<std::byte> save() const;
  // Returns the generator that save() wrote; it goes on bit for bit. Throws DataError where the bytes are damaged, cut
  // off or of another version; OtherWeightsError where they belong to another model, other adapters or another window.
  // Takes memory in proportion to the bytes, whatever they say.
  static Generator load(std::span<const std::byte> bytes, const CausalModel& model, const ForwardOptions& options);

 private:
  struct State;
  explicit Generator(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace rosa::models
