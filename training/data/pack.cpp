#include "training/data/pack.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <future>
#include <span>
#include <string_view>
#include <utility>

#include "base/random.h"
#include "base/thread_pool.h"
#include "training/data/pack_documents.h"
#include "training/data/spill.h"
#include "training/data/token_file_writer.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::ConfigError;
using base::DataError;

// Where documents go: into a file as they come, or aside first where their order is drawn.
class DocumentSink {
 public:
  DocumentSink(const fs::path& path, const PackOptions& options, const TokenFileFacts& facts)
      : writer_(path, options.vocabulary_size, facts),
        seed_(options.shuffle_seed),
        has_mask_(facts.has_loss_mask),
        tokens_(spill_folder(path)),
        counts_(spill_folder(path)),
        ends_(spill_folder(path)) {
    append_end();
  }

  void add(std::span<const int64_t> tokens, std::span<const uint8_t> counts) {
    if (!seed_) return writer_.add_document(tokens, counts);
    std::vector<uint32_t> narrow(tokens.begin(), tokens.end());
    tokens_.append(std::as_bytes(std::span(narrow)));
    if (has_mask_) counts_.append(std::as_bytes(counts));
    append_end();
  }

  int64_t num_documents() const { return seed_ ? ends_.size() / 8 - 1 : writer_.num_documents(); }

  // Everything but the name.
  void complete(const std::function<void()>& check_stop) {
    if (seed_) write_in_drawn_order(num_documents(), check_stop);
    writer_.complete();
  }

  TokenFileWriter& writer() { return writer_; }

 private:
  void append_end() {
    const int64_t end = tokens_.size() / 4;
    ends_.append(std::as_bytes(std::span(&end, 1)));
  }

  void write_in_drawn_order(int64_t num_documents, const std::function<void()>& check_stop) {
    const base::FeistelPermutation order(static_cast<uint64_t>(num_documents), *seed_);
    std::vector<uint32_t> narrow;
    std::vector<uint8_t> counts;
    for (int64_t i = 0; i < num_documents; ++i) {
      if (i % 1024 == 0) check_stop();
      int64_t range[2];
      ends_.read(8 * static_cast<int64_t>(order(static_cast<uint64_t>(i))), std::as_writable_bytes(std::span(range)));
      narrow.resize(static_cast<size_t>(range[1] - range[0]));
      tokens_.read(4 * range[0], std::as_writable_bytes(std::span(narrow)));
      if (has_mask_) {
        counts.resize(narrow.size());
        counts_.read(range[0], std::as_writable_bytes(std::span(counts)));
      }
      const std::vector<int64_t> tokens(narrow.begin(), narrow.end());
      writer_.add_document(tokens, counts);
    }
  }

  TokenFileWriter writer_;
  std::optional<uint64_t> seed_;
  bool has_mask_;
  Spill tokens_, counts_, ends_;
};

// One call of pack().
class Packing {
 public:
  Packing(const PackOptions& options, const std::vector<fs::path>& files)
      : options_(options),
        files_(files),
        encoder_(options_),
        reader_(options_, files),
        sink_(options_.output, options_, facts()),
        pool_(options_.num_threads, "packer") {
    if (options_.held_out_share > 0) held_out_.emplace(options_.held_out_output, options_, facts());
  }

  PackResult run() {
    std::exception_ptr failure;
    try {
      while (true) {
        check_stop();
        std::optional<RawDocuments> documents = reader_.next();
        if (!documents) break;
        submit(std::move(*documents));
        while (is_full()) write_first();
      }
    } catch (...) {
      failure = std::current_exception();
    }
    // What was read before it comes first, in errors too: they do not depend on the number of threads.
    while (!works_.empty()) write_first();
    if (failure) std::rethrow_exception(failure);
    return finish();
  }

 private:
  struct Work {
    RawDocuments raw;
    PackedDocuments packed;
    size_t num_bytes = 0;
    std::future<void> done;
  };

  TokenFileFacts facts() const {
    TokenFileFacts facts;
    if (options_.tokenizer) {
      facts.tokenizer =
          TokenizerMark{options_.tokenizer->name(), options_.tokenizer->fingerprint(), options_.tokenizer->is_bytes()};
      PackOptions plain;
      plain.tokenizer = options_.tokenizer;
      plain.append = "end-of-text";
      try {
        facts.end_of_text = token_to_append(plain);
      } catch (const ConfigError&) {
        // It has none.
      }
      if (facts.end_of_text && *facts.end_of_text >= options_.vocabulary_size) facts.end_of_text.reset();
    }
    facts.has_loss_mask = options_.format == PackFormat::chat;
    return facts;
  }

  void check_stop() const {
    if (options_.should_stop && options_.should_stop()) throw PackStopped("stopped; nothing was written");
  }

  void submit(RawDocuments documents) {
    auto work = std::make_unique<Work>();
    work->raw = std::move(documents);
    work->num_bytes = work->raw.num_bytes();
    num_waiting_bytes_ += work->num_bytes;
    work->done = pool_.submit([this, one = work.get()] {
      one->packed = encoder_.encode(one->raw);
      one->raw = {};
    });
    works_.push_back(std::move(work));
  }

