// The work of symbol_flips.h, compiled once per instruction set. Includes no header with code of its own besides the
// lanes, so that no function compiled for a newer processor can replace another file's copy of it.
//
// Matches are runs along diagonals: at row t and distance d, run = how far back q[t-u] = k[t-d-u] holds. A flip mends
// the mismatch that ended a run only if the two symbols differ in just that bit. So three numbers a distance tell every
// flip's matches at row t:
//   run      the run as it is; its last mismatch is in row t - run
//   mended   the run with that mismatch forgiven
//   differs  the bit, as a mask, in which its symbols differ; 0 where they differ in more, or there was none
//   query flipped a rows ago:  [run = a and differs = bit] mended, else min(run, a)
//   key flipped e rows ago:    d > e: run;  d <= e: [run + d = e and differs = bit] mended, else min(run, e - d)
// The best distance of a flipped sequence is followed from row to row, as that of the sequence itself is: a match that
// goes on stays the best. Only where it ends is there a new search. A flip whose best distance is the sequence's own
// needs no work. Below a long match the flips of most keys match elsewhere, in row after row. These are not followed:
// they come from a table of the row, all bits of a key at once.
#pragma once

#include "rosa/kernels/flip_distances.h"
#include "rosa/kernels/symbol_flips_problem.h"

namespace rosa::kernels {

// Element: bytes hold runs to kLongest and symbols of 8 bits.
template <template <class> class LanesOf, class Element, class Sink>
class SymbolFlipRun : private FlipDistances<LanesOf<Element>, Element> {
 public:
  // From the first row on.
  SymbolFlipRun(const SymbolFlipProblem& problem, Sink& sink) : SymbolFlipRun(problem, sink, SymbolFlipState{}) {
    for (int32_t k = 0; k < length_ + kLanes; ++k) {
      run_[k] = mended_[k] = differs_[k] = 0;
      reversed_[k] = k < length_ ? static_cast<Element>(problem.key[length_ - 1 - k]) : 0;
    }
    for (int32_t k = 0; k <= length_; ++k) problem.mended_row[k] = -1;
    const int32_t num_flips = length_ * num_bits_;
    for (int side = 0; side < 2; ++side) {
      at_.active[side] = problem.active[side];
      for (int32_t k = 0; k < num_flips; ++k) {
        problem.searched[side][k] = -1;
        problem.is_active[side][k] = 0;
      }
      for (int32_t k = 0; k < num_flips + num_bits_; ++k) problem.mends[side][k] = 0;
    }
    for (int32_t k = 0; k < (2 << problem.gram_order * num_bits_); ++k) problem.newest[k] = -1;
    at_.next = problem.next;
  }
  // From where bytes could hold no more.
  SymbolFlipRun(const SymbolFlipRun<LanesOf, uint8_t, Sink>& before) requires(sizeof(Element) > 1)
      : SymbolFlipRun(before.problem_, before.sink_, before.at_) {
    Element* const arrays[] = {run_, mended_, differs_, reversed_};
    for (Element* const wide : arrays) {
      const uint8_t* const bytes = reinterpret_cast<const uint8_t*>(wide);
      for (int32_t k = length_ + kLanes; k-- > 0;) wide[k] = bytes[k];
    }
  }

  // Returns false where it stopped because elements may be too small for the next row.
  bool run() {
    for (int32_t bounded_to = kLongest; at_.row < length_; ++at_.row) {
      if (kLongest < length_ && at_.row >= bounded_to) {
        bounded_to = at_.row + kLongest - longest_mended();
        if (bounded_to <= at_.row) return false;
      }
      query_ = problem_.query[at_.row];
      num_vectors_ = (at_.row + kLanes - 1) / kLanes;
      take_grams();
      const bool extends = at_.base_length > 0 && problem_.key[at_.row - at_.base] == query_;
      const Vector longest = advance_runs();
      if (extends) {
        ++at_.base_length;
      } else {
        at_.base_length = Lanes::largest(longest);
        at_.base = at_.base_length > 0 ? first_distance(run_, at_.base_length) : 0;
      }
      base_key_ = at_.base_length > 0 ? key(at_.base_length, at_.base) : 0;
      problem_.positions[at_.row] = at_.base > 0 ? at_.row - at_.base : -1;
      num_misses_ = 0;
      outer_row_ = false;
      sink_.begin_row(at_.row, problem_.positions[at_.row]);
      is_long_ = at_.base_length > kMaxAround;
      if (is_long_) {
        const int32_t least = tabulate_cut(at_.base_length);
        list_mends(least, least);
      } else {
        list_mends(at_.base_length > 0 ? at_.base_length : 1, at_.base_length + 1);
      }
      follow_queries(extends);
      follow_keys(extends);
      if (is_long_) report_long_match();
      clear_mends();
      report();
    }
    return true;
  }

