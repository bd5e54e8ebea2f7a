// The work of channel_flips.h, compiled once per instruction set. Includes no header with code of its own besides the
// lanes, so that no function compiled for a newer processor can replace another file's copy of it.
//
// Matches are runs along diagonals: at row i and distance d, run = how far back x[i-u] = x[i-d-u] holds. Flipping p
// changes the comparisons of a diagonal in two rows only, p and p + d. So three numbers a distance tell every flip's
// matches at row i (a = i - p rows after the flip):
//   run       the run as it is
//   mended    the run with its last mismatch forgiven
//   remended  the run with its last mismatch forgiven and the comparison d rows before that one inverted
//   length(p, d) = max(min(run, a - d), [run + d = a] remended)   d <= a, both rows are past
//                = max(min(run, a), [run = a] mended)             d > a
// and each follows from the row before. The best distance of a flipped string is followed like that of the string
// itself: while it extends, it stays the best. Only where it ends are all distances searched; and a flip whose best
// distance is the string's own needs no work at all.
#pragma once

#include "rosa/kernels/channel_flips_problem.h"
#include "rosa/kernels/flip_distances.h"

namespace rosa::kernels {

template <template <class> class LanesOf, class Element, class Sink>
class FlipRun : private FlipDistances<LanesOf<Element>, Element> {
 public:
  FlipRun(const FlipProblem& problem, Sink& sink) : problem_(problem), sink_(sink), length_(problem.length) {
    run_ = reinterpret_cast<Element*>(problem.runs[0]);
    mended_ = reinterpret_cast<Element*>(problem.runs[1]);
    remended_ = reinterpret_cast<Element*>(problem.runs[2]);
    lengths_ = reinterpret_cast<Element*>(problem.runs[3]);
    reversed_ = reinterpret_cast<Element*>(problem.runs[4]);
    active_ = problem.active[0];
    next_active_ = problem.active[1];
    for (int32_t k = 0; k < length_ + kLanes; ++k) {
      run_[k] = mended_[k] = remended_[k] = 0;
      reversed_[k] = k < length_ ? problem.bits[length_ - 1 - k] : 2;  // 2 equals no bit
    }
    for (int32_t p = 0; p < length_; ++p) {
      problem.route[p] = problem.gain[p] = 0;
      problem.searched[p] = -1;
      problem.is_active[p] = 0;
    }
  }

  void run() {
    for (row_ = 0; row_ < length_; ++row_) {
      bit_ = problem_.bits[row_];
      num_vectors_ = (row_ + kLanes - 1) / kLanes;
      num_searches_ = 0;
      const bool extends = base_length_ > 0 && problem_.bits[row_ - base_] == bit_;
      const Vector longest = advance_runs();
      if (extends) {
        ++base_length_;
      } else {
        base_length_ = Lanes::largest(longest);
        base_ = base_length_ > 0 ? first_distance(run_, base_length_) : 0;
      }
      problem_.outputs[row_] = base_ > 0 ? static_cast<int8_t>(problem_.bits[row_ - base_ + 1]) : int8_t{-1};
      num_next_ = 0;
      if (extends) {
        follow_extension();
      } else {
        follow_break();
      }
      int32_t* const swapped = active_;
      active_ = next_active_;
      next_active_ = swapped;
      num_active_ = num_next_;
      report();
    }
  }

 private:
  using Lanes = LanesOf<Element>;
  using Base = FlipDistances<Lanes, Element>;
  using Vector = typename Lanes::Vector;
  using Mask = typename Lanes::Mask;
  using Base::distance_of;
  using Base::distances;
  using Base::find;
  using Base::first_distance;
  using Base::key;
  using Base::kLanes;
  using Base::raise;
  using Base::vector_of;
  // From so many searches of a row on, one pass for all flips is cheaper.
  static constexpr int32_t kMaxSearches = 64;

  Vector run(int32_t v) const { return Lanes::load(run_ + v * kLanes); }
  Vector mended(int32_t v) const { return Lanes::load(mended_ + v * kLanes); }
  Vector remended(int32_t v) const { return Lanes::load(remended_ + v * kLanes); }

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

  // Distances of which only the query's row is past the flip ...
  Vector later_lengths(int32_t v, Vector rows) const {
    const Vector plain = run(v);
    return Lanes::select(Lanes::equal(plain, rows), mended(v), Lanes::smaller(plain, rows));
  }
  // ... and those of which both rows may be.
  Vector cut_lengths(int32_t v, Vector rows) const {
    const Vector plain = run(v), distance = distances(v);
    const Vector cut = Lanes::smaller(plain, Lanes::subtract(rows, distance));
    const Mask mends = Lanes::equal(Lanes::add(plain, distance), rows);
    const Vector both_past = Lanes::larger(cut, Lanes::keep(mends, remended(v)));
    return Lanes::select(Lanes::at_least(rows, distance), both_past, later_lengths(v, rows));
  }

