#include "rosa/automaton/online_automaton.h"

namespace rosa::automaton {

OnlineAutomaton::OnlineAutomaton() { add_state(0); }

void OnlineAutomaton::append(uint64_t symbol, Locus& locus) {
  const int32_t current = add_state(states_[last_].length + 1);
  int32_t state = last_;
  int32_t target = kNone;
  for (; state != kNone; state = states_[state].link) {
    ++num_steps_;
    target = edges_.find(state, symbol);
    if (target != kNone) break;
    edges_.add(state, symbol, current);
  }
  int32_t link = kRoot;
  if (state != kNone) {
    link = target;
    if (states_[state].length + 1 != states_[target].length) {
      link = split(target, states_[state].length + 1, locus);
      for (; state != kNone && edges_.find(state, symbol) == target; state = states_[state].link) {
        ++num_steps_;
        edges_.redirect(state, symbol, link);
      }
    }
  }
  states_[current].link = link;
  forest_.hang(current, link);
  forest_.mark(current, states_[current].length - 1);
  last_ = current;
}

Locus OnlineAutomaton::extend(Locus locus, uint64_t symbol) {
  for (;;) {
    ++num_steps_;
    const int32_t target = edges_.find(locus.state, symbol);
    if (target != kNone) return {target, locus.length + 1};
    if (locus.state == kRoot) return {};
    locus.state = states_[locus.state].link;
    locus.length = states_[locus.state].length;
  }
}

int32_t OnlineAutomaton::add_state(int32_t length) {
  states_.push_back({kNone, length});
  edges_.add_state();
  return forest_.add_node();
}

// Moves the strings of at most `length` symbols out of `state` into a new state, and returns that.
int32_t OnlineAutomaton::split(int32_t state, int32_t length, Locus& locus) {
  const int32_t clone = add_state(length);
  edges_.copy(state, clone);
  forest_.insert_above(state, clone);
  states_[clone].link = states_[state].link;
  states_[state].link = clone;
  if (locus.state == state && locus.length <= length) locus.state = clone;
  return clone;
}

}  // namespace rosa::automaton
