// Inputs cut into documents, for `rosa data pack`.
#include <algorithm>
#include <array>
#include <exception>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "training/data/byte_stream.h"
#include "training/data/json_line.h"
#include "training/data/megatron_file.h"
#include "training/data/pack_documents.h"
#include "training/data/parquet_file.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::DataError;

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr size_t kMaxDocumentBytes = size_t{1} << 30;
constexpr size_t kSniffedBytes = size_t{1} << 16;

struct Signature {
  size_t offset;
  std::string_view bytes;
  const char* what;
};
constexpr std::array<Signature, 7> kForeign = {{{0, "\xfd\x37zXZ", "compressed (xz)"},
                                                {0, "BZh", "compressed (bzip2)"},
                                                {0, "\x04\x22\x4d\x18", "compressed (lz4)"},
                                                {0, "PK\x03\x04", "an archive (zip)"},
                                                {0, "7z\xbc\xaf", "an archive (7z)"},
                                                {257, "ustar", "an archive (tar)"},
                                                {0, "%PDF-", "a PDF"}}};

// "a.jsonl.gz" is ".jsonl".
std::string extension_of(const fs::path& path) {
  const std::string extension = path.extension().string();
  const bool is_packed = extension == ".gz" || extension == ".zst" || extension == ".zstd";
  return is_packed ? path.stem().extension().string() : extension;
}

bool takes_any_byte(const PackOptions& options) {
  return options.format == PackFormat::text && options.tokenizer && options.tokenizer->is_bytes();
}

// Whether an input is a Parquet file, by its first bytes. Refuses one that cannot be read as such.
bool is_parquet(const fs::path& path, std::string_view start, const ByteStream& stream, const PackOptions& options) {
  if (takes_any_byte(options)) return false;
  const auto require = [&path](bool good, const auto&... parts) {
    base::require<DataError>(good, "'", path.string(), "' ", parts...);
  };
  if (!start.starts_with("PAR1")) {
    require(path.extension() != ".parquet", "is named .parquet, but is no Parquet file: it does not begin with PAR1");
    return false;
  }
  require(stream.compression().empty(), "is a Parquet file in ", stream.compression(), "; unpack it first");
  std::error_code ignored;
  require(fs::is_regular_file(path, ignored), "is a Parquet file, which is read from its end: give a file, not a pipe");
  require(options.format == PackFormat::unnamed || options.format == PackFormat::chat,
          "is a Parquet file; leave out --format, which says that the inputs are something else");
  return true;
}

ParquetColumn parquet_column(const PackOptions& options) {
  const bool is_chat = options.format == PackFormat::chat;
  const std::string& given = options.parquet_column;
  if (options.ids) return {given.empty() ? "input_ids" : given, DocumentKind::ids};
  if (is_chat) return {given.empty() ? "messages" : given, DocumentKind::chat_line};
  return {given.empty() ? "text" : given, DocumentKind::text};
}

// What the documents of an input are, by its name and its first bytes. Refuses what is certainly not what the format
// says; without a format also what only looks like something else.
DocumentKind kind_of(const fs::path& path, std::string_view start, const PackOptions& options) {
  const auto refuse_if = [&path](bool wrong, const auto&... parts) {
    base::require<DataError>(!wrong, "'", path.string(), "' ", parts...);
  };
  refuse_if(start.starts_with("ROSATOK\n"), "is a token file already; pack the text or ids that it was made of");
  if (takes_any_byte(options)) return DocumentKind::text;
  for (const Signature& signature : kForeign) {
    const bool is_it = start.size() > signature.offset && start.substr(signature.offset).starts_with(signature.bytes);
    refuse_if(is_it, "is ", signature.what, "; unpack it first, or take it out of the inputs");
  }
  refuse_if(start.starts_with("\xff\xfe") || start.starts_with("\xfe\xff"),
            "is UTF-16; `iconv -f UTF-16 -t UTF-8` makes UTF-8 of it");
  refuse_if(start.find('\0') != start.npos,
            "is no text: it holds bytes of value 0; take it out of the inputs, or make its bytes the tokens with "
            "--bytes --format text");
  if (options.ids) return DocumentKind::ids_line;
  if (options.format == PackFormat::jsonl) return DocumentKind::text_line;
  if (options.format == PackFormat::chat) return DocumentKind::chat_line;
  if (options.format == PackFormat::text) return DocumentKind::text;
  refuse_if(looks_like_ids(start),
            "looks like lines of token ids; say --ids in the place of --tokenizer or --bytes, or --format text for a "
            "text that looks so");
  const std::string_view line = start.substr(0, start.find('\n'));
  const bool is_chat = line.starts_with("{") && line.find("\"messages\"") != line.npos;
  refuse_if(is_chat, "looks like conversations; add --format chat, or --format jsonl or text for what they hold else");
  const std::string extension = extension_of(path);
  if (extension == ".jsonl" || extension == ".ndjson") return DocumentKind::text_line;
  return line.size() < start.size() && looks_like_text_line(line, options.text_fields) ? DocumentKind::text_line
                                                                                       : DocumentKind::text;
}

}  // namespace

