// Weights that lie in their files: the same bits as copies, copies where a file does not allow it, and files that
// change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/mapped_file.h"
#include "models/safetensors_weights.h"
#include "tests/models/tiny_model.h"
#include "tests/support/safetensors_file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::models {
namespace {

using ::testing::HasSubstr;

class MappedWeights : public ::testing::Test {
 protected:
  void SetUp() override { write(at::kFloat); }

  void write(at::ScalarType dtype) {
    std::ofstream(folder_ / "config.json") << to_json(tiny_config());
    TensorMap weights = CausalModel::random(tiny_config(), 3).parameters();
    for (auto& entry : weights) entry.second = entry.second.to(dtype);
    write_tensors(file(), weights);
  }
  std::filesystem::path file() const { return folder_ / "model.safetensors"; }
  CausalModel load(WeightStorage storage, const char* dtype = "float32") const {
    return CausalModel::load(folder_.path(), dtype, storage);
  }
  // How many of its tensors lie in the file.
  int64_t num_mapped(const CausalModel& model) const {
    int64_t count = 0;
    for (const auto& [name, tensor] : model.parameters()) {
      count += base::mapped_file_at(tensor.const_data_ptr()) == file().string() ? 1 : 0;
    }
    return count;
  }
  static void expect_equal(const CausalModel& left, const CausalModel& right) {
    for (const auto& [name, tensor] : left.parameters()) {
      EXPECT_TRUE(tensor.equal(right.parameters().at(name))) << name;
    }
    const at::Tensor ids = at::arange(40).view({2, 20});
    const at::Tensor hidden = left.teacher_hidden_states(ids), other = right.teacher_hidden_states(ids);
    EXPECT_TRUE(hidden.equal(other));
    EXPECT_TRUE(left.logits(hidden).equal(right.logits(other)));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(MappedWeights, HaveTheBitsOfCopies) {
  for (const auto& [dtype, name] : {std::pair{at::kFloat, "float32"}, std::pair{at::kBFloat16, "bfloat16"}}) {
    write(dtype);
    const CausalModel owned = load(WeightStorage::owned, name), mapped = load(WeightStorage::mapped, name);
    EXPECT_EQ(num_mapped(owned), 0) << name;
    EXPECT_EQ(num_mapped(mapped), static_cast<int64_t>(mapped.parameters().size())) << name;
    expect_equal(mapped, owned);
  }
}

TEST_F(MappedWeights, AreCopiedWhereDtypeOrAlignmentDoNotAllowIt) {
  const CausalModel narrow = load(WeightStorage::mapped, "bfloat16");
  EXPECT_EQ(num_mapped(narrow), 0);
  expect_equal(narrow, load(WeightStorage::owned, "bfloat16"));
  const CausalModel aligned = load(WeightStorage::owned);
  testing::misalign_tensors(file());
  const CausalModel copied = load(WeightStorage::mapped);
  EXPECT_EQ(num_mapped(copied), 0);
  expect_equal(copied, aligned);
}

TEST_F(MappedWeights, OutliveTheModelThatTheyWereLoadedFor) {
  at::Tensor weight;
  {
    const CausalModel model = load(WeightStorage::mapped);
    weight = model.parameters().at("model.norm.weight");
  }
  EXPECT_EQ(base::mapped_file_at(weight.const_data_ptr()), file().string());
  EXPECT_EQ(weight.sum().item<float>(), 48.0F);
  const void* address = weight.const_data_ptr();
  weight.reset();
  EXPECT_EQ(base::mapped_file_at(address), "") << "the last tensor ends the mapping";
}

TEST_F(MappedWeights, FilesThatAreWrittenToAreRefused) {
  const CausalModel model = load(WeightStorage::mapped), owned = load(WeightStorage::owned);
  EXPECT_NO_THROW(model.require_same_files());
  EXPECT_EQ(model.trouble_with_files(), "");
  const auto time = std::filesystem::last_write_time(file());
  std::filesystem::last_write_time(file(), time + std::chrono::seconds(1));
  EXPECT_THROW(model.require_same_files(), base::FileError);
  std::filesystem::last_write_time(file(), time);
  EXPECT_NO_THROW(model.require_same_files());
  std::filesystem::resize_file(file(), std::filesystem::file_size(file()) - 1);
  std::filesystem::last_write_time(file(), time);
  EXPECT_THROW(model.require_same_files(), base::FileError);
  EXPECT_NO_THROW(owned.require_same_files());
}

TEST_F(MappedWeights, FilesThatVanishKeepTheirBytesAndAreTold) {
  const CausalModel owned = load(WeightStorage::owned), model = load(WeightStorage::mapped);
  std::filesystem::rename(file(), folder_ / "old");
  EXPECT_THAT(model.trouble_with_files(), HasSubstr("model.safetensors' was deleted or moved"));
  std::filesystem::copy_file(folder_ / "old", file());
  EXPECT_THAT(model.trouble_with_files(), HasSubstr("model.safetensors' was replaced by another file"));
  std::filesystem::remove(folder_ / "old");
  EXPECT_NO_THROW(model.require_same_files());
  expect_equal(model, owned);
  EXPECT_EQ(owned.trouble_with_files(), "");
}

}  // namespace
}  // namespace rosa::models