  // The best distance at this row with bit `flip` flipped; 0: no match.
  int32_t search(int32_t flip) {
    const int32_t a = row_ - flip;
    if (++num_searches_ == kMaxSearches) tabulate();
    if (num_searches_ >= kMaxSearches) return distance_of(problem_.best[a]);
    return a <= base_length_ ? search_all(a) : search_around(a);
  }

  // Among all distances, for a flip `a` rows ago that runs may reach from either end.
  int32_t search_all(int32_t a) {
    const Vector rows = Lanes::broadcast(a);
    const int32_t last_cut = a > 0 ? vector_of(a) : -1;
    Vector longest = Lanes::broadcast(0);
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const Vector lengths = v <= last_cut ? cut_lengths(v, rows) : later_lengths(v, rows);
      Lanes::store(lengths_ + v * kLanes, lengths);
      longest = Lanes::larger(longest, lengths);
    }
    const int32_t length = Lanes::largest(longest);
    return length == 0 ? 0 : first_distance(lengths_, length);
  }

  // For a flip longer ago than any run reaches back: only runs whose earlier end meets it are not what they were, and
  // these lie in a few vectors.
  int32_t search_around(int32_t a) {
    const Vector rows = Lanes::broadcast(a);
    const int32_t first = vector_of(a - base_length_), last = vector_of(a);
    Vector longest = Lanes::broadcast(0);
    for (int32_t v = 0; v < first; ++v) longest = Lanes::larger(longest, run(v));
    for (int32_t v = first; v <= last && v < num_vectors_; ++v) {
      const Vector lengths = cut_lengths(v, rows);
      Lanes::store(lengths_ + v * kLanes, lengths);
      longest = Lanes::larger(longest, lengths);
    }
    for (int32_t v = last + 1; v < num_vectors_; ++v) longest = Lanes::larger(longest, run(v));
    const int32_t length = Lanes::largest(longest);
    if (length == 0) return 0;
    for (int32_t v = 0;; ++v) {
      const int32_t distance = find(v, (v < first || v > last ? run_ : lengths_) + v * kLanes, length);
      if (distance > 0) return distance;
    }
  }

  // The flip has best distance d at this row.
  void put(int32_t flip, int32_t d) {
    problem_.route[flip] = d;
    problem_.is_active[flip] = d != base_;
    if (d != base_) next_active_[num_next_++] = flip;
  }

  bool route_extends(int32_t flip) const {
    const int32_t d = problem_.route[flip];
    return d > 0 && (problem_.bits[row_ - d] == bit_) != (row_ - d == flip);
  }

  // The string's best match grew: so did those of all flips that share its distance, but where the flip is compared.
  void follow_extension() {
    const int32_t source = row_ - base_;
    const bool source_follows = !problem_.is_active[source];
    for (int32_t k = 0; k < num_active_; ++k) {
      const int32_t flip = active_[k];
      if (route_extends(flip)) {
        next_active_[num_next_++] = flip;
      } else {
        put(flip, search(flip));
      }
    }
    put(row_, search(row_));
    if (source_follows) put(source, search(source));
  }

  // The string has a new best match. It is every flip's that it does not touch, unless the flip makes a better one.
  void follow_break() {
    for (int32_t k = 0; k < num_active_; ++k) {
      const int32_t flip = active_[k];
      problem_.is_active[flip] = 0;
      if (route_extends(flip)) settle(flip, problem_.route[flip]);
    }
    const int32_t query_begin = base_length_ > 0 ? row_ - base_length_ + 1 : row_;
    const int32_t key_end = base_length_ > 0 ? row_ - base_ : -1;
    for (int32_t p = key_end - base_length_ + 1; p <= key_end && p < query_begin; ++p) search_once(p);
    for (int32_t p = query_begin; p <= row_; ++p) search_once(p);
    find_gains();
  }

  void settle(int32_t flip, int32_t d) {
    problem_.searched[flip] = row_;
    put(flip, d);
  }
  void search_once(int32_t flip) {
    if (problem_.searched[flip] != row_) settle(flip, search(flip));
  }

