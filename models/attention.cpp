#include "models/attention.h"

#include <algorithm>
#include <limits>

namespace rosa::models {
namespace {

// Smaller blocks cost more in overhead than they save in masked cells.
constexpr int64_t kMinBlock = 32;
// Rows of a masked global attention that are computed at once, so that no [T,T] mask exists for long T.
constexpr int64_t kRowChunk = 1024;

// 0 where allowed, -infinity elsewhere.
at::Tensor additive(const at::Tensor& allowed, const at::Tensor& like) {
  const at::Tensor mask = at::zeros(allowed.sizes(), like.options().requires_grad(false));
  return mask.masked_fill_(allowed.logical_not(), -std::numeric_limits<double>::infinity());
}

// The three in [B,T,heads,d] -> [B,T,H,d].
at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& mask,
                  bool is_causal) {
  const bool grouped = query.size(2) != key.size(2);
  return at::scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2),
                                          mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt, 0.0,
                                          is_causal, std::nullopt, grouped)
      .transpose(1, 2);
}

}  // namespace

CausalAttention::CausalAttention(int64_t batch, int64_t length, const AttentionSpan& span, const at::Tensor& documents,
                                 const at::Tensor& like)
    : batch_(batch),
      length_(length),
      window_(span.window < length ? span.window : 0),
      sinks_(window_ > 0 ? std::min(span.sinks, length) : 0),
      documents_(documents) {
  if (sinks_ > 0 && documents.defined()) {
    starts_ = at::arange(length, documents.options()).unsqueeze(0) - positions_in_documents(documents);
  }
  const int64_t block = std::max(window_, kMinBlock);
  if (window_ > 0 && 2 * block < length) {
    block_ = block;
    num_blocks_ = (length + block - 1) / block;
    if (sinks_ > 0) find_distant_sinks(like);
    mask_ = blocked_mask(like);
  } else if ((window_ > 0 || documents.defined()) && length <= kRowChunk) {
    mask_ = rows_mask(0, length, like);
  }
}

