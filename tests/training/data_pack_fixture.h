// What the tests of pack() share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "text/tokenizer.h"
#include "training/data/pack.h"
#include "training/data/token_file.h"

namespace rosa::training {

// Bytes, and three special tokens: a tokenizer for conversations that a test can read.
class ChatTokenizer : public text::Tokenizer {
 public:
  static constexpr int64_t kStart = 256, kEnd = 257, kEndOfText = 258;

  int64_t vocabulary_size() const override { return 259; }
  const std::string& name() const override { return name_; }
  uint64_t fingerprint() const override { return 5; }
  std::optional<int64_t> end_of_text() const override { return kEnd; }
  bool is_bytes() const override { return false; }
  void encode(std::string_view text, const text::EncodeOptions& options, std::vector<int64_t>& ids) const override {
    while (!text.empty()) {
      if (options.recognize_special_tokens && text.starts_with("<|im_end|>")) {
        ids.push_back(kEnd);
        text.remove_prefix(10);
        continue;
      }
      ids.push_back(static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
    }
  }
  std::string decode(std::span<const int64_t> ids, bool) const override { return {ids.begin(), ids.end()}; }
  std::string_view bytes_of(int64_t) const override { return {}; }
  bool is_special(int64_t id) const override { return id >= 256; }
  bool has_token(int64_t) const override { return true; }
  std::optional<int64_t> id_of(std::string_view content) const override {
    if (content == "<|im_start|>") return kStart;
    if (content == "<|im_end|>") return kEnd;
    if (content == "<|endoftext|>") return kEndOfText;
    return std::nullopt;
  }

 private:
  std::string name_ = "chat";
};

inline std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

inline std::string read(const std::filesystem::path& path) { return base::read_file(path, 1 << 28); }

class PackTest : public ::testing::Test {
 protected:
  PackTest() {
    options_.output = folder_ / "out.tokens";
    options_.tokenizer = text::make_byte_tokenizer();
  }

  void input(const std::string& name, std::string_view text) {
    base::write_file_atomically(folder_ / name, text);
    options_.inputs.push_back(folder_ / name);
  }
  std::vector<std::string> documents() const { return documents(options_.output); }
  static std::vector<std::string> documents(const std::filesystem::path& path) {
    const TokenFile file(path);
    std::vector<std::string> result;
    for (int64_t d = 0; d < file.num_documents(); ++d) {
      const uint64_t first = file.document_starts()[d], end = file.document_starts()[d + 1];
      std::vector<int64_t> tokens(end - first);
      file.read(static_cast<int64_t>(first), tokens);
      result.emplace_back(tokens.begin(), tokens.end());
    }
    return result;
  }
  void expect_refused(std::string_view text, const std::string& place) {
    options_.inputs.clear();
    input("bad.jsonl", text);
    try {
      pack(options_);
      ADD_FAILURE() << text;
    } catch (const base::DataError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(place)) << text;
      EXPECT_THAT(error.what(), ::testing::HasSubstr("bad.jsonl")) << text;
    }
    EXPECT_FALSE(std::filesystem::exists(options_.output));
  }

  rosa::testing::TemporaryFolder folder_;
  PackOptions options_;
};

}  // namespace rosa::training
