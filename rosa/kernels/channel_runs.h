// The runs along diagonals that both kernels of channel_flips_impl.h and channel_flips_dense.h follow; see the first
// for what they are. Includes no header with code of its own besides the lanes.
#pragma once

#include "rosa/kernels/channel_flips_problem.h"
#include "rosa/kernels/flip_distances.h"

namespace rosa::kernels {

template <template <class> class LanesOf, class Element>
class ChannelRuns : protected FlipDistances<LanesOf<Element>, Element> {
 protected:
  using Lanes = LanesOf<Element>;
  using Base = FlipDistances<Lanes, Element>;
  using Vector = typename Lanes::Vector;
  using Mask = typename Lanes::Mask;
  using Base::distances;
  using Base::first_distance;
  using Base::kLanes;

  explicit ChannelRuns(const FlipProblem& problem) : problem_(problem), length_(problem.length) {
    Element** const arrays[] = {&run_, &mended_, &remended_, &lengths_, &reversed_};
    for (int k = 0; k < 5; ++k) *arrays[k] = static_cast<Element*>(problem.runs[k]);
    for (int32_t k = 0; k < length_ + kLanes; ++k) {
      run_[k] = mended_[k] = remended_[k] = 0;
      reversed_[k] = k < length_ ? problem.bits[length_ - 1 - k] : 2;  // 2 equals no bit
    }
  }

  // Goes to row `row`: its runs, the string's best match and output. Returns whether the match of the row before goes
  // on.
  bool advance(int32_t row) {
    row_ = row;
    bit_ = problem_.bits[row_];
    num_vectors_ = (row_ + kLanes - 1) / kLanes;
    const bool extends = base_length_ > 0 && problem_.bits[row_ - base_] == bit_;
    const Vector longest = advance_runs();
    if (extends) {
      ++base_length_;
    } else {
      base_length_ = Lanes::largest(longest);
      base_ = base_length_ > 0 ? first_distance(run_, base_length_) : 0;
    }
    problem_.outputs[row_] = base_ > 0 ? static_cast<int8_t>(problem_.bits[row_ - base_ + 1]) : int8_t{-1};
    return extends;
  }

  Vector run(int32_t v) const { return Lanes::load(run_ + v * kLanes); }
  Vector mended(int32_t v) const { return Lanes::load(mended_ + v * kLanes); }
  Vector remended(int32_t v) const { return Lanes::load(remended_ + v * kLanes); }

  // The output of this row where `flip` matches at distance d.
  int32_t flipped_output(int32_t flip, int32_t d) const {
    const int32_t source = row_ - d + 1;
    return d == 0 ? -1 : problem_.bits[source] ^ static_cast<int32_t>(source == flip);
  }

  const FlipProblem& problem_;
  int32_t length_;
  Element *run_, *mended_, *remended_;  // at index d - 1
  Element* lengths_;                    // of the search under way
  Element* reversed_;                   // the bits, last first
  int32_t row_ = 0, bit_ = 0, num_vectors_ = 0;
  int32_t base_ = 0, base_length_ = 0;  // the string's best distance and length; 0: no match

 private:
  // The runs of this row from those of the row before; returns their largest, lane by lane.
  Vector advance_runs() {
    const Vector one = Lanes::broadcast(1), bit = Lanes::broadcast(bit_);
    const Element* const past = reversed_ + (length_ - row_);  // past[d - 1] = x[row - d]
    Vector longest = Lanes::broadcast(0);
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const Vector distance = distances(v);
      // Distances beyond the row stay 0 until their first cell.
      const Mask exists = Lanes::at_least(Lanes::broadcast(row_), distance);
      const Mask equal = Lanes::equal(Lanes::load(past + v * kLanes), bit);
      const Vector longer = Lanes::add(run(v), one), mended_longer = Lanes::add(mended(v), one);
      // After a mismatch: the one d rows before is inverted as well.
      const Vector reached = Lanes::smaller(longer, distance);
      const Vector inverted = Lanes::select(Lanes::equal(longer, distance), mended_longer, reached);
      const Vector twice = Lanes::select(equal, Lanes::add(remended(v), one), inverted);
      const Vector extended = Lanes::keep(equal, longer);
      Lanes::store(remended_ + v * kLanes, Lanes::keep(exists, twice));
      Lanes::store(mended_ + v * kLanes, Lanes::keep(exists, Lanes::select(equal, mended_longer, longer)));
      Lanes::store(run_ + v * kLanes, extended);  // the padding of `reversed` ends every run beyond the row
      longest = Lanes::larger(longest, extended);
    }
    return longest;
  }
};

}  // namespace rosa::kernels
