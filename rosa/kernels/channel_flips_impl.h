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
// and each follows from the row before. The best distance of a flipped string is followed from row to row, as that of
// the string itself is: a match that goes on stays the best. Only where it ends are all distances searched. A flip
// whose best distance is the string's own needs no work at all. (For short channels channel_flips_dense.h searches all
// flips in all rows, side by side.)
#pragma once

#include "rosa/kernels/channel_flips_dense.h"
#include "rosa/kernels/channel_runs.h"

namespace rosa::kernels {

template <template <class> class LanesOf, class Sink>
class FlipRun : private ChannelRuns<LanesOf, uint16_t> {
 public:
  FlipRun(const FlipProblem& problem, Sink& sink) : Runs(problem), sink_(sink) {
    active_ = problem.active[0];
    next_active_ = problem.active[1];
    for (int32_t p = 0; p < length_; ++p) {
      problem.route[p] = problem.gain[p] = 0;
      problem.searched[p] = -1;
      problem.is_active[p] = 0;
    }
  }

  void run() {
    for (int32_t row = 0; row < length_; ++row) {
      const bool extends = Runs::advance(row);
      num_searches_ = 0;
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
  using Runs = ChannelRuns<LanesOf, uint16_t>;
  using Base = FlipDistances<LanesOf<uint16_t>, uint16_t>;
  using Lanes = typename Runs::Lanes;
  using Mask = typename Runs::Mask;
  using Vector = typename Runs::Vector;
  using Base::distance_of;
  using Base::distances;
  using Base::find;
  using Base::first_distance;
  using Base::key;
  using Base::kLanes;
  using Base::raise;
  using Base::vector_of;
  using Runs::base_;
  using Runs::base_length_;
  using Runs::bit_;
  using Runs::length_;
  using Runs::lengths_;
  using Runs::mended;
  using Runs::mended_;
  using Runs::num_vectors_;
  using Runs::problem_;
  using Runs::remended;
  using Runs::remended_;
  using Runs::row_;
  using Runs::run_;
  // From so many searches of a row on, one pass for all flips is cheaper.
  static constexpr int32_t kMaxSearches = 64;

  // Distances of which only the query's row is past the flip ...
  Vector later_lengths(int32_t v, Vector rows) const {
    const Vector plain = Runs::run(v);
    return Lanes::select(Lanes::equal(plain, rows), mended(v), Lanes::smaller(plain, rows));
  }
  // ... and those of which both rows may be.
  Vector cut_lengths(int32_t v, Vector rows) const {
    const Vector plain = Runs::run(v), distance = distances(v);
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
    for (int32_t v = 0; v < first; ++v) longest = Lanes::larger(longest, Runs::run(v));
    for (int32_t v = first; v <= last && v < num_vectors_; ++v) {
      const Vector lengths = cut_lengths(v, rows);
      Lanes::store(lengths_ + v * kLanes, lengths);
      longest = Lanes::larger(longest, lengths);
    }
    for (int32_t v = last + 1; v < num_vectors_; ++v) longest = Lanes::larger(longest, Runs::run(v));
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

  // The string has a new best match. Flips outside of it get the same match, unless the flip makes a better one.
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
      uint64_t rest = Lanes::bits(Lanes::at_least(Runs::run(v), Lanes::broadcast(1)));
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
      const int32_t flip = active_[k], flipped = Runs::flipped_output(flip, problem_.route[flip]);
      if (flipped != output) sink_.change(flip, row_, output, flipped);
    }
    const int32_t source = row_ - base_ + 1;
    if (base_ > 0 && !problem_.is_active[source]) sink_.change(source, row_, output, 1 - output);
  }

  Sink& sink_;
  int32_t *active_, *next_active_;  // flips whose best distance is not the string's
  int32_t num_active_ = 0, num_next_ = 0;
  int32_t num_searches_ = 0;
};

template <template <class> class LanesOf, class Sink>
void run_channel_flips(const FlipProblem& problem, Sink& sink) {
  if (problem.length <= kMaxDenseLength) {
    DenseFlipRun<LanesOf, Sink>(problem, sink).run();
  } else {
    FlipRun<LanesOf, Sink>(problem, sink).run();
  }
}

}  // namespace rosa::kernels
