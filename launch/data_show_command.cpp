// `rosa data show` and `rosa data verify`: what is in a token file, and whether it is whole.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "base/printable.h"
#include "launch/data_command.h"
#include "launch/exit_code.h"
#include "text/tokenizer.h"
#include "training/data/token_file.h"
#include "training/data/token_statistics.h"

namespace rosa::launch {
namespace {

using training::TokenFile;

struct ShowOptions {
  std::string file, tokenizer;
  std::optional<int64_t> document;
  bool text = false;
};

// The file's tokenizer where it is known here: bytes, or the one of the folder that was named. Null without.
std::unique_ptr<text::Tokenizer> tokenizer_of(const TokenFile& file, const std::string& folder) {
  const auto& mark = file.facts().tokenizer;
  if (folder.empty()) return mark && mark->is_bytes ? text::make_byte_tokenizer() : nullptr;
  auto tokenizer = text::load_tokenizer(folder);
  base::require<base::DataError>(!mark || (!mark->is_bytes && mark->fingerprint == tokenizer->fingerprint()), "'",
                                 file.path().string(), "' was packed with the tokenizer '", mark ? mark->name : "",
                                 "', which is another than that of '", folder, "'");
  return tokenizer;
}

void show_header(const TokenFile& file) {
  const training::TokenFileFacts& facts = file.facts();
  std::cout << base::printable(file.path().string()) << ": token file, version " << file.version() << "\n"
            << "  documents        " << file.num_documents() << "\n"
            << "  tokens           " << file.num_tokens() << " of " << file.token_width_bytes() << " bytes\n"
            << "  vocabulary       " << file.vocabulary_size() << "\n"
            << "  tokenizer        ";
  if (!facts.tokenizer) {
    std::cout << "not known\n";
  } else {
    std::cout << base::printable(facts.tokenizer->name) << ", fingerprint "
              << base::to_hex(facts.tokenizer->fingerprint) << "\n";
  }
  if (facts.end_of_text) std::cout << "  end of text      " << *facts.end_of_text << "\n";
  if (facts.num_text_bytes > 0) {
    const double bits = 8.0 * static_cast<double>(facts.num_text_bytes) / static_cast<double>(file.num_tokens());
    std::cout << "  text             " << facts.num_text_bytes << " bytes, " << std::fixed << std::setprecision(2)
              << bits << " bits a token\n"
              << std::defaultfloat;
  }
}

void show_statistics(const TokenFile& file, const text::Tokenizer* tokenizer) {
  constexpr int64_t kTop = 10, kMaxTokens = 100'000'000, kBarColumns = 40;
  const training::TokenStatistics statistics = training::statistics_of(file, kTop, kMaxTokens);
  if (file.facts().has_loss_mask) {
    std::cout << "  count in loss    " << statistics.num_counted << " of " << statistics.num_looked_at << "\n";
  }
  std::cout << "Lengths of the documents: " << statistics.shortest << " to " << statistics.longest << ", median "
            << statistics.median << "\n";
  const int64_t most = *std::max_element(statistics.lengths.begin(), statistics.lengths.end());
  for (size_t i = 0; i < statistics.lengths.size(); ++i) {
    const int64_t count = statistics.lengths[i];
    if (count == 0) continue;
    std::cout << std::setw(10) << (int64_t{1} << i) << " to " << std::left << std::setw(10) << ((int64_t{2} << i) - 1)
              << std::right << std::setw(10) << count << "  "
              << std::string(static_cast<size_t>((count * kBarColumns + most - 1) / most), '=') << "\n";
  }
  std::cout << "The most frequent of " << statistics.num_distinct << " tokens";
  if (statistics.num_looked_at < file.num_tokens()) std::cout << " (of the first " << statistics.num_looked_at << ")";
  std::cout << ":\n";
  for (const auto& [token, count] : statistics.top_tokens) {
    std::cout << std::setw(10) << token << std::setw(12) << count << "  " << std::fixed << std::setprecision(2)
              << 100.0 * static_cast<double>(count) / static_cast<double>(statistics.num_looked_at) << "%"
              << std::defaultfloat;
    if (tokenizer != nullptr)
      std::cout << "  '" << base::printable(tokenizer->decode(std::vector<int64_t>{token})) << "'";
    std::cout << "\n";
  }
}

void show_document(const TokenFile& file, const text::Tokenizer* tokenizer, const ShowOptions& options) {
  const int64_t document = *options.document;
  base::require<base::ConfigError>(document >= 0 && document < file.num_documents(), "--document ", document, ": the ",
                                   "file has documents 0 to ", file.num_documents() - 1);
  const auto starts = file.document_starts().subspan(static_cast<size_t>(document), 2);
  std::vector<int64_t> tokens(starts[1] - starts[0]);
  file.read(static_cast<int64_t>(starts[0]), tokens);
  if (options.text) {
    base::require<base::ConfigError>(tokenizer != nullptr,
                                     "--text needs --tokenizer with the folder of the model whose tokenizer made the "
                                     "file");
    std::cout << base::printable_lines(tokenizer->decode(tokens)) << std::endl;
    return;
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool counts = file.counts(static_cast<int64_t>(starts[0] + i));
    std::cout << (i == 0 ? "" : " ") << (counts ? "" : "-") << tokens[i];
  }
  std::cout << std::endl;
}

int run_show(const ShowOptions& options) {
  const TokenFile file(options.file);
  base::require<base::ConfigError>(!options.text || options.document.has_value(), "--text shows one document: give ",
                                   "--document N too");
  const auto tokenizer = tokenizer_of(file, options.tokenizer);
  if (options.document) {
    show_document(file, tokenizer.get(), options);
    return kExitOk;
  }
  show_header(file);
  show_statistics(file, tokenizer.get());
  std::cout << std::flush;
  return kExitOk;
}

int run_verify(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    const TokenFile file(path);
    file.verify_tokens();
    // Checksums say that the file is as it was written; this, that a run can read it.
    constexpr int64_t kAtOnce = 1 << 16;
    std::vector<int64_t> tokens;
    for (int64_t first = 0; first < file.num_tokens(); first += kAtOnce) {
      tokens.resize(static_cast<size_t>(std::min(kAtOnce, file.num_tokens() - first)));
      file.read(first, tokens);
    }
    std::cout << base::printable(path) << ": whole, " << file.num_documents() << " documents, " << file.num_tokens()
              << " tokens" << std::endl;
  }
  return kExitOk;
}

}  // namespace

