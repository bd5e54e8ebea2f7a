#include "training/data/pack.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "training/data/token_file.h"

namespace rosa::training {
namespace {

using base::DataError;

std::string_view as_text(const base::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void pack_text(const std::filesystem::path& path, const PackOptions& options, TokenFileWriter& writer) {
  const base::MappedFile file(path);
  const std::string_view text = as_text(file);
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

// Token ids of one line. Throws DataError without naming the place.
std::vector<int64_t> parse_ids(std::string_view line) {
  nlohmann::json ids;
  try {
    // A depth above one is no list of numbers; refusing it here keeps hostile nesting from growing.
    ids = nlohmann::json::parse(line.begin(), line.end(), [](int depth, nlohmann::json::parse_event_t event, auto&) {
      const bool opens =
          event == nlohmann::json::parse_event_t::array_start || event == nlohmann::json::parse_event_t::object_start;
      base::require<DataError>(!opens || depth == 0, "the array is nested");
      return true;
    });
  } catch (const nlohmann::json::exception& error) {
    throw DataError(base::concat("expected a JSON array of token ids (", error.what(), ")"));
  }
  base::require<DataError>(ids.is_array(), "expected a JSON array of token ids");
  std::vector<int64_t> tokens;
  tokens.reserve(ids.size());
  for (const auto& id : ids) {
    base::require<DataError>(id.is_number_unsigned() && id.get<uint64_t>() < uint64_t{1} << 32, "entry ", tokens.size(),
                             " is ", id.dump(), ", expected a token id");
    tokens.push_back(id.get<int64_t>());
  }
  return tokens;
}

void pack_jsonl(const std::filesystem::path& path, TokenFileWriter& writer) {
  const base::MappedFile file(path);
  const std::string_view text = as_text(file);
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
  TokenFileWriter writer(options.output, options.vocabulary_size);
  for (const std::filesystem::path& input : options.inputs) {
    if (options.format == PackFormat::text) {
      pack_text(input, options, writer);
    } else {
      pack_jsonl(input, writer);
    }
  }
  writer.finish();
  return {writer.num_documents(), writer.num_tokens(), TokenFile(options.output).token_width_bytes()};
}

}  // namespace rosa::training
