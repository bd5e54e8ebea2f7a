// The work of SymbolFlips where queries and keys are one sequence, so that a flip changes both, compiled once per
// instruction set. Includes no header with code of its own besides the lanes (see symbol_flips_impl.h).
//
// A flip of symbol p changes the comparisons of diagonal d in rows p and p + d. With run, mended and differs as in
// symbol_flips_impl.h, and
//   remended  the run with its last mismatch forgiven and, d rows before that one, the same bit of both symbols
//   inverted
// the match of row t at distance d with bit b of the symbol a rows ago flipped is
//   d > a:   [run = a and differs = b] mended, else min(run, a)
//   d <= a:  [run + d = a and differs = b] remended, else min(run, a - d)
// The terms without mending are the same for all bits. Each row takes all of them at once: linear in the row, whatever
// the symbols.
#pragma once

#include "rosa/kernels/flip_distances.h"
#include "rosa/kernels/symbol_flips_problem.h"

namespace rosa::kernels {

template <template <class> class LanesOf, class Sink>
class TiedFlipRun : private FlipDistances<LanesOf<uint16_t>, uint16_t> {
 public:
  TiedFlipRun(const SymbolFlipProblem& problem, Sink& sink)
      : problem_(problem), sink_(sink), length_(problem.length), num_bits_(problem.num_bits) {
    uint16_t** const arrays[] = {&run_, &mended_, &differs_, &remended_, &reversed_};
    for (int k = 0; k < 5; ++k) *arrays[k] = static_cast<uint16_t*>(problem.runs[k]);
    for (int32_t k = 0; k < length_ + kLanes; ++k) {
      run_[k] = mended_[k] = differs_[k] = remended_[k] = 0;
      reversed_[k] = k < length_ ? problem.key[length_ - 1 - k] : 0;
    }
    for (int32_t k = 0; k < (length_ + 1) * num_bits_; ++k) problem.mends[0][k] = 0;
  }

  void run() {
    for (row_ = 0; row_ < length_; ++row_) {
      symbol_ = problem_.key[row_];
      num_vectors_ = (row_ + kLanes - 1) / kLanes;
      const int32_t longest = Lanes::largest(advance_runs());
      base_ = longest > 0 ? first_distance(run_, longest) : 0;
      problem_.positions[row_] = base_ > 0 ? row_ - base_ : -1;
      tabulate_cut();
      list_mends();
      sink_.begin_row(row_, problem_.positions[row_]);
      report_cut();
      report_mended();
    }
  }

 private:
  using Lanes = LanesOf<uint16_t>;
  using Base = FlipDistances<Lanes, uint16_t>;
  using Vector = typename Lanes::Vector;
  using Mask = typename Lanes::Mask;
  using Base::distance_of;
  using Base::distances;
  using Base::first_distance;
  using Base::key;
  using Base::kLanes;
  using Base::raise;

  // The runs of this row from those of the row before; returns their largest, lane by lane.
  Vector advance_runs() {
    const Vector zero = Lanes::broadcast(0), one = Lanes::broadcast(1), symbol = Lanes::broadcast(symbol_);
    const uint16_t* const past = reversed_ + (length_ - row_);  // past[d - 1] = symbol[row - d]
    Vector longest = zero;
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const int32_t at = v * kLanes;
      const Vector distance = distances(v), mended = Lanes::load(mended_ + at), differs = Lanes::load(differs_ + at);
      // Distances beyond the row stay 0 until their first cell.
      const Mask exists = Lanes::at_least(Lanes::broadcast(row_), distance);
      const Vector difference = Lanes::exclusive_or(Lanes::load(past + at), symbol);
      const Mask equal = Lanes::equal(difference, zero);
      const Vector rest = Lanes::bit_and(difference, Lanes::subtract(difference, one));
      const Vector single = Lanes::keep(Lanes::equal(rest, zero), difference);
      const Vector longer = Lanes::add(Lanes::load(run_ + at), one), mended_longer = Lanes::add(mended, one);
      // After a mismatch: d rows before, what was equal differs then, and the mismatch of the same bit is mended.
      const Mask meets = Lanes::both(Lanes::equal(longer, distance), Lanes::equal(differs, single));
      const Vector inverted = Lanes::select(meets, mended_longer, Lanes::smaller(longer, distance));
      const Vector remended = Lanes::select(equal, Lanes::add(Lanes::load(remended_ + at), one), inverted);
      const Vector extended = Lanes::keep(Lanes::both(exists, equal), longer);
      Lanes::store(remended_ + at, Lanes::keep(exists, remended));
      Lanes::store(mended_ + at, Lanes::keep(exists, Lanes::select(equal, mended_longer, longer)));
      Lanes::store(differs_ + at, Lanes::keep(exists, Lanes::select(equal, differs, single)));
      Lanes::store(run_ + at, extended);
      longest = Lanes::larger(longest, extended);
    }
    return longest;
  }

