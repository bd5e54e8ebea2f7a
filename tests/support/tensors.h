// Tensors of safetensors files, and the comparison the goldens ask for.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "base/safetensors.h"
#include "rosa/operator/tensor_bytes.h"

namespace rosa::testing {

// A copy of one entry. Throws DataError if it is not there.
inline at::Tensor load_tensor(const base::SafetensorsFile& file, const std::string& name) {
  const base::TensorView& view = file.at(name);
  return from_state({view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}});
}

// Expects the same shape and every entry within `tolerance` times the largest absolute entry of `expected`.
inline void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                         const std::string& what = "") {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  if (expected.numel() == 0) return;
  const at::Tensor wanted = expected.detach().to(at::kDouble);
  const at::Tensor difference = (actual.detach().to(at::kCPU).to(at::kDouble) - wanted).abs();
  const double largest = wanted.abs().max().item<double>();
  const double error = difference.max().item<double>();
  // Written so that a NaN fails.
  EXPECT_TRUE(error <= tolerance * largest) << what << ": largest difference " << error << ", largest entry " << largest
                                            << ", tolerance " << tolerance << " of it";
}

// Every entry within the absolute `tolerance`.
inline void expect_near(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                        const std::string& what = "") {
  ASSERT_TRUE(actual.defined()) << what;
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const double difference =
      (actual.detach().to(at::kDouble) - expected.detach().to(at::kDouble)).abs().max().item<double>();
  EXPECT_TRUE(difference <= tolerance) << what << ": differs by " << difference << ", expected at most " << tolerance;
}

}  // namespace rosa::testing
