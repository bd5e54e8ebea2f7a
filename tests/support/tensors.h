// Tensors of tests: from safetensors files, and compared by the tolerance of the tensor's largest entry.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "base/safetensors.h"
#include "rosa/operator/tensor_bytes.h"

namespace rosa::testing {

inline at::Tensor load_tensor(const base::SafetensorsFile& file, const std::string& name) {
  return to_tensor(file.at(name));
}

// Undefined where the file has no such tensor.
inline at::Tensor load_tensor_if_there(const base::SafetensorsFile& file, const std::string& name) {
  return file.contains(name) ? load_tensor(file, name) : at::Tensor();
}

// Every entry within `tolerance` times the largest entry of `expected` (of 1e-30 where all are 0). NaN never passes.
inline ::testing::AssertionResult is_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  if (!actual.defined() || !expected.defined()) return ::testing::AssertionFailure() << "an undefined tensor";
  if (actual.sizes() != expected.sizes()) {
    return ::testing::AssertionFailure() << "shape " << actual.sizes() << ", expected " << expected.sizes();
  }
  if (actual.numel() == 0) return ::testing::AssertionSuccess();
  const at::Tensor got = actual.detach().to(at::kDouble), wanted = expected.detach().to(at::kDouble);
  const double largest = std::max(wanted.abs().max().item<double>(), 1e-30);
  const double difference = (got - wanted).abs().max().item<double>();
  if (difference <= tolerance * largest) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "largest difference " << difference << " is " << difference / largest
                                       << " of the largest entry " << largest << ", expected at most " << tolerance;
}

inline ::testing::AssertionResult is_equal(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) {
    return ::testing::AssertionFailure() << "shape " << actual.sizes() << ", expected " << expected.sizes();
  }
  const int64_t different = actual.ne(expected).sum().item<int64_t>();
  if (different == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << different << " of " << actual.numel() << " entries differ";
}

inline void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                         const std::string& what = "") {
  EXPECT_TRUE(is_close(actual, expected, tolerance)) << what;
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