  // best[a]: the best of this row without mending, with the symbol a rows ago changed.
  void tabulate_cut() {
    uint32_t* const best = problem_.best;
    uint32_t* const whole = problem_.whole;
    for (int32_t a = 0; a <= row_; ++a) best[a] = whole[a] = 0;
    int32_t covered = 0;
    for (int32_t v = 0; v < num_vectors_; ++v) {
      uint64_t rest = Lanes::bits(Lanes::at_least(Lanes::load(run_ + v * kLanes), Lanes::broadcast(1)));
      for (; rest != 0; rest &= rest - 1) {
        const int32_t d = v * kLanes + 1 + __builtin_ctzll(rest), plain = run_[d - 1];
        // Runs end before a flip d + run rows ago, or earlier.
        if (d + plain <= row_) raise(whole[d + plain], key(plain, d));
        Base::raise_cut(best, d, d + plain < row_ ? d + plain : row_ + 1, covered);
      }
    }
    Base::raise_later(best, run_, row_);
    uint32_t longest = 0;
    for (int32_t a = 1; a <= row_; ++a) {
      raise(longest, whole[a]);
      raise(best[a], longest);
    }
  }

  void mend(int32_t rows_ago, int32_t bit, uint32_t offered) {
    if (offered <= problem_.best[rows_ago]) return;
    const int32_t entry = rows_ago * num_bits_ + bit;
    uint32_t& best = problem_.mends[0][entry];
    if (best == 0) problem_.mended_list[0][num_mends_++] = entry;
    raise(best, offered);
  }

  // Takes the mended runs that are better than what is left without into the table.
  void list_mends() {
    for (int32_t v = 0; v < num_vectors_; ++v) {
      uint64_t rest = Lanes::bits(Lanes::at_least(Lanes::load(differs_ + v * kLanes), Lanes::broadcast(1)));
      for (; rest != 0; rest &= rest - 1) {
        const int32_t d = v * kLanes + 1 + __builtin_ctzll(rest);
        const int32_t plain = run_[d - 1], bit = __builtin_ctz(differs_[d - 1]);
        if (plain < d) mend(plain, bit, key(mended_[d - 1], d));
        mend(plain + d, bit, key(remended_[d - 1], d));
      }
    }
  }

  // Flips of which no bit mends are told for each bit, the others as the table has them.
  void report_cut() {
    for (int32_t a = 0; a <= row_; ++a) {
      const int32_t d = distance_of(problem_.best[a]);
      if (d == base_) continue;
      for (int32_t bit = 0; bit < num_bits_; ++bit) {
        if (problem_.mends[0][a * num_bits_ + bit] == 0) report(a, bit, d);
      }
    }
  }
  void report_mended() {
    for (int32_t k = 0; k < num_mends_; ++k) {
      const int32_t entry = problem_.mended_list[0][k], a = entry / num_bits_;
      const int32_t d = distance_of(problem_.mends[0][entry]);
      problem_.mends[0][entry] = 0;
      if (d != base_) report(a, entry - a * num_bits_, d);
    }
    num_mends_ = 0;
  }
  void report(int32_t a, int32_t bit, int32_t d) {
    const int32_t position = row_ - a;
    sink_.change(FlippedSymbol::query, {position * num_bits_ + bit, position, d}, row_, d == 0 ? -1 : row_ - d);
  }

  const SymbolFlipProblem& problem_;
  Sink& sink_;
  int32_t length_, num_bits_;
  uint16_t *run_, *mended_, *differs_, *remended_;  // at index d - 1
  uint16_t* reversed_;                              // the symbols, last first
  int32_t row_ = 0, symbol_ = 0, num_vectors_ = 0, num_mends_ = 0;
  int32_t base_ = 0;  // the sequence's best distance; 0: no match
};

}  // namespace rosa::kernels
