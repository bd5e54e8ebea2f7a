// Flips of short channels (see channel_flips_impl.h). In each row the best distances of all flips are found side by
// side; the lane says how many rows ago, `a`, the bit was flipped. The cost hardly depends on the bits. Includes no
// header with code of its own besides the lanes.
#pragma once

#include "rosa/kernels/channel_runs.h"

namespace rosa::kernels {

// Bytes hold the lengths and distances of so long a channel.
inline constexpr int32_t kMaxDenseLength = 255;

template <template <class> class LanesOf, class Sink>
class DenseFlipRun : private ChannelRuns<LanesOf, uint8_t> {
 public:
  DenseFlipRun(const FlipProblem& problem, Sink& sink) : Runs(problem), sink_(sink) {}

  void run() {
    for (int32_t row = 0; row < length_; ++row) {
      Runs::advance(row);
      const int32_t own = search_own();
      list_runs();
      int32_t v = 0;
      for (; (v + 1) * kLanes <= row_; v += 2) search<2>(v);
      if (v * kLanes <= row_) search<1>(v);
      distances_[0] = static_cast<uint8_t>(own);
      report();
    }
  }

 private:
  using Runs = ChannelRuns<LanesOf, uint8_t>;
  using Base = FlipDistances<LanesOf<uint8_t>, uint8_t>;
  using Lanes = typename Runs::Lanes;
  using Mask = typename Runs::Mask;
  using Vector = typename Runs::Vector;
  using Runs::base_;
  using Runs::kLanes;
  using Runs::length_;
  using Runs::num_vectors_;
  using Runs::problem_;
  using Runs::row_;

  struct Run {
    uint8_t distance, length, mended, remended;
  };

  // The best distance with this row's own bit flipped: of what that mends.
  int32_t search_own() {
    const Vector zero = Lanes::broadcast(0);
    Vector longest = zero;
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const Vector lengths = Lanes::keep(Lanes::equal(Runs::run(v), zero), Runs::mended(v));
      Lanes::store(Runs::lengths_ + v * kLanes, lengths);
      longest = Lanes::larger(longest, lengths);
    }
    const int32_t length = Lanes::largest(longest);
    return length == 0 ? 0 : Base::first_distance(Runs::lengths_, length);
  }

  // Lists the runs, nearest first. Where there is none at distance d, what the flip d rows ago mends is put in
  // lengths_[d].
  void list_runs() {
    const Vector zero = Lanes::broadcast(0), one = Lanes::broadcast(1);
    num_runs_ = 0;
    Runs::lengths_[0] = 0;
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const Vector lengths = Lanes::keep(Lanes::equal(Runs::run(v), zero), Runs::remended(v));
      Lanes::store(Runs::lengths_ + v * kLanes + 1, lengths);
      uint64_t rest = Lanes::bits(Lanes::at_least(Runs::run(v), one));
      for (; rest != 0; rest &= rest - 1) {
        const int32_t k = v * kLanes + __builtin_ctzll(rest);
        runs_[num_runs_++] = {static_cast<uint8_t>(k + 1), Runs::run_[k], Runs::mended_[k], Runs::remended_[k]};
      }
    }
  }

  // Puts the best distances of flips into distances_, from those v * kLanes rows ago on, but for this row's own.
  template <int kCount>
  void search(int32_t v) {
    Vector rows[kCount], best[kCount], best_distance[kCount];
    for (int i = 0; i < kCount; ++i) {
      rows[i] = Lanes::add(Lanes::counting(), Lanes::broadcast((v + i) * kLanes - 1));
      best[i] = best_distance[i] = Lanes::broadcast(0);
    }
    for (int32_t k = 0; k < num_runs_; ++k) {
      const Run run = runs_[k];
      const Vector distance = Lanes::broadcast(run.distance), plain = Lanes::broadcast(run.length);
      Vector length[kCount];
      for (int i = 0; i < kCount; ++i) {
        const Vector past = Lanes::keep(Lanes::at_least(rows[i], distance), distance);
        length[i] = Lanes::smaller(plain, Lanes::subtract(rows[i], past));
      }
      if (run.length < run.distance) {
        const Vector mended = Lanes::broadcast(run.mended);
        for (int i = 0; i < kCount; ++i) length[i] = Lanes::select(Lanes::equal(rows[i], plain), mended, length[i]);
      }
      if (run.length + run.distance <= row_) {
        const Vector row = Lanes::add(plain, distance), remended = Lanes::broadcast(run.remended);
        for (int i = 0; i < kCount; ++i) length[i] = Lanes::select(Lanes::equal(rows[i], row), remended, length[i]);
      }
      for (int i = 0; i < kCount; ++i) {
        best_distance[i] = Lanes::select(Lanes::at_least(best[i], length[i]), best_distance[i], distance);
        best[i] = Lanes::larger(best[i], length[i]);
      }
    }
    for (int i = 0; i < kCount; ++i) {
      const Vector mended = Lanes::load(Runs::lengths_ + (v + i) * kLanes);
      const Mask is_nearer = Lanes::both(Lanes::equal(best[i], mended), Lanes::at_least(best_distance[i], rows[i]));
      const Vector nearer = Lanes::select(is_nearer, rows[i], best_distance[i]);
      Lanes::store(distances_ + (v + i) * kLanes, Lanes::select(Lanes::at_least(best[i], mended), nearer, rows[i]));
    }
  }

  // Tells the sink which outputs of this row differ.
  void report() {
    const int32_t output = problem_.outputs[row_];
    const auto tell = [&](int32_t a) {
      const int32_t flip = row_ - a, flipped = Runs::flipped_output(flip, distances_[a]);
      if (flipped != output) sink_.change(flip, row_, output, flipped);
    };
    const Vector base = Lanes::broadcast(base_);
    for (int32_t v = 0; v * kLanes <= row_; ++v) {
      uint64_t rest = ~Lanes::bits(Lanes::equal(Lanes::load(distances_ + v * kLanes), base));
      const int32_t count = row_ + 1 - v * kLanes < kLanes ? row_ + 1 - v * kLanes : kLanes;
      for (rest &= ~uint64_t{0} >> (64 - count); rest != 0; rest &= rest - 1) tell(v * kLanes + __builtin_ctzll(rest));
    }
    if (base_ > 0 && distances_[base_ - 1] == base_) tell(base_ - 1);  // flips the bit that is read
  }

  Sink& sink_;
  Run runs_[kMaxDenseLength + 1];
  int32_t num_runs_ = 0;
  uint8_t distances_[kMaxDenseLength + 1 + kLanes];  // best, by rows since the flip
};

}  // namespace rosa::kernels
