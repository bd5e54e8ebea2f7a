// KeyValueCache: the keys and values of one layer during generation, all of them or a ring of the window's last.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace rosa::models {

class KeyValueCache {
 public:
  // window 0: keeps everything, in buffers that double.
  explicit KeyValueCache(int64_t window) : window_(window) {}

  // Appends n positions and attends: query [B,n,H,d], key and value [B,n,G,d], rotated -> [B,n,H*d].
  at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

  int64_t size() const { return size_; }

 private:
  // The last `count` positions of a buffer in order.
  at::Tensor last(const at::Tensor& buffer, int64_t count) const;
  void append(const at::Tensor& key, const at::Tensor& value);
  void reserve(const at::Tensor& like, int64_t size);

  int64_t window_;
  int64_t size_ = 0;  // positions seen, not all of them kept
  at::Tensor keys_;   // [B,capacity,G,d]; position p is in slot p % window
  at::Tensor values_;
};

}  // namespace rosa::models
