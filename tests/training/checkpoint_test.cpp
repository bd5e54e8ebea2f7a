// The form of a checkpoint: what is in it, that it is the same for any number of ranks, and that every damage is seen.
#include "training/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "tests/support/plain_state.h"
#include "tests/support/temporary_folder.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::PlainState;
using testing::tensor_of;

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
      adapter_.dict.tensors[base::concat("model.layers.0.self_attn.rosa_attn.", name, ".weight")] =
          tensor_of({1, 2, static_cast<float>(name[0])});
    }
    for (int i = 0; i < 9; ++i) {
      optimizer_.dict.tensors[base::concat("exp_avg", i)] = tensor_of(std::vector<float>(static_cast<size_t>(i + 1)));
    }
    optimizer_.dict.values["steps"] = int64_t{7};
    model_.dict.tensors["big"] = tensor_of(std::vector<float>(50));
    model_.dict.tensors["none"] = tensor_of({});
  }

  States states() { return {{"adapter", &adapter_}, {"optimizer", &optimizer_}, {"model", &model_}}; }

  fs::path write(const std::string& name, int num_ranks = 1, int64_t shard_bytes = 64, int64_t step = 3) {
    const fs::path folder = folder_ / name;
    std::vector<std::string> parts;
    for (int rank = num_ranks - 1; rank >= 0; --rank) {  // in any order
      parts.push_back(
          write_share(folder, take_share(states(), {{"config.yaml", "a: 1\n"}}, rank, num_ranks, shard_bytes)));
    }
    write_manifest(folder, {"run-1", step, 2.5}, parts);
    return folder;
  }

  std::map<std::string, std::string> contents(const fs::path& folder) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder)) {
      files[entry.path().filename().string()] = base::read_file(entry.path(), 1 << 20);
    }
    return files;
  }

  testing::TemporaryFolder folder_;
  PlainState adapter_, optimizer_, model_;
};

TEST_F(CheckpointTest, ReturnsEverythingBitForBit) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  optimizer_.dict.values["third"] = 1.0 / 3;
  optimizer_.dict.values["whole"] = 2.0;
  optimizer_.dict.values["infinite"] = -std::numeric_limits<double>::infinity();
  optimizer_.dict.values["nan"] = nan;
  optimizer_.dict.values["text"] = std::string("quotes \" and {}");
  optimizer_.dict.values["least"] = std::numeric_limits<int64_t>::min();
  const Checkpoint checkpoint(write("whole", 2));
  EXPECT_EQ(checkpoint.manifest().info.step, 3);
  EXPECT_EQ(checkpoint.manifest().info.run_id, "run-1");
  EXPECT_EQ(checkpoint.manifest().info.evaluation_loss, 2.5);
  EXPECT_EQ(checkpoint.state_names(), (std::vector<std::string>{"adapter", "model", "optimizer"}));
  EXPECT_EQ(base::read_file(checkpoint.folder() / "config.yaml", 100), "a: 1\n");

  PlainState adapter, optimizer, model;
  checkpoint.load({{"adapter", &adapter}, {"optimizer", &optimizer}, {"model", &model}});
  for (const auto& [loaded, saved] :
       {std::pair(&adapter, &adapter_), std::pair(&optimizer, &optimizer_), std::pair(&model, &model_)}) {
    ASSERT_EQ(loaded->dict.tensors.size(), saved->dict.tensors.size());
    for (const auto& [name, tensor] : saved->dict.tensors) {
      EXPECT_EQ(loaded->dict.tensors[name].dtype, tensor.dtype);
      EXPECT_EQ(loaded->dict.tensors[name].shape, tensor.shape);
      EXPECT_EQ(loaded->dict.tensors[name].bytes, tensor.bytes);
    }
  }
  EXPECT_TRUE(std::isnan(std::get<double>(optimizer.dict.values["nan"])));
  optimizer.dict.values.erase("nan");
  optimizer_.dict.values.erase("nan");
  EXPECT_EQ(optimizer.dict.values, optimizer_.dict.values);
}

TEST_F(CheckpointTest, AdapterHasItsOwnFileWithItsOwnNames) {
  const fs::path folder = write("one");
  const base::SafetensorsFile adapter(folder / "adapter.safetensors");
  EXPECT_EQ(adapter.tensors().size(), 3u);
  EXPECT_TRUE(adapter.contains("model.layers.0.self_attn.rosa_attn.q_proj.weight"));
  EXPECT_GT(contents(folder).count("state_0001.safetensors"), 0u) << "the shards are small here";
}