class DocumentReader::State {
 public:
  State(const PackOptions& options, std::vector<fs::path> files) : options_(options), files_(std::move(files)) {
    for (const fs::path& file : files_) {
      std::error_code error;
      const auto size = static_cast<int64_t>(fs::is_regular_file(file, error) ? fs::file_size(file, error) : 0);
      if (error || !fs::is_regular_file(file, error)) knows_total_ = false;
      num_bytes_total_ += size;
    }
  }

  std::optional<RawDocuments> next() {
    RawDocuments documents;
    try {
      if (failure_) std::rethrow_exception(failure_);
      read_piece(documents);
    } catch (...) {
      // What stands before it may hold an error of its own, which comes first.
      failure_ = std::current_exception();
      if (documents.documents.empty()) throw;
    }
    if (documents.documents.empty() && documents.num_null == 0) return std::nullopt;
    return documents;
  }

  int64_t num_bytes() const {
    if (parquet_) return num_bytes_done_ + static_cast<int64_t>(parquet_->share_read() * parquet_bytes_);
    return num_bytes_done_ + (stream_ ? stream_->num_raw_bytes() : 0);
  }
  int64_t num_bytes_total() const { return knows_total_ ? num_bytes_total_ : 0; }

 private:
  void read_piece(RawDocuments& documents) {
    while (documents.num_bytes() < kPieceBytes) {
      if (stream_) {
        read_documents(documents);
      } else if (megatron_) {
        read_ids(documents);
      } else if (parquet_) {
        read_parquet(documents);
      } else if (!open_next()) {
        return;
      }
    }
  }

  // Whether there is another input.
  bool open_next() {
    if (next_file_ == files_.size()) return false;
    const fs::path& path = files_[next_file_++];
    if (options_.ids && MegatronFile::has_name_of(path)) {
      const fs::path stem = fs::path(path).replace_extension();
      if (stem == last_megatron_) return true;  // the other half of the pair
      last_megatron_ = stem;
      megatron_.emplace(path);
      next_document_ = 0;
      input_ = std::make_shared<PackInput>(PackInput{path, DocumentKind::ids});
      return true;
    }
    stream_.emplace(path, options_.should_stop);
    buffer_.clear();
    begin_ = searched_ = place_of_erased_ = 0;
    place_ = 0;
    is_at_end_ = !stream_->read(kSniffedBytes, buffer_);
    if (is_parquet(path, buffer_, *stream_, options_)) {
      open_parquet_file(path);
      return true;
    }
    const DocumentKind kind = kind_of(path, std::string_view(buffer_).substr(0, kSniffedBytes), options_);
    input_ = std::make_shared<PackInput>(PackInput{path, kind});
    is_lines_ = kind != DocumentKind::text;
    if (is_lines_) place_ = 1;
    // A mark of the byte order is no part of the text.
    const bool keeps_mark = options_.tokenizer && options_.tokenizer->is_bytes() && !is_lines_;
    if (!keeps_mark && buffer_.starts_with("\xef\xbb\xbf")) begin_ = searched_ = 3;
    return true;
  }

  void open_parquet_file(const fs::path& path) {
    stream_.reset();
    const ParquetColumn column = parquet_column(options_);
    input_ = std::make_shared<PackInput>(PackInput{path, column.kind, /*is_parquet=*/true});
    parquet_ = open_parquet(options_.parquet_library, column, input_);
    parquet_bytes_ = static_cast<double>(fs::file_size(path));
  }

