#include "models/key_value_cache.h"

#include <algorithm>
#include <limits>

#include "models/attention.h"

namespace rosa::models {
namespace {

constexpr int64_t kFirstCapacity = 64;

at::Tensor attend_all(const at::Tensor& query, const at::Tensor& keys, const at::Tensor& values,
                      const std::optional<at::Tensor>& mask) {
  const at::Tensor result = at::scaled_dot_product_attention(
      query.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), mask, 0.0, /*is_causal=*/false, std::nullopt,
      /*enable_gqa=*/query.size(2) != keys.size(2));
  return result.transpose(1, 2).reshape({query.size(0), query.size(1), query.size(2) * query.size(3)});
}

}  // namespace

at::Tensor KeyValueCache::attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const int64_t count = query.size(1);
  if (size_ == 0) {
    append(key, value);
    return CausalAttention(query.size(0), count, window_, {}, query)(query, key, value);
  }
  if (count == 1) {
    append(key, value);
    // A softmax does not mind the order of the ring; the keys carry their positions.
    const int64_t kept = window_ > 0 ? std::min(size_, window_) : size_;
    return attend_all(query, keys_.narrow(1, 0, kept), values_.narrow(1, 0, kept), std::nullopt);
  }
  const int64_t past = window_ > 0 ? std::min(size_, window_ - 1) : size_;
  const at::Tensor all_keys = at::cat({last(keys_, past), key}, 1);
  const at::Tensor all_values = at::cat({last(values_, past), value}, 1);
  const at::TensorOptions integers = query.options().dtype(at::kLong);
  const at::Tensor row = at::arange(past, past + count, integers).unsqueeze(1);
  const at::Tensor column = at::arange(past + count, integers).unsqueeze(0);
  at::Tensor hidden = column.gt(row);
  if (window_ > 0) hidden = hidden.logical_or(column.le(row - window_));
  const at::Tensor mask = at::zeros({1, 1, count, past + count}, query.options())
                              .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  append(key, value);
  return attend_all(query, all_keys, all_values, mask);
}

at::Tensor KeyValueCache::last(const at::Tensor& buffer, int64_t count) const {
  if (window_ == 0) return buffer.narrow(1, size_ - count, count);
  const at::Tensor positions = at::arange(size_ - count, size_, buffer.options().dtype(at::kLong));
  return buffer.index_select(1, positions.remainder(window_));
}

void KeyValueCache::append(const at::Tensor& key, const at::Tensor& value) {
  const int64_t count = key.size(1);
  reserve(key, size_ + count);
  if (window_ == 0) {
    keys_.narrow(1, size_, count).copy_(key);
    values_.narrow(1, size_, count).copy_(value);
  } else {
    const int64_t kept = std::min(count, window_);
    const at::Tensor slots =
        at::arange(size_ + count - kept, size_ + count, key.options().dtype(at::kLong)).remainder(window_);
    keys_.index_copy_(1, slots, key.narrow(1, count - kept, kept));
    values_.index_copy_(1, slots, value.narrow(1, count - kept, kept));
  }
  size_ += count;
}

void KeyValueCache::reserve(const at::Tensor& like, int64_t size) {
  const int64_t old_capacity = keys_.defined() ? keys_.size(1) : 0;
  if (old_capacity > 0 && (window_ > 0 || size <= old_capacity)) return;
  const int64_t capacity = window_ > 0 ? window_ : std::max({kFirstCapacity, 2 * old_capacity, size});
  for (at::Tensor* buffer : {&keys_, &values_}) {
    at::Tensor grown = at::zeros({like.size(0), capacity, like.size(2), like.size(3)}, like.options());
    if (size_ > 0) grown.narrow(1, 0, size_).copy_(buffer->narrow(1, 0, size_));
    *buffer = std::move(grown);
  }
}

}  // namespace rosa::models