TEST_F(CheckpointTest, AnyNumberOfRanksWritesTheSameBytes) {
  const auto whole = contents(write("ranks_1"));
  for (const int num_ranks : {2, 3, 4, 9}) {
    EXPECT_EQ(contents(write("ranks_" + std::to_string(num_ranks), num_ranks)), whole) << num_ranks << " ranks";
  }
}

TEST_F(CheckpointTest, EveryFileHasOneWriterAndTheBytesAreBalanced) {
  std::map<std::string, int> writers;
  std::vector<int64_t> bytes;
  for (int rank = 0; rank < 3; ++rank) {
    const CheckpointShare share = take_share(states(), {}, rank, 3, /*shard_bytes=*/40);
    int64_t sum = 0;
    for (const auto& [file, tensors] : share.tensor_files) {
      ++writers[file];
      for (const auto& entry : tensors) sum += static_cast<int64_t>(entry.second.bytes.size());
    }
    bytes.push_back(sum);
    EXPECT_EQ(share.text_files.empty(), rank != 0);
  }
  for (const auto& [file, count] : writers) EXPECT_EQ(count, 1) << file;
  // The largest file (200 bytes) is what one rank has at least; the others share the rest.
  EXPECT_EQ(std::accumulate(bytes.begin(), bytes.end(), int64_t{0}), 200 + 36 + 4 * 45);
  EXPECT_EQ(*std::max_element(bytes.begin(), bytes.end()), 200);
  EXPECT_GE(*std::min_element(bytes.begin(), bytes.end()), 90);
}

TEST_F(CheckpointTest, TheManifestHoldsTheChecksumOfEveryFileAndTensor) {
  const fs::path folder = write("whole", 2);
  const Manifest manifest = read_manifest(folder);
  auto files = contents(folder);
  files.erase("manifest.json");
  ASSERT_EQ(manifest.files.size(), files.size());
  for (const auto& [name, content] : files) {
    EXPECT_EQ(manifest.files.at(name).checksum, base::to_hex(base::checksum(content))) << name;
    EXPECT_EQ(manifest.files.at(name).bytes, static_cast<int64_t>(content.size())) << name;
  }
  ASSERT_EQ(manifest.tensors.size(), 3u + 9u + 2u);
  const TensorEntry& big = manifest.tensors.at("model/big");
  EXPECT_EQ(big.checksum, base::to_hex(base::checksum(model_.dict.tensors["big"].bytes)));
  EXPECT_EQ(big.shape, std::vector<int64_t>{50});
}

TEST_F(CheckpointTest, ABitFlipAnywhereInAnyFileIsSeen) {
  const fs::path folder = write("whole", 2);
  std::mt19937 random(1);
  for (const auto& [name, content] : contents(folder)) {
    for (size_t place = 0; place < content.size(); place += 1 + random() % 7) {
      std::string damaged = content;
      damaged[place] = static_cast<char>(damaged[place] ^ (1 << (random() % 8)));
      std::ofstream(folder / name, std::ios::binary) << damaged;
      try {
        const Checkpoint checkpoint(folder);
        // Only in the white space of the manifest nothing is lost.
        ASSERT_EQ(name, "manifest.json") << "byte " << place << " of " << name;
        EXPECT_EQ(nlohmann::json::parse(damaged), nlohmann::json::parse(content));
      } catch (const base::CheckpointError& error) {
        EXPECT_THAT(error.what(), HasSubstr(folder.string()));
        EXPECT_THAT(error.what(), AnyOf(HasSubstr(name), HasSubstr("version"))) << "the reason names the file";
      }
    }
    std::ofstream(folder / name, std::ios::binary) << content;
  }
  EXPECT_NO_THROW(Checkpoint{folder});
}

TEST_F(CheckpointTest, TruncationToAnyLengthAndMissingFilesAreSeen) {
  const fs::path folder = write("whole", 2);
  for (const auto& [name, content] : contents(folder)) {
    for (const size_t length : {size_t{0}, size_t{3}, content.size() / 2, content.size() - 1}) {
      std::ofstream(folder / name, std::ios::binary) << content.substr(0, length);
      // Without its last newline the manifest is still whole.
      if (name != "manifest.json" || length + 1 < content.size()) {
        EXPECT_THROW(Checkpoint{folder}, base::CheckpointError) << name << " cut to " << length;
        EXPECT_FALSE(looks_whole(folder)) << name;
      }
    }
    fs::remove(folder / name);
    EXPECT_THROW(Checkpoint{folder}, base::CheckpointError) << name;
    fs::create_directory(folder / name);
    EXPECT_THROW(Checkpoint{folder}, base::CheckpointError) << name << " is a folder";
    fs::remove(folder / name);
    std::ofstream(folder / name, std::ios::binary) << content;
  }
  EXPECT_TRUE(looks_whole(folder));
}

