#include "rosa/operator/tensor_bytes.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace rosa {
namespace {

TEST(TensorBytes, RoundTrip) {
  for (const at::ScalarType dtype :
       {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kByte, at::kBool}) {
    const at::Tensor tensor = at::arange(24).reshape({2, 3, 4}).to(dtype).transpose(0, 2);
    const base::StateTensor state = to_state(tensor);
    EXPECT_EQ(state.shape, (std::vector<int64_t>{4, 3, 2}));
    const at::Tensor back = from_state(state);
    EXPECT_EQ(back.scalar_type(), dtype);
    EXPECT_TRUE(at::equal(back, tensor));
    const at::Tensor contiguous = tensor.contiguous();
    EXPECT_TRUE(at::equal(to_tensor(view_bytes(contiguous)), tensor));
  }
  EXPECT_TRUE(at::equal(from_state(to_state(at::zeros({0, 3}))), at::zeros({0, 3})));
  EXPECT_EQ(from_state(to_state(at::scalar_tensor(2.5))).item<double>(), 2.5);
}

TEST(TensorBytes, RefusesWhatDoesNotFit) {
  base::StateTensor state = to_state(at::zeros({2, 2}));
  state.bytes.pop_back();
  EXPECT_THROW(from_state(state), base::DataError);
  EXPECT_THROW(dtype_of_name("F8"), base::DataError);
  EXPECT_THROW(dtype_name(at::kComplexFloat), base::DataError);
  EXPECT_THROW(view_bytes(at::zeros({2, 3}).transpose(0, 1)), base::ArgumentError);
}

}  // namespace
}  // namespace rosa