  // Flips that mend a mismatch into a match better than the string's.
  void find_gains() {
    const Vector least = Lanes::broadcast(base_length_ > 1 ? base_length_ : 1);
    const uint32_t base_key = base_length_ > 0 ? key(base_length_, base_) : 0;
    int32_t num_gains = 0;
    const auto offer = [&](int32_t flip, uint32_t offered) {
      if (offered <= base_key || problem_.searched[flip] == row_) return;
      if (problem_.gain[flip] == 0) problem_.gains[num_gains++] = flip;
      if (offered > problem_.gain[flip]) problem_.gain[flip] = offered;
    };
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const uint64_t once = Lanes::bits(Lanes::at_least(mended(v), least));
      const uint64_t twice = Lanes::bits(Lanes::at_least(remended(v), least));
      for (uint64_t rest = once | twice; rest != 0; rest &= rest - 1) {
        const int lane = __builtin_ctzll(rest);
        const int32_t d = v * kLanes + 1 + lane, k = d - 1, plain = run_[k];
        const int32_t key_flip = row_ - d - plain;  // the mismatch compares rows row - run and row - run - d
        if (key_flip < 0) continue;
        if ((once >> lane & 1) != 0 && plain < d) offer(row_ - plain, key(mended_[k], d));
        if ((twice >> lane & 1) != 0) offer(key_flip, key(remended_[k], d));
      }
    }
    for (int32_t k = 0; k < num_gains; ++k) {
      const int32_t flip = problem_.gains[k];
      put(flip, distance_of(problem_.gain[flip]));
      problem_.gain[flip] = 0;
    }
  }

  // best[a] for the flips of all rows: each term of the lengths in one pass over the distances.
  void tabulate() {
    uint32_t* const best = problem_.best;
    uint32_t* const whole = problem_.whole;
    uint32_t nearest = 0;
    // Distances without a run, of which there are most, in loops that vectorise.
    for (int32_t d = 1; d <= row_; ++d) {
      const uint32_t mends = run_[d - 1] == 0 ? key(mended_[d - 1], d) : 0;
      nearest = mends > nearest ? mends : nearest;
    }
    best[0] = nearest;
    for (int32_t d = 1; d <= row_; ++d) best[d] = run_[d - 1] == 0 ? key(remended_[d - 1], d) : 0;
    for (int32_t a = 0; a <= row_; ++a) whole[a] = 0;
    int32_t covered = 0;
    for (int32_t v = 0; v < num_vectors_; ++v) {
      uint64_t rest = Lanes::bits(Lanes::at_least(run(v), Lanes::broadcast(1)));
      for (; rest != 0; rest &= rest - 1) tabulate_run(v * kLanes + 1 + __builtin_ctzll(rest), covered);
    }
    Base::raise_later(best, run_, row_);
    uint32_t longest = 0;
    for (int32_t a = 1; a <= row_; ++a) {
      raise(longest, whole[a]);
      raise(best[a], longest);
    }
  }

  // `covered`: flips fewer rows ago already cut the run of a nearer distance.
  void tabulate_run(int32_t d, int32_t& covered) {
    const int32_t plain = run_[d - 1], end = plain + d;
    if (plain < d) raise(problem_.best[plain], key(mended_[d - 1], d));
    if (end <= row_) {
      raise(problem_.best[end], key(remended_[d - 1], d));
      raise(problem_.whole[end], key(plain, d));  // untouched by flips from `end` rows ago on
    }
    Base::raise_cut(problem_.best, d, end, covered);
  }

  // Tells the sink which outputs of this row differ.
  void report() {
    const int8_t output = problem_.outputs[row_];
    for (int32_t k = 0; k < num_active_; ++k) {
      const int32_t flip = active_[k], d = problem_.route[flip], source = row_ - d + 1;
      const int32_t flipped = d == 0 ? -1 : (problem_.bits[source] ^ static_cast<int32_t>(source == flip));
      if (flipped != output) sink_.change(flip, row_, output, flipped);
    }
    const int32_t source = row_ - base_ + 1;
    if (base_ > 0 && !problem_.is_active[source]) sink_.change(source, row_, output, 1 - output);
  }

  const FlipProblem& problem_;
  Sink& sink_;
  int32_t length_;
  Element *run_, *mended_, *remended_;  // at index d - 1
  Element* lengths_;                    // of the search under way
  Element* reversed_;                   // the bits, last first
  int32_t *active_, *next_active_;      // flips whose best distance is not the string's
  int32_t num_active_ = 0, num_next_ = 0;
  int32_t row_ = 0, bit_ = 0, num_vectors_ = 0, num_searches_ = 0;
  int32_t base_ = 0, base_length_ = 0;  // the string's best distance and length; 0: no match
};

// Bytes hold the lengths and distances of a channel of at most 255 bits.
template <template <class> class LanesOf, class Sink>
void run_channel_flips(const FlipProblem& problem, Sink& sink) {
  if (problem.length <= 255) {
    FlipRun<LanesOf, uint8_t, Sink>(problem, sink).run();
  } else {
    FlipRun<LanesOf, uint16_t, Sink>(problem, sink).run();
  }
}

}  // namespace rosa::kernels
