// Batches of packed documents as the device forms of the proxies take them, with what the definition gives for each
// document and head. The arrays are on the host; a test runs the blocks there, or copies them to a device.
#pragma once

#include <string>
#include <vector>

#include "rosa/kernels/proxy_grid.h"
#include "tests/rosa/kernels/dense_surrogate_oracle.h"
#include "tests/rosa/kernels/proxy_oracle.h"

namespace rosa::kernels::testing {

// `sizes`: heads are those of one key/value head; the length is that of all documents together.
struct PackedCase {
  ProxyCase sizes;
  int64_t num_rows = 1, num_groups = 1;
  std::vector<int64_t> documents;  // lengths, the same in every row
};

// [row][head][bit][t], as ProxyArguments says.
struct PackedArrays {
  std::vector<float> query, key, value, grad_output;
  std::vector<double> output, grad_query, grad_key, grad_value;
  std::vector<float> bias;
  std::vector<Segment> segments;
};

inline int64_t total_length(const PackedCase& c) {
  int64_t length = 0;
  for (const int64_t document : c.documents) length += document;
  return length;
}

// Copies [head][t][bit] of one document into [row][head][bit][t].
template <class Value>
void place(const std::vector<double>& from, int64_t num_heads, int64_t length, int64_t num_bits, int64_t first_head,
           int64_t begin, int64_t pitch, std::vector<Value>& to) {
  for (int64_t head = 0; head < num_heads; ++head) {
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t bit = 0; bit < num_bits; ++bit) {
        to[static_cast<size_t>(((first_head + head) * num_bits + bit) * pitch + begin + t)] =
            static_cast<Value>(from[static_cast<size_t>((head * length + t) * num_bits + bit)]);
      }
    }
  }
}

inline PackedArrays make_packed(ProxyKind kind, const PackedCase& c) {
  const int64_t length = total_length(c), groups = c.num_rows * c.num_groups, heads = groups * c.sizes.heads;
  const auto size = [&](int64_t count, int64_t bits) { return static_cast<size_t>(count * bits * length); };
  PackedArrays packed;
  packed.query.resize(size(heads, c.sizes.query_bits));
  packed.key.resize(size(groups, c.sizes.query_bits));
  packed.value.resize(size(groups, c.sizes.value_bits));
  packed.grad_output.resize(size(heads, c.sizes.value_bits));
  packed.output.resize(packed.grad_output.size());
  packed.grad_query.resize(packed.query.size());
  packed.grad_key.resize(packed.key.size());
  packed.grad_value.resize(packed.value.size());
  ProxyCase whole = c.sizes;
  whole.length = length;
  whole.bias = kind != ProxyKind::dense_surrogate;
  packed.bias = make_bias(whole, kind == ProxyKind::sufa ? 1 : c.sizes.attn_tau);
  for (int64_t group = 0; group < groups; ++group) {
    int64_t begin = 0;
    for (const int64_t document : c.documents) {
      ProxyCase one = c.sizes;
      one.length = document;
      one.seed = static_cast<uint64_t>(1000 * group + begin);
      ProxyArrays arrays = kind == ProxyKind::dense_surrogate ? make_signs(one) : make_arrays(one);
      if (kind == ProxyKind::sufa) sufa_oracle(one, packed.bias, arrays);
      if (kind == ProxyKind::soft_rosa) soft_rosa_oracle(one, packed.bias, arrays);
      if (kind == ProxyKind::dense_surrogate) dense_surrogate_oracle(one, arrays);
      const auto put = [&](const std::vector<double>& from, bool per_head, int64_t bits, auto& to) {
        const int64_t count = per_head ? one.heads : 1;
        place(from, count, document, bits, group * count, begin, length, to);
      };
      put(arrays.query, true, one.query_bits, packed.query);
      put(arrays.key, false, one.query_bits, packed.key);
      put(arrays.value, false, one.value_bits, packed.value);
      put(arrays.grad_output, true, one.value_bits, packed.grad_output);
      put(arrays.output, true, one.value_bits, packed.output);
      put(arrays.grad_query, true, one.query_bits, packed.grad_query);
      put(arrays.grad_key, false, one.query_bits, packed.grad_key);
      put(arrays.grad_value, false, one.value_bits, packed.grad_value);
      if (group % c.num_groups == 0) {
        packed.segments.push_back(
            {static_cast<int32_t>(group / c.num_groups), static_cast<int32_t>(begin), static_cast<int32_t>(document)});
      }
      begin += document;
    }
  }
  return packed;
}