void add_data_show_command(CLI::App& data, Action& action) {
  CLI::App* show = data.add_subcommand("show", "Shows what is in a token file.");
  const auto options = std::make_shared<ShowOptions>();
  show->add_option("FILE", options->file, "token file")->required();
  show->add_option(
      "--document", options->document,
      "number of a document, from 0: its tokens; a minus stands before those that don't count in the loss");
  show->add_flag("--text", options->text, "the document's text in the place of its tokens");
  show->add_option("--tokenizer", options->tokenizer, "the model's folder, to show text");
  show->footer(
      "Examples:\n"
      "  rosa data show corpus.tokens\n"
      "  rosa data show corpus.tokens --document 3 --text --tokenizer Qwen3-0.6B");
  show->callback([&action, options] { action = [options] { return run_show(*options); }; });
}

void add_data_verify_command(CLI::App& data, Action& action) {
  CLI::App* verify = data.add_subcommand("verify", "Reads whole token files and compares their checksums.");
  const auto paths = std::make_shared<std::vector<std::string>>();
  verify->add_option("FILE", *paths, "token files")->required();
  verify->footer("Example:\n  rosa data verify corpus.tokens corpus.held_out.tokens");
  verify->callback([&action, paths] { action = [paths] { return run_verify(*paths); }; });
}

}  // namespace rosa::launch