  void read_parquet(RawDocuments& documents) {
    if (parquet_->read(documents)) return;
    num_bytes_done_ += static_cast<int64_t>(parquet_bytes_);
    parquet_.reset();
  }

  void close() {
    num_bytes_done_ += stream_->num_raw_bytes();
    stream_.reset();
  }

  void read_ids(RawDocuments& documents) {
    if (next_document_ == megatron_->num_documents()) {
      num_bytes_done_ += megatron_->num_bytes();
      megatron_.reset();
      return;
    }
    try {
      megatron_->read(next_document_, documents.ids);
    } catch (const DataError& error) {
      throw DataError(base::concat("'", input_->path.string(), "', document ", next_document_, ": ", error.what()));
    }
    documents.documents.push_back({input_, documents.ids.size(), next_document_++});
  }

  // Documents of what is in the buffer, after some more was read into it.
  void read_documents(RawDocuments& documents) {
    const std::string_view separator = is_lines_ ? std::string_view("\n") : options_.separator;
    for (size_t end = find(separator); end != buffer_.npos; end = find(separator)) {
      add(documents, end, separator.size());
      if (documents.num_bytes() >= kPieceBytes) return;
    }
    if (is_at_end_) {
      add(documents, buffer_.size(), 0);
      return close();
    }
    place_of_erased_ += begin_;
    buffer_.erase(0, begin_);
    searched_ -= begin_;
    begin_ = 0;
    is_at_end_ = !stream_->read(kPieceBytes, buffer_);
    base::require<DataError>(buffer_.size() <= kMaxDocumentBytes, "'", input_->path.string(), "' has a ",
                             is_lines_ ? "line" : "document", " of more than ", kMaxDocumentBytes >> 20,
                             " MB; --separator '\\n\\n' makes a document of every paragraph");
  }

  size_t find(std::string_view separator) {
    if (separator.empty()) return buffer_.npos;
    const size_t found = buffer_.find(separator, searched_);
    if (found == buffer_.npos) {
      searched_ = std::max(begin_, buffer_.size() - std::min(buffer_.size(), separator.size() - 1));
    }
    return found;
  }

  void add(RawDocuments& documents, size_t end, size_t separator_size) {
    const std::string_view text = std::string_view(buffer_).substr(begin_, end - begin_);
    const bool is_blank = text.empty() || (is_lines_ && text.find_first_not_of(" \t\r") == text.npos);
    if (!is_blank) {
      documents.text += text;
      const int64_t place = is_lines_ ? place_ : static_cast<int64_t>(place_of_erased_ + begin_);
      documents.documents.push_back({input_, documents.text.size(), place});
    }
    if (is_lines_) ++place_;
    begin_ = searched_ = end + separator_size;
  }

  const PackOptions& options_;
  std::vector<fs::path> files_;
  size_t next_file_ = 0;
  bool knows_total_ = true;
  int64_t num_bytes_total_ = 0, num_bytes_done_ = 0;

  std::exception_ptr failure_;

  // The input that is being read.
  std::shared_ptr<const PackInput> input_;
  std::optional<ByteStream> stream_;
  std::string buffer_;               // what was read and is not all in documents yet
  size_t begin_ = 0, searched_ = 0;  // in it: of the next document, and of where its end may be
  size_t place_of_erased_ = 0;       // bytes before the buffer
  int64_t place_ = 0;                // number of the next line
  bool is_lines_ = false, is_at_end_ = false;
  std::optional<MegatronFile> megatron_;
  fs::path last_megatron_;
  std::unique_ptr<ParquetFile> parquet_;
  double parquet_bytes_ = 0;
  int64_t next_document_ = 0;
};

DocumentReader::DocumentReader(const PackOptions& options, const std::vector<fs::path>& files)
    : state_(std::make_unique<State>(options, files)) {}
DocumentReader::~DocumentReader() = default;
std::optional<RawDocuments> DocumentReader::next() { return state_->next(); }
int64_t DocumentReader::num_bytes() const { return state_->num_bytes(); }
int64_t DocumentReader::num_bytes_total() const { return state_->num_bytes_total(); }

}  // namespace rosa::training
