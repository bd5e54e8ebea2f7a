#include "training/data/pack.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "training/data/token_file_writer.h"

namespace rosa::training {
namespace {

using base::DataError;

// The whole of an input: a file is mapped, a pipe is read.
class Input {
 public:
  explicit Input(const std::filesystem::path& path) {
    std::error_code ignored;
    const auto type = std::filesystem::status(path, ignored).type();
    if (type != std::filesystem::file_type::fifo && type != std::filesystem::file_type::character) {
      file_.emplace(path);
      return;
    }
    std::ifstream stream(path, std::ios::binary);
    content_.assign(std::istreambuf_iterator<char>(stream), {});
    base::require<base::FileError>(stream.is_open() && !stream.bad(), "can't read '", path.string(), "'");
  }
  std::string_view text() const {
    if (!file_) return content_;
    return {reinterpret_cast<const char*>(file_->bytes().data()), file_->bytes().size()};
  }

 private:
  std::optional<base::MappedFile> file_;
  std::string content_;
};

struct Signature {
  std::string_view start;
  const char* what;
};
constexpr const char* kUnpack = "; unpack it first, e.g. `zcat FILE | rosa data pack - -o ...`";
constexpr std::array<Signature, 6> kCompressed = {{{"\x1f\x8b", "gzip"},
                                                   {"\x28\xb5\x2f\xfd", "zstd"},
                                                   {"\xfd"
                                                    "7zXZ",
                                                    "xz"},
                                                   {"BZh", "bzip2"},
                                                   {"PK\x03\x04", "zip"},
                                                   {"\x04\x22\x4d\x18", "lz4"}}};

// "[1, 2" or {... "input_ids": ...
bool looks_like_ids(std::string_view text) {
  constexpr size_t kLookedAt = 256;
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start == text.npos) return false;
  const std::string_view line = text.substr(start, text.find('\n', start) - start);
  if (line.front() == '{') return line.find("\"input_ids\"") != line.npos;
  const std::string_view head = line.substr(0, kLookedAt);
  return line.front() == '[' && head.find_first_of("0123456789") != head.npos &&
         head.find_first_not_of("[]0123456789, \t\r") == head.npos;
}

// Refuses what is certainly not what the format says; without one, also what only looks like something else.
void check_input(const std::filesystem::path& path, std::string_view text, PackFormat format) {
  constexpr size_t kLookedAtForZeros = 1 << 16;
  const auto refuse_if = [&path](bool wrong, const auto&... parts) {
    base::require<DataError>(!wrong, "'", path.string(), "' ", parts...);
  };
  refuse_if(text.starts_with("ROSATOK\n"), "is a token file already; pack the text or ids that it was made of");
  if (format == PackFormat::text) return;
  for (const Signature& signature : kCompressed) {
    refuse_if(text.starts_with(signature.start), "is compressed (", signature.what, ")", kUnpack);
  }
  if (format == PackFormat::jsonl) return;
  const std::string extension = path.extension().string();
  refuse_if(extension == ".jsonl" || extension == ".ndjson" || looks_like_ids(text),
            "looks like JSON lines; add --format jsonl for token ids, or --format text to make its bytes the tokens");
  refuse_if(
      text.substr(0, kLookedAtForZeros).find('\0') != text.npos,
      "is no text: it holds bytes of value 0 (UTF-16, or a binary file?); add --format text to make its bytes the ",
      "tokens all the same");
}

void pack_text(const std::filesystem::path& path, std::string_view text, const PackOptions& options,
               TokenFileWriter& writer) {
  for (size_t start = 0; start < text.size();) {
    const size_t end = options.separator.empty() ? text.npos : text.find(options.separator, start);
    try {
      writer.add_document(text.substr(start, end - start));
    } catch (const DataError& error) {
      throw DataError(base::concat("'", path.string(), "', document at offset ", start, ": ", error.what()));
    }
    if (end == text.npos) break;
    start = end + options.separator.size();
  }
}

// The array of a line, or of its "input_ids". Everything else in an object is dropped while it is read, so that hostile
// nesting does not grow. Throws DataError without naming the place.
nlohmann::json parse_array(std::string_view line) {
  using Event = nlohmann::json::parse_event_t;
  bool is_object = false, is_ids = true;
  const auto filter = [&](int depth, Event event, nlohmann::json& value) {
    if (event == Event::key && depth == 1) return is_ids = value == "input_ids";
    if (event != Event::array_start && event != Event::object_start) return true;
    if (depth == 0) {
      is_object = event == Event::object_start;
      return true;
    }
    const bool is_array_of_key = is_object && depth == 1 && event == Event::array_start;
    base::require<DataError>(!is_ids || is_array_of_key, "the array is nested");
    return is_ids;
  };
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(line.begin(), line.end(), filter);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(base::concat("expected a JSON array of token ids (", error.what(), ")"));
  }
  if (is_object) {
    base::require<DataError>(json.is_object() && json.contains("input_ids"),
                             "expected a JSON array of token ids, or an object that has one as \"input_ids\"; the "
                             "model's tokenizer makes them of a text (docs/data.md)");
    json = json["input_ids"];
  }
  base::require<DataError>(json.is_array(), "expected a JSON array of token ids");
  return json;
}

// Token ids of one line. Throws DataError without naming the place.
std::vector<int64_t> parse_ids(std::string_view line) {
  const nlohmann::json ids = parse_array(line);
  std::vector<int64_t> tokens;
  tokens.reserve(ids.size());
  for (const auto& id : ids) {
    base::require<DataError>(id.is_number_unsigned() && id.get<uint64_t>() < uint64_t{1} << 32, "entry ", tokens.size(),
                             " is ", id.dump(), ", expected a token id");
    tokens.push_back(id.get<int64_t>());
  }
  return tokens;
}

void pack_jsonl(const std::filesystem::path& path, std::string_view text, TokenFileWriter& writer) {
  int64_t line_number = 1;
  for (size_t start = 0; start < text.size(); ++line_number) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    start = end + 1;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    try {
      writer.add_document(parse_ids(line));
    } catch (const DataError& error) {
      throw DataError(base::concat("'", path.string(), "', line ", line_number, ": ", error.what()));
    }
  }
}

}  // namespace

PackResult pack(const PackOptions& options) {
  base::require<base::ConfigError>(!options.inputs.empty(), "rosa data pack: no input files were named");
  base::require<base::ConfigError>(options.format != PackFormat::jsonl || options.separator.empty(),
                                   "--separator splits text and has no effect with --format jsonl, where a line is a "
                                   "document; leave it out");
  TokenFileWriter writer(options.output, options.vocabulary_size);
  for (const std::filesystem::path& path : options.inputs) {
    const Input input(path);
    check_input(path, input.text(), options.format);
    if (options.format == PackFormat::jsonl) {
      pack_jsonl(path, input.text(), writer);
    } else {
      pack_text(path, input.text(), options, writer);
    }
  }
  writer.finish();
  return {writer.num_documents(), writer.num_tokens(), writer.token_width_bytes()};
}

}  // namespace rosa::training