// The sizes and settings; no pointer is set.
inline ProxyArguments make_arguments(ProxyKind kind, const PackedCase& c) {
  const SoftRosaProblem soft_rosa = soft_rosa_problem(c.sizes, {});
  ProxyArguments p;
  p.num_segments = c.num_rows * static_cast<int64_t>(c.documents.size());
  p.max_length = *std::max_element(c.documents.begin(), c.documents.end());
  p.num_heads = c.num_groups * c.sizes.heads;
  p.num_kv_heads = c.num_groups;
  p.length = total_length(c);
  p.query_bits = c.sizes.query_bits;
  p.value_bits = c.sizes.value_bits;
  p.max_distance = c.sizes.max_distance;
  p.num_symbols = c.sizes.num_symbols;
  p.bits_scale = soft_rosa.bits_scale;
  p.bits_offset = soft_rosa.bits_offset;
  p.logit_scale = kind == ProxyKind::sufa ? c.sizes.scale : soft_rosa.logit_scale;
  if (kind == ProxyKind::dense_surrogate) {
    p.bits_scale = static_cast<float>(kMismatchScale / 2) / static_cast<float>(p.query_bits);
    p.logit_scale = kUtilityScale / static_cast<double>(c.sizes.attn_tau);
  }
  return p;
}

// The cases that every device form is tested on: edges of the tiles, one head, documents, odd sizes.
inline std::vector<PackedCase> packed_cases(ProxyKind kind) {
  std::vector<PackedCase> cases;
  const auto add = [&](int64_t heads, int64_t rows, int64_t groups, int64_t query_bits, int64_t value_bits,
                       const std::vector<int64_t>& documents, int64_t max_distance = kNoLimit) {
    ProxyCase sizes;
    sizes.heads = heads, sizes.query_bits = query_bits, sizes.value_bits = value_bits;
    sizes.num_symbols = kind == ProxyKind::sufa ? std::max<int64_t>(1, 128 / query_bits) : 0;
    sizes.max_distance = max_distance;
    sizes.bits_tau = max_distance == kNoLimit ? 1 : 0.6F;
    sizes.attn_tau = max_distance == kNoLimit ? 1 : 0.4F;
    cases.push_back({sizes, rows, groups, documents});
  };
  add(1, 1, 1, 8, 8, {1});
  add(1, 1, 1, 8, 8, {2});
  add(1, 1, 1, 8, 8, {31});
  add(1, 1, 1, 8, 8, {32});
  add(1, 1, 1, 8, 8, {33});
  add(1, 1, 1, 8, 8, {128});
  add(1, 1, 1, 8, 8, {129});
  add(2, 1, 1, 8, 8, {300});
  add(2, 2, 2, 4, 3, {1, 40, 2, 97});
  add(3, 1, 1, 1, 1, {150});
  add(1, 1, 2, 63, 9, {70});
  add(1, 1, 1, 5, 63, {65});
  add(1, 2, 1, 8, 8, {140, 160}, 50);
  add(1, 1, 1, 8, 8, {90}, 1);
  for (const char* input : {"constant", "saturated", "runs"}) {
    add(1, 1, 1, 8, 8, {200});
    cases.back().sizes.input = input;
  }
  return cases;
}

}  // namespace rosa::kernels::testing