 private:
  template <template <class> class, class, class>
  friend class SymbolFlipRun;

  using Lanes = LanesOf<Element>;
  using Base = FlipDistances<Lanes, Element>;
  using Vector = typename Lanes::Vector;
  using Mask = typename Lanes::Mask;
  using Base::distance_of;
  using Base::find;
  using Base::first_distance;
  using Base::key;
  using Base::kLanes;
  using Base::raise;
  using Base::vector_of;
  static constexpr int kQuery = 0, kKey = 1;
  static constexpr int32_t kLongest = sizeof(Element) == 1 ? 254 : 65535;
  // From so many searches of a row on, one pass that serves all of them is cheaper.
  static constexpr int32_t kMaxMisses = 16;
  // Keys under a longer match are taken from a table.
  static constexpr int32_t kMaxAround = 64;

  SymbolFlipRun(const SymbolFlipProblem& problem, Sink& sink, const SymbolFlipState& state)
      : problem_(problem), sink_(sink), length_(problem.length), num_bits_(problem.num_bits), at_(state) {
    Element** const arrays[] = {&run_, &mended_, &differs_, &lengths_, &reversed_};
    for (int k = 0; k < 5; ++k) *arrays[k] = static_cast<Element*>(problem.runs[k]);
  }

  int32_t longest_mended() const {
    Vector longest = Lanes::broadcast(0);
    for (int32_t v = 0; v < num_vectors_; ++v) longest = Lanes::larger(longest, mended(v));
    return Lanes::largest(longest);
  }

  Vector run(int32_t v) const { return Lanes::load(run_ + v * kLanes); }
  Vector mended(int32_t v) const { return Lanes::load(mended_ + v * kLanes); }
  Vector differs(int32_t v) const { return Lanes::load(differs_ + v * kLanes); }

  // The last keys up to the row before become the newest of their grams.
  void take_grams() {
    const uint32_t mask = (1U << problem_.gram_order * num_bits_) - 1;
    at_.queries = (at_.queries << num_bits_ | static_cast<uint32_t>(query_)) & mask;
    if (at_.row == 0) return;
    at_.keys = (at_.keys << num_bits_ | problem_.key[at_.row - 1]) & mask;
    for (int32_t order = 1; order <= problem_.gram_order && order <= at_.row; ++order) {
      newest(order, at_.keys) = at_.row - 1;
    }
  }

  // Where the last `order` of `symbols` were last seen as keys; -1: nowhere.
  int32_t& newest(int32_t order, uint32_t symbols) const {
    const uint32_t size = 1U << order * num_bits_;  // of the orders before there are fewer grams in all
    return problem_.newest[size + (symbols & (size - 1))];
  }

