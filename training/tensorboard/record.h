// The framing of event files (TFRecord): each record is its length, a masked CRC-32C of that, the bytes, and a masked
// CRC-32C of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rosa::training::tensorboard {

// The record of these bytes.
std::string framed(std::string_view bytes);

// Takes a file's content apart, record after record. The content must outlive it.
class RecordReader {
 public:
  explicit RecordReader(std::string_view content) : content_(content) {}

  // The bytes of the next record. Nothing at the end, and where a record is damaged or was cut short by a kill.
  std::optional<std::string_view> next();

  // Where the record after the last one that was read begins.
  size_t position() const { return position_; }
  bool is_at_end() const { return position_ == content_.size(); }
  // Whether what is left may be the beginning of a record and no more.
  bool is_cut() const;

 private:
  std::string_view content_;
  size_t position_ = 0;
};

}  // namespace rosa::training::tensorboard
