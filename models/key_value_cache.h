// KeyValueCache: the keys and values of one layer of one text during generation: all of them, or a ring of the last.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/attention.h"

namespace rosa::models {

class KeyValueCache {
 public:
  // Keeps what a window needs, and so many positions more that `max_rewind` can be taken back at any time. Window 0:
  // keeps everything. Buffers grow with the text. Sinks are kept beside them.
  KeyValueCache(const AttentionSpan& span, int64_t max_rewind)
      : window_(span.window), sinks_(span.window > 0 ? span.sinks : 0), max_rewind_(max_rewind) {}
  KeyValueCache(const KeyValueCache& other);
  KeyValueCache& operator=(const KeyValueCache& other);
  KeyValueCache(KeyValueCache&&) noexcept = default;
  KeyValueCache& operator=(KeyValueCache&&) noexcept = default;
  ~KeyValueCache() = default;

  // Appends n positions and attends: query [1,n,H,d], key and value [1,n,G,d], rotated -> [1,n,H*d].
  at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

  // Appends key and value [n,G,d] of any dtype, kept as `dtype` on `device`. Of at most kMaxTogether new positions each
  // still finds its whole window afterwards.
  static constexpr int64_t kMaxTogether = 16;
  void append(const at::Tensor& key, const at::Tensor& value, const at::TensorOptions& kept_as);

  int64_t size() const { return size_; }
  // How many of the latest positions rewind() can take back now: at least max_rewind, or all.
  int64_t rewindable() const;
  // Takes back the latest positions. Throws ArgumentError, and changes nothing, where it can't.
  void rewind(int64_t num_positions);

  // Keys and values, [G,capacity,d]; position p is in slot p % capacity.
  const at::Tensor& keys() const { return keys_; }
  const at::Tensor& values() const { return values_; }
  // The first position that the token at `position` sees.
  int64_t first_visible(int64_t position) const {
    return window_ > 0 && position >= window_ ? position - window_ + 1 : 0;
  }

  // Those of the first positions, [G,sinks,d], which every token sees; undefined before the first append, and without
  // sinks.
  const at::Tensor& sink_keys() const { return sink_keys_; }
  const at::Tensor& sink_values() const { return sink_values_; }
  // How many of these the token at `position` sees beside what it sees from first_visible() on.
  int64_t distant_sinks(int64_t position) const { return std::min(sinks_, first_visible(position)); }

  // What is kept of a text, for save(): positions oldest() .. size()-1 in order, [G,n,d].
  int64_t oldest() const { return oldest_; }
  at::Tensor kept(const at::Tensor& buffer) const { return in_order(buffer, oldest_); }
  // Returns the most positions that a cache of a text of `size` keeps.
  int64_t max_kept(int64_t size) const;
  // Whether the last `count` positions are what a cache of a text of `size` may keep.
  bool could_keep(int64_t size, int64_t count) const {
    return count <= max_kept(size) && (count == size || (window_ > 0 && count >= window_ - 1));
  }
  // Makes an empty cache one of a text of `size`, of its last positions, [G,n,d]. Throws ArgumentError unless
  // could_keep() so many.
  void restore(int64_t size, const at::Tensor& keys, const at::Tensor& values);
  // Then also the sinks', [G,sinks,d]; with sinks, where the text is not empty.
  void restore_sinks(const at::Tensor& keys, const at::Tensor& values);
  int64_t num_sinks() const { return sinks_; }
  size_t num_bytes() const;

 private:
  at::Tensor in_order(const at::Tensor& buffer, int64_t first) const;
  void reserve(const at::Tensor& like, const at::TensorOptions& kept_as, int64_t count);

  void keep_sinks(const at::Tensor& key, const at::Tensor& value, const at::TensorOptions& kept_as);

  int64_t window_, sinks_, max_rewind_;
  int64_t size_ = 0;    // positions seen, not all of them kept
  int64_t oldest_ = 0;  // the first that is kept
  at::Tensor keys_, values_;
  at::Tensor sink_keys_, sink_values_;
};

}  // namespace rosa::models