  bool is_full() const {
    constexpr size_t kMaxWaitingBytes = size_t{128} << 20;
    const auto most = static_cast<size_t>(3 * options_.num_threads);
    return !works_.empty() && (works_.size() > most || num_waiting_bytes_ > kMaxWaitingBytes);
  }

  void write_first() {
    const std::unique_ptr<Work> work = std::move(works_.front());
    works_.pop_front();
    work->done.get();
    num_waiting_bytes_ -= work->num_bytes;
    const PackedDocuments& packed = work->packed;
    size_t first = 0;
    for (const PackedDocuments::Document& document : packed.documents) {
      DocumentSink& sink = document.is_held_out ? *held_out_ : sink_;
      const size_t size = document.end - first;
      sink.add(std::span(packed.tokens).subspan(first, size),
               packed.counts.empty() ? std::span<const uint8_t>() : std::span(packed.counts).subspan(first, size));
      sink.writer().add_text_bytes(document.num_text_bytes);
      result_.num_text_bytes += document.num_text_bytes;
      first = document.end;
    }
    for (const uint8_t count : packed.counts) result_.num_counted += count;
    result_.num_invalid += packed.num_invalid;
    result_.num_null += packed.num_null;
    result_.num_too_short += packed.num_too_short;
    result_.num_split += packed.num_split;
    num_documents_ += static_cast<int64_t>(packed.documents.size());
    num_tokens_ += static_cast<int64_t>(packed.tokens.size());
    if (options_.on_progress) {
      options_.on_progress({reader_.num_bytes(), reader_.num_bytes_total(), num_documents_, num_tokens_});
    }
  }

  PackResult finish() {
    const auto check = [this] { check_stop(); };
    const std::string and_more = files_.size() > 1 ? base::concat(" and ", files_.size() - 1, " more") : "";
    base::require<DataError>(num_documents_ > 0, "'", files_.front().string(), "'", and_more, ": no documents in ",
                             files_.size() > 1 ? "them" : "it",
                             result_.num_too_short > 0 ? " of so many tokens as --min-tokens asks for" : "");
    if (held_out_) {
      base::require<DataError>(held_out_->num_documents() > 0 && sink_.num_documents() > 0, "of ", num_documents_,
                               " documents --held-out takes ", held_out_->num_documents(),
                               ": give another share, or more documents");
      held_out_->complete(check);
    }
    sink_.complete(check);
    if (held_out_) {
      held_out_->writer().finish();
      result_.num_held_out_documents = held_out_->writer().num_documents();
      result_.num_held_out_tokens = held_out_->writer().num_tokens();
    }
    TokenFileWriter& writer = sink_.writer();
    writer.finish();
    result_.num_documents = writer.num_documents();
    result_.num_tokens = writer.num_tokens();
    result_.token_width_bytes = writer.token_width_bytes();
    result_.vocabulary_size = options_.vocabulary_size;
    result_.has_loss_mask = options_.format == PackFormat::chat;
    return result_;
  }

  const PackOptions& options_;
  const std::vector<fs::path>& files_;
  DocumentEncoder encoder_;
  DocumentReader reader_;
  DocumentSink sink_;
  std::optional<DocumentSink> held_out_;
  PackResult result_;
  int64_t num_documents_ = 0, num_tokens_ = 0;
  size_t num_waiting_bytes_ = 0;
  std::deque<std::unique_ptr<Work>> works_;
  base::ThreadPool pool_;  // last: its threads use all of the above
};

void check(const PackOptions& options) {
  using base::require;
  require<ConfigError>(!options.inputs.empty(), "rosa data pack: no input files were named");
  require<ConfigError>(options.ids || options.tokenizer, "rosa data pack: what makes the tokens was not said");
  require<ConfigError>(!options.ids || options.format == PackFormat::unnamed,
                       "--format is for text, and --ids says that the inputs hold token ids; leave one of them out");
  const bool has_lines = options.ids || options.format == PackFormat::jsonl || options.format == PackFormat::chat;
  require<ConfigError>(!has_lines || options.separator.empty(),
                       "--separator splits text and has no effect where a line is a document; leave it out");
  require<ConfigError>(options.vocabulary_size >= 1,
                       "the vocabulary size of the ids is not known: give --vocabulary-size (the model's vocab_size), "
                       "or --tokenizer with the model's folder");
  require<ConfigError>(!options.tokenizer || options.tokenizer->is_bytes() ||
                           options.vocabulary_size >= options.tokenizer->vocabulary_size(),
                       "--vocabulary-size ", options.vocabulary_size, " is less than the tokenizer's, ",
                       options.tokenizer ? options.tokenizer->vocabulary_size() : 0);
  require<ConfigError>(options.held_out_share >= 0 && options.held_out_share < 1, "--held-out is ",
                       options.held_out_share * 100, "%, expected less than 100%");
  require<ConfigError>(options.held_out_share == 0 || !options.held_out_output.empty(),
                       "--held-out needs --held-out-output: the name of the second file");
}

}  // namespace

PackResult pack(const PackOptions& given) {
  PackOptions options = given;
  if (options.vocabulary_size == 0 && options.tokenizer) {
    options.vocabulary_size = options.tokenizer->vocabulary_size();
  }
  check(options);
  const std::vector<fs::path> files = files_of(options.inputs);
  return Packing(options, files).run();
}

}  // namespace rosa::training