TEST_F(CheckpointTest, AFileOfAnotherStepIsSeen) {
  const fs::path first = write("first", 2, 64, 3);
  optimizer_.dict.values["steps"] = int64_t{8};
  for (PlainState* state : {&adapter_, &optimizer_, &model_}) {
    for (auto& entry : state->dict.tensors) {
      if (!entry.second.bytes.empty()) entry.second.bytes[0] ^= std::byte{1};
    }
  }
  const fs::path second = write("second", 2, 64, 4);
  for (const auto& [name, content] : contents(first)) {
    if (name == "config.yaml") continue;  // equal in both
    const std::string own = base::read_file(second / name, 1 << 20);
    fs::copy_file(first / name, second / name, fs::copy_options::overwrite_existing);
    EXPECT_THROW(Checkpoint{second}, base::CheckpointError) << name;
    std::ofstream(second / name, std::ios::binary) << own;
  }
  EXPECT_EQ(verify_checkpoint(second).step, 4);
}

TEST_F(CheckpointTest, FilesThatTheRanksDidNotWriteAreNoCheckpoint) {
  const fs::path folder = folder_ / "elsewhere";
  const std::string zero = write_share(folder, take_share(states(), {}, 0, 2, 64));
  const std::string one = write_share(folder_ / "another disk", take_share(states(), {}, 1, 2, 64));
  try {
    write_manifest(folder, {"run-1", 1, {}}, {zero, one});
    ADD_FAILURE();
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("file system that all ranks share"));
  }
  EXPECT_FALSE(fs::exists(folder / "manifest.json"));
}

TEST_F(CheckpointTest, ErrorsNameTheEntry) {
  const Checkpoint checkpoint(write("one"));
  PlainState other;
  const auto error_of = [&](const std::string& name) -> std::string {
    try {
      checkpoint.load({{name, &other}});
    } catch (const base::CheckpointError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(error_of("schedules"), HasSubstr("'schedules'"));
  other.dict.tensors["exp_avg_sq"] = tensor_of({1});
  EXPECT_THAT(error_of("optimizer"), HasSubstr("'optimizer'"));
  EXPECT_THAT(error_of("optimizer"), HasSubstr("'exp_avg_sq'"));
  EXPECT_THROW(Checkpoint(folder_ / "absent"), base::CheckpointError);
  EXPECT_THROW(take_share(states(), {{"manifest.json", ""}}, 0, 1), base::ArgumentError);
  EXPECT_THROW(take_share(states(), {{"state.json", ""}}, 0, 1), base::ArgumentError);
  EXPECT_THROW(take_share(states(), {{"../x", ""}}, 0, 1), base::ArgumentError);
}

// A path on Linux is any bytes.
TEST_F(CheckpointTest, TextsThatAreNoUtf8ComeBackAsTheyWere) {
  optimizer_.dict.values["text"] = std::string("r\xe9\n");
  EXPECT_EQ(std::get<std::string>(Checkpoint(write("one")).state("optimizer").values.at("text")), "r\xe9\n");
}

TEST_F(CheckpointTest, AHostileManifestReadsNoOtherFile) {
  const fs::path folder = write("one");
  nlohmann::json manifest = nlohmann::json::parse(base::read_file(folder / "manifest.json", 1 << 20));
  manifest["files"]["../secret"] = {{"bytes", 1}, {"xxh3", "0"}};
  manifest.erase("checksum");
  manifest["checksum"] = base::to_hex(base::checksum(manifest.dump()));
  base::write_file_atomically(folder / "manifest.json", manifest.dump());
  try {
    const Checkpoint checkpoint(folder);
    ADD_FAILURE();
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("no name of a file"));
  }
}

// A run that forgets to register a state is told (training/run.cpp).
TEST(StatefulWatchTest, FindsStatesOfThisThreadThatAreNotRegistered) {
  const PlainState before;
  const base::StatefulWatch watch;
  const PlainState registered, forgotten;
  const PlainState copy(forgotten);
  { const PlainState gone; }
  const std::vector<std::string> names = watch.unregistered({&registered});
  EXPECT_EQ(names, (std::vector<std::string>{"rosa::testing::PlainState", "rosa::testing::PlainState"}));
  EXPECT_TRUE(watch.unregistered({&registered, &forgotten, &copy}).empty());
}

}  // namespace
}  // namespace rosa::training