  // The runs of this row from those of the row before; returns their largest, lane by lane.
  Vector advance_runs() {
    const Vector zero = Lanes::broadcast(0), one = Lanes::broadcast(1), symbol = Lanes::broadcast(query_);
    const Element* const past = reversed_ + (length_ - at_.row);  // past[d - 1] = key[row - d]
    Vector longest = zero;
    Mask exists = Lanes::equal(zero, zero);
    for (int32_t v = 0; v < num_vectors_; ++v) {
      // Distances beyond the row stay 0 until their first cell.
      if (v == num_vectors_ - 1) exists = Lanes::at_least(Lanes::broadcast(at_.row - v * kLanes), Lanes::counting());
      const Vector difference = Lanes::exclusive_or(Lanes::load(past + v * kLanes), symbol);
      const Mask equal = Lanes::equal(difference, zero);
      const Vector rest = Lanes::bit_and(difference, Lanes::subtract(difference, one));
      const Vector single = Lanes::keep(Lanes::equal(rest, zero), difference);
      const Vector longer = Lanes::add(run(v), one);
      const Vector extended = Lanes::keep(Lanes::both(exists, equal), longer);
      const Vector mended_now = Lanes::select(equal, Lanes::add(mended(v), one), longer);
      Lanes::store(run_ + v * kLanes, extended);
      Lanes::store(mended_ + v * kLanes, Lanes::keep(exists, mended_now));
      Lanes::store(differs_ + v * kLanes, Lanes::keep(exists, Lanes::select(equal, differs(v), single)));
      longest = Lanes::larger(longest, extended);
    }
    return longest;
  }

  void mend(int side, int32_t rows_ago, int32_t bit, uint32_t offered) {
    const int32_t entry = rows_ago * num_bits_ + bit;
    uint32_t& best = problem_.mends[side][entry];
    if (best == 0) problem_.mended_list[side][num_mends_[side]++] = entry;
    raise(best, offered);
  }

  // The mended run at distance d, for the query and the key that mend it.
  void mend_at(int32_t d) {
    const int32_t plain = run_[d - 1], bit = __builtin_ctz(differs_[d - 1]);
    const uint32_t offered = key(mended_[d - 1], d);
    mend(kQuery, plain, bit, offered);
    mend(kKey, plain + d, bit, offered);
  }

  // Takes all mended runs of at least `least` rows into the tables, and below the match's distance those of at least
  // `near_least`: with the match's length, these are all that are better.
  void list_mends(int32_t near_least, int32_t least) {
    const Vector zero = Lanes::broadcast(0);
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const Vector bound = Lanes::broadcast(v * kLanes < at_.base ? near_least : least);
      uint64_t found = Lanes::bits(Lanes::at_least(mended(v), bound));
      if (found != 0) found &= ~Lanes::bits(Lanes::equal(differs(v), zero));
      for (; found != 0; found &= found - 1) mend_at(v * kLanes + 1 + __builtin_ctzll(found));
    }
    least_mended_ = least;
  }

  void clear_mends() {
    for (int side = 0; side < 2; ++side) {
      for (int32_t k = 0; k < num_mends_[side]; ++k) problem_.mends[side][problem_.mended_list[side][k]] = 0;
      num_mends_[side] = 0;
    }
  }

  // The best distance of this row with the query's `bit`, `a` rows ago, flipped. What mends a run is longer than the
  // rows since.
  int32_t search_query(int32_t a, int32_t bit) {
    uint32_t best = problem_.mends[kQuery][a * num_bits_ + bit];
    if (best == 0 && a + 1 < least_mended_) best = search_mended(a, bit);
    if (best != 0) return distance_of(best);
    if (a >= at_.base_length) return at_.base;
    return a > 0 ? first_at_least(a) : 0;
  }

  // Where the table holds only longer ones.
  uint32_t search_mended(int32_t a, int32_t bit) {
    const int32_t longest = least_mended_ - 1 < at_.row ? least_mended_ - 1 : at_.row;
    int32_t order = longest < problem_.gram_order ? longest : problem_.gram_order;
    const uint32_t flipped = at_.queries ^ (order > a ? 1U << (a * num_bits_ + bit) : 0);
    const bool is_exact = order > a && (order == longest || newest(order, flipped) < 0);
    while (order > a && newest(order, flipped) < 0) --order;
    const uint32_t short_match = order > a ? key(order, at_.row - newest(order, flipped)) : 0;
    if (is_exact) return short_match;
    const uint32_t& listed = problem_.mends[kQuery][a * num_bits_ + bit];
    const bool is_searched = problem_.mended_row[a] == at_.row;
    if (!is_searched && ++num_misses_ == kMaxMisses) list_all_mends();
    if (listed != 0 || least_mended_ == 1) return listed;
    if (num_bits_ == 1) return search_only_bit(a);
    if (!is_searched) list_query_mends(a);
    problem_.mended_row[a] = at_.row;
    return listed != 0 ? listed : short_match;
  }