at::Tensor CausalAttention::operator()(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const {
  at::Tensor result;
  if (block_ > 0) {
    result = in_blocks(query, key, value);
  } else if (mask_.defined()) {
    result = attend(query, key, value, mask_, false);
  } else if (window_ > 0 || documents_.defined()) {
    result = in_row_chunks(query, key, value);
  } else {
    result = attend(query, key, value, {}, true);
  }
  return result.reshape({batch_, length_, query.size(2) * query.size(3)});
}

// A block looks at the keys of the block before and its own. Sinks that lie before these are added to them: those of
// the document that the first of these keys is in, since any other document of theirs begins among them.
void CausalAttention::find_distant_sinks(const at::Tensor& like) {
  const at::TensorOptions integers = like.options().dtype(at::kLong).requires_grad(false);
  const at::Tensor sink = at::arange(sinks_, integers);
  const at::Tensor first_key = (at::arange(num_blocks_, integers) - 1).clamp_min(0) * block_;
  // [B|1, blocks]: where the document of a block's first key begins.
  const at::Tensor start =
      starts_.defined() ? starts_.index_select(1, first_key) : at::zeros({1, num_blocks_}, integers);
  const at::Tensor position = (start.unsqueeze(2) + sink).view({start.size(0), num_blocks_ * sinks_, 1});
  const at::Tensor is_before = position.lt(first_key.unsqueeze(1).expand({num_blocks_, sinks_}).reshape({1, -1, 1}));
  // Taken out by a product with ones: exact, and its gradient is summed in a fixed order on every device.
  distant_sinks_ = position.eq(at::arange(length_, integers)).logical_and(is_before).to(like.scalar_type());
}

// [B * blocks, 1, block, sinks + 2 * block]: row a of block n is position n*block + a; the first columns are the
// block's distant sinks, and column sinks + b is position (n-1)*block + b.
at::Tensor CausalAttention::blocked_mask(const at::Tensor& like) const {
  const at::TensorOptions integers = like.options().dtype(at::kLong).requires_grad(false);
  const at::Tensor row = at::arange(block_, integers).view({1, 1, block_, 1});
  const at::Tensor column = at::arange(2 * block_, integers).view({1, 1, 1, 2 * block_}) - block_;
  const at::Tensor first = at::arange(num_blocks_, integers).view({1, num_blocks_, 1, 1}) * block_;
  // [B, blocks, block] of something that each position has, what the last one has for those that fill the last block.
  const auto by_block = [&](const at::Tensor& of_position) {
    const int64_t padding = num_blocks_ * block_ - length_;
    const at::Tensor last = of_position.narrow(1, length_ - 1, 1).expand({batch_, padding});
    return at::cat({of_position, last}, 1).view({batch_, num_blocks_, block_});
  };
  const auto with_previous = [&](const at::Tensor& blocks) {
    const at::Tensor before = at::cat({blocks.narrow(1, 0, 1), blocks.narrow(1, 0, num_blocks_ - 1)}, 1);
    return at::cat({before, blocks}, 2);
  };
  at::Tensor allowed = column.gt(row - window_);
  if (sinks_ > 0) {
    const at::Tensor start =
        starts_.defined() ? with_previous(by_block(starts_)).unsqueeze(2) : at::zeros({1}, integers);
    allowed = allowed.logical_or((first + column).lt(start + sinks_));
  }
  allowed = allowed.logical_and(column.le(row)).logical_and((first + column).ge(0));
  at::Tensor own;
  if (documents_.defined()) {
    own = by_block(documents_);
    allowed = allowed.logical_and(own.unsqueeze(3).eq(with_previous(own).unsqueeze(2)));
  }
  if (sinks_ > 0) {
    at::Tensor there = distant_sinks_.any(2).view({-1, num_blocks_, 1, sinks_});
    if (documents_.defined()) {
      // The document of the first key that the block looks at.
      const at::Tensor of_sinks = with_previous(own).select(2, 0).view({batch_, num_blocks_, 1, 1});
      there = there.logical_and(own.unsqueeze(3).eq(of_sinks));
    }
    const auto whole = [&](const at::Tensor& part) { return part.expand({batch_, num_blocks_, block_, part.size(3)}); };
    allowed = at::cat({whole(there), whole(allowed)}, 3);
  }
  return additive(allowed, like)
      .expand({batch_, num_blocks_, block_, allowed.size(3)})
      .reshape({batch_ * num_blocks_, 1, block_, allowed.size(3)});
}

at::Tensor CausalAttention::in_blocks(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const {
  const int64_t padding = num_blocks_ * block_ - length_;
  const auto blocks = [&](const at::Tensor& rows) {
    const at::Tensor padded = padding > 0 ? at::constant_pad_nd(rows, {0, 0, 0, 0, 0, padding}) : rows;
    return padded.reshape({batch_, num_blocks_, block_, rows.size(2), rows.size(3)});
  };
  // The keys a block may see: distant sinks, those of the block before (masked for the first) and its own.
  const auto seen = [&](const at::Tensor& rows) {
    const at::Tensor own = blocks(rows);
    const at::Tensor zeros = at::zeros({1}, rows.options()).expand_as(own.narrow(1, 0, 1));
    const at::Tensor previous = at::cat({zeros, own.narrow(1, 0, num_blocks_ - 1)}, 1);
    if (sinks_ == 0) {
      return at::cat({previous, own}, 2).view({batch_ * num_blocks_, 2 * block_, rows.size(2), rows.size(3)});
    }
    const at::Tensor distant =
        at::matmul(distant_sinks_, rows.flatten(2)).view({batch_, num_blocks_, sinks_, rows.size(2), rows.size(3)});
    return at::cat({distant, previous, own}, 2)
        .view({batch_ * num_blocks_, sinks_ + 2 * block_, rows.size(2), rows.size(3)});
  };
  const at::Tensor result = attend(blocks(query).view({batch_ * num_blocks_, block_, query.size(2), query.size(3)}),
                                   seen(key), seen(value), mask_, false)
                                .reshape({batch_, num_blocks_ * block_, query.size(2), query.size(3)});
  return padding > 0 ? result.narrow(1, 0, length_) : result;
}

// Rows first .. last-1 against columns 0 .. last-1: [1|B, 1, rows, last].
at::Tensor CausalAttention::rows_mask(int64_t first, int64_t last, const at::Tensor& like) const {
  const at::TensorOptions integers = like.options().dtype(at::kLong).requires_grad(false);
  const at::Tensor row = at::arange(first, last, integers).view({1, 1, last - first, 1});
  const at::Tensor column = at::arange(last, integers).view({1, 1, 1, last});
  at::Tensor allowed = column.le(row);
  if (window_ > 0) {
    at::Tensor near = column.gt(row - window_);
    if (sinks_ > 0) {
      const at::Tensor start =
          starts_.defined() ? starts_.narrow(1, 0, last).view({batch_, 1, 1, last}) : at::zeros({1}, integers);
      near = near.logical_or(column.lt(start + sinks_));
    }
    allowed = allowed.logical_and(near);
  }
  if (documents_.defined()) {
    const at::Tensor row_documents = documents_.narrow(1, first, last - first).view({batch_, 1, last - first, 1});
    allowed = allowed.logical_and(row_documents.eq(documents_.narrow(1, 0, last).view({batch_, 1, 1, last})));
  }
  return additive(allowed, like);
}

at::Tensor CausalAttention::in_row_chunks(const at::Tensor& query, const at::Tensor& key,
                                          const at::Tensor& value) const {
  std::vector<at::Tensor> chunks;
  for (int64_t first = 0; first < length_; first += kRowChunk) {
    const int64_t last = std::min(first + kRowChunk, length_);
    chunks.push_back(attend(query.narrow(1, first, last - first), key.narrow(1, 0, last), value.narrow(1, 0, last),
                            rows_mask(first, last, query), false));
  }
  return at::cat(chunks, 1);
}

at::Tensor positions_in_documents(const at::Tensor& documents) {
  const int64_t length = documents.size(1);
  const at::Tensor index = at::arange(length, documents.options()).unsqueeze(0);
  const at::Tensor same =
      at::constant_pad_nd(documents.narrow(1, 1, length - 1).eq(documents.narrow(1, 0, length - 1)), {1, 0});
  const at::Tensor starts = std::get<0>(at::cummax(index.masked_fill(same, 0).expand_as(documents).contiguous(), 1));
  return index - starts;
}

}  // namespace rosa::models
