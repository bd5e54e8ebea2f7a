#include "models/key_value_cache.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace rosa::models {
namespace {

constexpr int64_t kFirstCapacity = 64;

// The slots of `count` positions from `first` on in a ring: at most two runs without a break.
template <class Visit>
void for_each_run(int64_t first, int64_t count, int64_t capacity, const Visit& visit) {
  const int64_t slot = first % capacity;
  const int64_t before_end = std::min(count, capacity - slot);
  visit(slot, int64_t{0}, before_end);
  if (count > before_end) visit(int64_t{0}, before_end, count - before_end);
}

}  // namespace

KeyValueCache::KeyValueCache(const KeyValueCache& other)
    : window_(other.window_),
      sinks_(other.sinks_),
      max_rewind_(other.max_rewind_),
      size_(other.size_),
      oldest_(other.oldest_) {
  if (!other.keys_.defined()) return;
  if (sinks_ > 0) {
    sink_keys_ = other.sink_keys_.clone();
    sink_values_ = other.sink_values_.clone();
  }
  keys_ = other.keys_.clone();
  values_ = other.values_.clone();
}

KeyValueCache& KeyValueCache::operator=(const KeyValueCache& other) {
  KeyValueCache copy(other);
  std::swap(*this, copy);
  return *this;
}

at::Tensor KeyValueCache::attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const int64_t count = query.size(1);
  const int64_t first = first_visible(size_), past = size_ - first;
  at::Tensor all_keys = key[0].transpose(0, 1), all_values = value[0].transpose(0, 1);  // [G,n,d]
  if (past > 0) {
    all_keys = at::cat({in_order(keys_, first), all_keys}, 1);
    all_values = at::cat({in_order(values_, first), all_values}, 1);
  }
  const int64_t distant = distant_sinks(size_);  // those that lie before `first`
  if (distant > 0) {
    all_keys = at::cat({sink_keys_.narrow(1, 0, distant), all_keys}, 1);
    all_values = at::cat({sink_values_.narrow(1, 0, distant), all_values}, 1);
  }
  std::optional<at::Tensor> mask;
  if (past > 0 || (window_ > 0 && count > window_)) {
    const at::TensorOptions integers = query.options().dtype(at::kLong);
    const at::Tensor row = at::arange(size_, size_ + count, integers).unsqueeze(1);
    const at::Tensor column =
        at::cat({at::arange(distant, integers), at::arange(first, size_ + count, integers)}).unsqueeze(0);
    at::Tensor hidden = column.gt(row);
    if (window_ > 0) hidden = hidden.logical_or(column.le(row - window_).logical_and(column.ge(sinks_)));
    mask = at::zeros({1, 1, count, column.size(1)}, query.options())
               .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  }
  append(key[0], value[0], key.options());
  return at::scaled_dot_product_attention(query.transpose(1, 2), all_keys.unsqueeze(0), all_values.unsqueeze(0), mask,
                                          0.0, /*is_causal=*/!mask.has_value(), std::nullopt,
                                          /*enable_gqa=*/query.size(2) != key.size(2))
      .transpose(1, 2)
      .reshape({1, count, query.size(2) * query.size(3)});
}

// Positions first .. size()-1.
at::Tensor KeyValueCache::in_order(const at::Tensor& buffer, int64_t first) const {
  std::vector<at::Tensor> runs;
  for_each_run(first, size_ - first, buffer.size(1),
               [&](int64_t slot, int64_t, int64_t count) { runs.push_back(buffer.narrow(1, slot, count)); });
  return runs.size() == 1 ? runs[0] : at::cat(runs, 1);
}

void KeyValueCache::append(const at::Tensor& key, const at::Tensor& value, const at::TensorOptions& kept_as) {
  const int64_t count = key.size(0);
  reserve(key, kept_as, count);
  if (size_ < sinks_) keep_sinks(key, value, kept_as);
  const int64_t capacity = keys_.size(1), kept = std::min(count, capacity);
  for_each_run(size_ + count - kept, kept, capacity, [&](int64_t slot, int64_t from, int64_t run) {
    const auto copy = [&](at::Tensor& to, const at::Tensor& rows) {
      to.narrow(1, slot, run).copy_(rows.narrow(0, count - kept + from, run).transpose(0, 1));
    };
    copy(keys_, key);
    copy(values_, value);
  });
  size_ += count;
  oldest_ = std::max(oldest_, size_ - capacity);
}

void KeyValueCache::keep_sinks(const at::Tensor& key, const at::Tensor& value, const at::TensorOptions& kept_as) {
  if (!sink_keys_.defined()) {
    sink_keys_ = at::zeros({key.size(1), sinks_, key.size(2)}, kept_as);
    sink_values_ = at::zeros_like(sink_keys_);
  }
  const int64_t count = std::min(sinks_ - size_, key.size(0));
  sink_keys_.narrow(1, size_, count).copy_(key.narrow(0, 0, count).transpose(0, 1));
  sink_values_.narrow(1, size_, count).copy_(value.narrow(0, 0, count).transpose(0, 1));
}

void KeyValueCache::restore_sinks(const at::Tensor& keys, const at::Tensor& values) {
  sink_keys_ = keys;
  sink_values_ = values;
}

size_t KeyValueCache::num_bytes() const {
  size_t bytes = 0;
  for (const at::Tensor& tensor : {keys_, values_, sink_keys_, sink_values_}) {
    if (tensor.defined()) bytes += tensor.nbytes();
  }
  return bytes;
}

int64_t KeyValueCache::rewindable() const {
  if (oldest_ == 0) return size_;
  return size_ - oldest_ - (window_ - 1);
}

void KeyValueCache::rewind(int64_t num_positions) {
  base::require(num_positions >= 0 && num_positions <= rewindable(), "rewind by ", num_positions,
                " positions; a text of ", size_, " can be taken back by at most ", rewindable(), " now");
  size_ -= num_positions;
}

int64_t KeyValueCache::max_kept(int64_t size) const {
  if (window_ == 0) return size;
  return std::min(size, window_ + std::max(max_rewind_, kMaxTogether));
}

void KeyValueCache::restore(int64_t size, const at::Tensor& keys, const at::Tensor& values) {
  const int64_t count = keys.size(1);
  base::require(size_ == 0 && could_keep(size, count), "a cache of ", size, " positions can't be made of ", count);
  size_ = oldest_ = size - count;
  if (count == 0) return;
  append(keys.transpose(0, 1), values.transpose(0, 1), keys.options());
}

void KeyValueCache::reserve(const at::Tensor& like, const at::TensorOptions& kept_as, int64_t count) {
  const int64_t old_capacity = keys_.defined() ? keys_.size(1) : 0, kept = size_ - oldest_;
  const int64_t most = max_kept(std::numeric_limits<int64_t>::max());
  const int64_t wanted = std::min(most, kept + count);
  if (wanted <= old_capacity) return;
  const int64_t capacity = std::min(most, std::max({kFirstCapacity, 2 * old_capacity, wanted}));
  for (at::Tensor* buffer : {&keys_, &values_}) {
    at::Tensor grown = at::zeros({like.size(1), capacity, like.size(2)}, kept_as);
    if (kept > 0) {
      const at::Tensor old = in_order(*buffer, oldest_);
      for_each_run(oldest_, kept, capacity, [&](int64_t slot, int64_t from, int64_t run) {
        grown.narrow(1, slot, run).copy_(old.narrow(1, from, run));
      });
    }
    *buffer = std::move(grown);
  }
}

}  // namespace rosa::models