  uint32_t search_only_bit(int32_t a) {
    const Vector rows = Lanes::broadcast(a), one = Lanes::broadcast(1);
    Vector longest = Lanes::broadcast(0);
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const Mask mends = Lanes::both(Lanes::equal(run(v), rows), Lanes::equal(differs(v), one));
      const Vector lengths = Lanes::keep(mends, mended(v));
      Lanes::store(lengths_ + v * kLanes, lengths);
      longest = Lanes::larger(longest, lengths);
    }
    const int32_t length = Lanes::largest(longest);
    return length == 0 ? 0 : key(length, first_distance(lengths_, length));
  }

  // Takes the runs of more than one row that the query `a` rows ago mends into its table: where it matters whether they
  // are longer than the longest grams.
  void list_query_mends(int32_t a) {
    const Vector rows = Lanes::broadcast(a), two = Lanes::broadcast(2), zero = Lanes::broadcast(0);
    for (int32_t v = 0; v < num_vectors_; ++v) {
      const Mask mends = Lanes::both(Lanes::equal(run(v), rows), Lanes::at_least(mended(v), two));
      uint64_t found = Lanes::bits(mends);
      if (found != 0) found &= ~Lanes::bits(Lanes::equal(differs(v), zero));
      for (; found != 0; found &= found - 1) {
        const int32_t k = v * kLanes + __builtin_ctzll(found);
        mend(kQuery, a, __builtin_ctz(differs_[k]), key(mended_[k], k + 1));
      }
    }
  }

  // The nearest distance whose run is at least `least`, which is not more than the longest.
  int32_t first_at_least(int32_t least) const {
    if (least <= problem_.gram_order) return at_.row - newest(least, at_.queries);
    for (int32_t v = 0;; ++v) {
      const uint64_t found = Lanes::bits(Lanes::at_least(run(v), Lanes::broadcast(least)));
      if (found != 0) return v * kLanes + 1 + __builtin_ctzll(found);
    }
  }

  bool is_under_match(int32_t position) const {
    return at_.base_length > 0 && position <= at_.row - at_.base && position > at_.row - at_.base - at_.base_length;
  }

  void list_all_mends() {
    clear_mends();
    list_mends(1, 1);
  }

  // The best of this row without mending, with the key `e` rows ago changed. Only keys under the row's match matter.
  uint32_t search_cut(int32_t e) {
    // Runs that reach the key lie in these vectors whichever key it is; the others serve all keys.
    const int32_t last = vector_of(at_.base + at_.base_length < at_.row ? at_.base + at_.base_length : at_.row);
    const int32_t first = vector_of(at_.base > at_.base_length ? at_.base - at_.base_length : 1);
    if (!outer_row_) outer_ = best_outside(first, last);
    outer_row_ = true;
    uint32_t best = outer_;
    for (int32_t v = first; v <= last; ++v) {
      Lanes::store(lengths_, cut_lengths(v, e));
      const int32_t length = Lanes::largest(Lanes::load(lengths_));
      if (length > 0) raise(best, key(length, find(v, lengths_, length)));
    }
    return best;
  }

  // The runs of vector v with the key `e` rows ago changed: to e - d at most where the key is at least d rows ago.
  Vector cut_lengths(int32_t v, int32_t e) const {
    const int32_t room = e - v * kLanes;
    const Vector plain = run(v), lane = Lanes::counting();
    if (room >= kLanes) {
      const Vector least = Lanes::broadcast(room - kLanes < kLongest ? room - kLanes : kLongest);
      return Lanes::smaller(plain, Lanes::add_saturated(least, Lanes::subtract(Lanes::broadcast(kLanes), lane)));
    }
    const Vector rows = Lanes::broadcast(room > 0 ? room : 0);
    const Vector cut = Lanes::smaller(plain, Lanes::subtract(rows, lane));
    return Lanes::select(Lanes::at_least(rows, lane), cut, plain);
  }

  // The best run outside the vectors [first, last].
  uint32_t best_outside(int32_t first, int32_t last) const {
    Vector longest = Lanes::broadcast(0);
    for (int32_t v = 0; v < first; ++v) longest = Lanes::larger(longest, run(v));
    for (int32_t v = last + 1; v < num_vectors_; ++v) longest = Lanes::larger(longest, run(v));
    const int32_t length = Lanes::largest(longest);
    if (length == 0) return 0;
    for (int32_t v = 0;; ++v) {
      if (v == first) v = last + 1;
      const int32_t distance = find(v, run_ + v * kLanes, length);
      if (distance > 0) return key(length, distance);
    }
  }

  // best[e], for the keys under the match: the best of this row without mending, with the key e rows ago changed.
  // Returns the least length of mended runs that may be better, at most `least`.
  int32_t tabulate_cut(int32_t least) {
    uint32_t* const best = problem_.best;
    last_under_ = at_.base + at_.base_length - 1;  // not before the first row
    uint32_t later = 0;
    best[at_.row] = 0;
    for (int32_t e = at_.row - 1; e >= at_.base; --e) {
      raise(later, key(run_[e], e + 1));
      best[e] = later;
    }
    int32_t covered = at_.base;
    for (int32_t v = 0; v * kLanes < at_.base; ++v) {
      uint64_t rest = Lanes::bits(Lanes::at_least(run(v), Lanes::broadcast(1)));
      for (; rest != 0; rest &= rest - 1) {
        const int32_t d = v * kLanes + 1 + __builtin_ctzll(rest);
        const int32_t end = d + run_[d - 1] <= last_under_ ? d + run_[d - 1] : last_under_ + 1;
        if (d <= at_.base) Base::raise_cut(best, d, end, covered);
      }
    }
    uint32_t shortest = key(least, 1);
    for (int32_t e = at_.base; e <= last_under_; ++e) shortest = best[e] < shortest ? best[e] : shortest;
    const auto length = static_cast<int32_t>(shortest >> 16);
    least = length > 0 ? length : 1;
    raise_ended(least);
    return least;
  }

  // Raises best[e] to runs of at least `least` rows that begin after the key.
  void raise_ended(int32_t least) {
    bool is_any = false;
    for (int32_t v = 0; v < num_vectors_; ++v) {
      uint64_t rest = Lanes::bits(Lanes::at_least(run(v), Lanes::broadcast(least)));
      for (; rest != 0; rest &= rest - 1) {
        const int32_t d = v * kLanes + 1 + __builtin_ctzll(rest), end = d + run_[d - 1];
        if (end > last_under_) continue;
        for (int32_t e = at_.base; !is_any && e <= last_under_; ++e) problem_.whole[e] = 0;
        is_any = true;
        raise(problem_.whole[end > at_.base ? end : at_.base], key(run_[d - 1], d));
      }
    }
    uint32_t longest = 0;
    for (int32_t e = at_.base; is_any && e <= last_under_; ++e) {
      raise(longest, problem_.whole[e]);
      raise(problem_.best[e], longest);
    }
  }

  // Tells the sink where this row matches with the keys under the match flipped.
  void report_long_match() {
    constexpr uint32_t kByBit = 0xFFFFFFFF;  // bits differ
    for (int32_t k = 0; k < num_mends_[kKey]; ++k) {
      const int32_t entry = problem_.mended_list[kKey][k], e = entry / num_bits_;
      if (e < at_.base || e > last_under_ || problem_.mends[kKey][entry] <= problem_.best[e]) continue;
      problem_.whole[e] = problem_.best[e];
      problem_.best[e] = kByBit;
    }
    for (int32_t e = at_.base; e <= last_under_; ++e) {
      const int32_t position = at_.row - e;
      if (problem_.best[e] != kByBit) {
        const int32_t d = distance_of(problem_.best[e]);
        if (d != at_.base) sink_.change_key(position, at_.row, d == 0 ? -1 : at_.row - d);
        continue;
      }
      for (int32_t bit = 0; bit < num_bits_; ++bit) {
        uint32_t best = problem_.whole[e];
        raise(best, problem_.mends[kKey][e * num_bits_ + bit]);
        const int32_t d = distance_of(best), flip = position * num_bits_ + bit;
        if (d != at_.base) sink_.change(FlippedSymbol::key, {flip, position, d}, at_.row, d == 0 ? -1 : at_.row - d);
      }
    }
  }

  // The best distance of this row with the key's `bit`, `e` rows ago, flipped, and `cut` the best without mending.
  int32_t search_key(int32_t e, int32_t bit, uint32_t cut) {
    uint32_t best = cut;
    raise(best, problem_.mends[kKey][e * num_bits_ + bit]);
    if (best < base_key_ && least_mended_ > static_cast<int32_t>(best >> 16)) best = raise_mended(best, e, bit);
    return distance_of(best);
  }

  // Mended runs shorter than the table's: their mismatch is where the key is, at distances just below e.
  uint32_t raise_mended(uint32_t best, int32_t e, int32_t bit) {
    int32_t d = e - least_mended_ + 2;  // a mended run is longer than the run
    for (d = d > 1 ? d : 1; d <= e; ++d) {
      if (run_[d - 1] + d == e && differs_[d - 1] == 1 << bit) raise(best, key(mended_[d - 1], d));
    }
    return best;
  }

  // The flip matches at distance d in this row.
  void settle(int side, int32_t flip, int32_t position, int32_t d) {
    problem_.searched[side][flip] = at_.row;
    problem_.is_active[side][flip] = d != at_.base;
    if (d != at_.base) at_.next[num_next_++] = {flip, position, d};
  }

  void swap_active(int side) {
    ActiveFlip* const swapped = at_.active[side];
    at_.active[side] = at_.next;
    at_.next = swapped;
    at_.num_active[side] = num_next_;
  }

  // Flips whose best distance extends keep it. Where the sequence's own extends, all flips that share it follow.
  void follow_queries(bool extends) {
    num_next_ = 0;
    for (int32_t k = 0; k < at_.num_active[kQuery]; ++k) {
      const ActiveFlip flip = at_.active[kQuery][k];
      const bool flip_extends = flip.distance > 0 && problem_.key[at_.row - flip.distance] == query_;
      if (flip_extends) {
        settle(kQuery, flip.flip, flip.position, flip.distance);
      } else if (extends) {
        const int32_t bit = flip.flip - flip.position * num_bits_;
        settle(kQuery, flip.flip, flip.position, search_query(at_.row - flip.position, bit));
      } else {
        problem_.is_active[kQuery][flip.flip] = 0;
      }
    }
    const int32_t begin = extends || at_.base_length == 0 ? at_.row : at_.row - at_.base_length + 1;
    for (int32_t position = begin; position <= at_.row; ++position) {
      for (int32_t bit = 0; bit < num_bits_; ++bit) {
        const int32_t flip = position * num_bits_ + bit;
        if (problem_.searched[kQuery][flip] != at_.row) {
          settle(kQuery, flip, position, search_query(at_.row - position, bit));
        }
      }
    }
    if (!extends) take_gains(kQuery);
    swap_active(kQuery);
  }

  bool key_extends(const ActiveFlip& flip) const {
    if (flip.distance == 0) return false;
    const int32_t position = at_.row - flip.distance, bit = flip.flip - flip.position * num_bits_;
    const int32_t flipped = position == flip.position ? 1 << bit : 0;
    return (problem_.key[position] ^ flipped) == query_;
  }

  void follow_keys(bool extends) {
    num_next_ = 0;
    const int32_t source = at_.row - at_.base;
    // Before they are settled anew: which flips of the key that the match has just reached shared its distance.
    if (extends && !is_long_) {
      for (int32_t bit = 0; bit < num_bits_; ++bit) {
        const int32_t flip = source * num_bits_ + bit;
        if (problem_.is_active[kKey][flip] == 0) settle_key(flip, source, bit);
      }
    }
    for (int32_t k = 0; k < at_.num_active[kKey]; ++k) {
      const ActiveFlip flip = at_.active[kKey][k];
      const int32_t bit = flip.flip - flip.position * num_bits_;
      if (is_long_ && is_under_match(flip.position)) {
        problem_.is_active[kKey][flip.flip] = 0;
      } else if (key_extends(flip)) {
        settle(kKey, flip.flip, flip.position, flip.distance);
      } else if (extends) {
        settle_key(flip.flip, flip.position, bit);
      } else {
        problem_.is_active[kKey][flip.flip] = 0;
      }
    }
    if (!extends && !is_long_ && at_.base_length > 0) {
      for (int32_t position = source - at_.base_length + 1; position <= source; ++position) settle_keys(position);
    }
    if (!extends) take_gains(kKey);
    swap_active(kKey);
  }

  void settle_key(int32_t flip, int32_t position, int32_t bit) {
    const uint32_t cut = is_under_match(position) ? search_cut(at_.row - position) : base_key_;
    settle(kKey, flip, position, search_key(at_.row - position, bit, cut));
  }
  void settle_keys(int32_t position) {
    const uint32_t cut = search_cut(at_.row - position);
    for (int32_t bit = 0; bit < num_bits_; ++bit) {
      const int32_t flip = position * num_bits_ + bit;
      if (problem_.searched[kKey][flip] != at_.row)
        settle(kKey, flip, position, search_key(at_.row - position, bit, cut));
    }
  }

  // Flips that the new match does not touch, and that mend a better one.
  void take_gains(int side) {
    for (int32_t k = 0; k < num_mends_[side]; ++k) {
      const int32_t entry = problem_.mended_list[side][k];
      const uint32_t offered = problem_.mends[side][entry];
      if (offered <= base_key_) continue;
      const int32_t rows_ago = entry / num_bits_, position = at_.row - rows_ago;
      const int32_t flip = position * num_bits_ + (entry - rows_ago * num_bits_);
      if (side == kKey && is_long_ && is_under_match(position)) continue;
      if (problem_.searched[side][flip] != at_.row) settle(side, flip, position, distance_of(offered));
    }
  }

  // Tells the sink where this row matches otherwise.
  void report() {
    for (int side = 0; side < 2; ++side) {
      for (int32_t k = 0; k < at_.num_active[side]; ++k) {
        const ActiveFlip& flip = at_.active[side][k];
        const int32_t position = flip.distance == 0 ? -1 : at_.row - flip.distance;
        sink_.change(static_cast<FlippedSymbol>(side), flip, at_.row, position);
      }
    }
  }

  const SymbolFlipProblem& problem_;
  Sink& sink_;
  int32_t length_, num_bits_;
  Element *run_, *mended_, *differs_;  // at index d - 1
  Element* lengths_;                   // of the search under way
  Element* reversed_;                  // the keys, last first
  SymbolFlipState at_;
  int32_t num_next_ = 0;
  int32_t num_mends_[2] = {0, 0}, least_mended_ = 0, num_misses_ = 0;
  int32_t query_ = 0, num_vectors_ = 0;
  uint32_t base_key_ = 0, outer_ = 0;
  int32_t last_under_ = 0;  // rows since the first key under the match
  bool is_long_ = false;
  bool outer_row_ = false;  // whether this row's search_cut has done the work that its keys share
};

template <template <class> class LanesOf, class Sink>
void run_symbol_flips(const SymbolFlipProblem& problem, Sink& sink) {
  if (problem.num_bits > 8) {
    SymbolFlipRun<LanesOf, uint16_t, Sink>(problem, sink).run();
    return;
  }
  SymbolFlipRun<LanesOf, uint8_t, Sink> narrow(problem, sink);
  if (!narrow.run()) SymbolFlipRun<LanesOf, uint16_t, Sink>(narrow).run();
}

}  // namespace rosa::kernels
