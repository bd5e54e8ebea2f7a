// `rosa data pack`: makes token files from text, conversations or token ids.
#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <utility>

#include "base/cores.h"
#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "launch/data_command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "launch/own_library.h"
#include "launch/process.h"
#include "launch/progress.h"
#include "launch/terminal_line.h"
#include "text/tokenizer.h"
#include "training/data/pack.h"

namespace rosa::launch {
namespace {

using base::ConfigError;

struct PackCommandOptions {
  training::PackOptions pack;
  std::string output, held_out_output;
  std::string tokenizer;  // a model's folder
  bool bytes = false;
  std::string held_out, text_fields, invalid = "replace";
  bool force = false;
};

// "\n" and "\t" as a shell user types them.
std::string without_escapes(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      plain += text[i];
      continue;
    }
    const char escaped = text[++i];
    plain += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped;
  }
  return plain;
}

// "0.5%" or "0.005".
double share_of(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string rest = end;
  const double share = rest == "%" ? number / 100 : number;
  base::require<ConfigError>(end != text.c_str() && (rest.empty() || rest == "%") && share > 0 && share < 1,
                             "--held-out is ", base::printable(text), ", expected a share such as 0.5% or 0.005");
  return share;
}

// corpus.tokens: corpus.held_out.tokens.
std::filesystem::path held_out_name(const std::filesystem::path& output) {
  std::filesystem::path path = output;
  return path.replace_filename(output.stem().string() + ".held_out" + output.extension().string());
}

// "corpus.tokens: 120 MB of 1.2 GB (10%), 45 MB/s, ETA 0:24, 30.1M tokens": redrawn on a terminal, else a log line now
// and then.
class PackDisplay {
 public:
  PackDisplay() : terminal_(find_terminal()), start_(Clock::now()), last_(start_) {}
  ~PackDisplay() {
    if (terminal_.is_terminal) clear_terminal_line();
  }
  PackDisplay(const PackDisplay&) = delete;
  PackDisplay& operator=(const PackDisplay&) = delete;

  void show(const training::PackProgress& progress) {
    const auto now = Clock::now();
    const double pause = terminal_.is_terminal ? 0.2 : 30.0;
    if (std::chrono::duration<double>(now - last_).count() < pause) return;
    last_ = now;
    const std::string text = text_of(progress, std::chrono::duration<double>(now - start_).count());
    if (terminal_.is_terminal) {
      draw_terminal_line(text.substr(0, static_cast<size_t>(std::max(terminal_.num_columns - 1, 1))));
    } else {
      std::cerr << "rosa: " << text << std::endl;
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  static std::string text_of(const training::PackProgress& progress, double seconds) {
    const auto done = static_cast<double>(progress.num_bytes), total = static_cast<double>(progress.num_bytes_total);
    const double speed = done / std::max(seconds, 1e-3);
    std::string text = base::concat("packing: ", count_text(done), "B");
    if (total > 0) text += base::concat(" of ", count_text(total), "B (", static_cast<int>(100 * done / total), "%)");
    text += base::concat(", ", count_text(speed), "B/s");
    if (total > 0) text += base::concat(", ETA ", duration_text((total - done) / std::max(speed, 1.0)));
    return base::concat(text, ", ", count_text(static_cast<double>(progress.num_documents)), " documents, ",
                        count_text(static_cast<double>(progress.num_tokens)), " tokens");
  }

  Terminal terminal_;
  Clock::time_point start_, last_;
};

void choose_tokenizer(const PackCommandOptions& command, training::PackOptions& options) {
  const bool has_tokenizer = !command.tokenizer.empty();
  base::require<ConfigError>(command.bytes || options.ids || has_tokenizer,
                             "say what the tokens are: --tokenizer FOLDER (the model's folder, with its ",
                             "tokenizer.json), --bytes (a byte is a token; for models trained on bytes only), or ",
                             "--ids (the inputs hold token ids)");
  base::require<ConfigError>(!command.bytes || (!options.ids && !has_tokenizer), "--bytes and ",
                             options.ids ? "--ids" : "--tokenizer", " exclude each other: give one of them");
  if (command.bytes) options.tokenizer = text::make_byte_tokenizer();
  if (has_tokenizer) options.tokenizer = text::load_tokenizer(command.tokenizer);
}

void tell(std::ostream& out, const training::PackOptions& options, const training::PackResult& result) {
  out << base::printable(options.output.string()) << ": " << result.num_documents << " documents, " << result.num_tokens
      << " tokens of " << result.token_width_bytes << " bytes, vocabulary " << result.vocabulary_size;
  if (options.tokenizer) out << " (" << base::printable(options.tokenizer->name()) << ")";
  out << "\n";
  if (result.num_held_out_documents > 0) {
    out << base::printable(options.held_out_output.string()) << ": " << result.num_held_out_documents << " documents, "
        << result.num_held_out_tokens << " tokens, held out\n";
  }
  if (result.has_loss_mask) out << result.num_counted << " tokens count in the loss: the assistant's\n";
  if (result.num_invalid > 0) out << result.num_invalid << " places were no UTF-8 and became U+FFFD\n";
  if (result.num_null > 0) out << result.num_null << " rows hold no value and are left out\n";
  if (result.num_too_short > 0) out << result.num_too_short << " documents were too short and are left out\n";
  if (result.num_split > 0) out << result.num_split << " documents were too long and are cut\n";
  out << std::flush;
}

// Throws PackStopped once everything half written is gone.
training::PackResult pack_with_progress(training::PackOptions options) {
  PackDisplay display;
  options.on_progress = [&display](const training::PackProgress& progress) { display.show(progress); };
  options.should_stop = stop_requested;
  return training::pack(options);
}

int run_pack(const PackCommandOptions& command) {
  training::PackOptions options = command.pack;
  options.separator = without_escapes(options.separator);
  options.output = output_path(command.output);
  options.parquet_library = own_library("librosa_parquet.so");
  options.fail_on_invalid = command.invalid == "fail";
  if (!command.text_fields.empty()) options.text_fields = CLI::detail::split(command.text_fields, ',');
  for (std::filesystem::path& input : options.inputs) {
    if (input == "-") input = "/dev/stdin";
  }
  choose_tokenizer(command, options);
  const std::vector<std::filesystem::path> files = training::files_of(options.inputs);
  check_output({.option = "-o",
                .path = options.output,
                .kind = OutputKind::token_file,
                .inputs = files,
                .force = command.force});
  if (!command.held_out.empty()) {
    options.held_out_share = share_of(command.held_out);
    options.held_out_output =
        command.held_out_output.empty() ? held_out_name(options.output) : output_path(command.held_out_output);
    std::vector<std::filesystem::path> taken = files;
    taken.push_back(options.output);
    check_output({.option = "--held-out-output",
                  .path = options.held_out_output,
                  .kind = OutputKind::token_file,
                  .inputs = taken,
                  .force = command.force});
    base::require<ConfigError>(options.held_out_output != options.output, "--held-out-output is the file of -o");
  } else {
    base::require<ConfigError>(command.held_out_output.empty(), "--held-out-output needs --held-out, a share");
  }
  if (options.num_threads == 0) {
    const base::CoreLimits limits = base::read_core_limits();
    options.num_threads = base::share_of_cores(limits, {base::to_text(limits)});
  }
  note_stop_signals();
  try {
    const training::PackResult result = pack_with_progress(options);
    tell(messages_beside(options.output), options, result);
    return kExitOk;
  } catch (const base::Error&) {
    if (!stop_requested()) throw;
  }
  std::cerr << "rosa: stopped; nothing was written" << std::endl;
  // As without a handler: a shell's loop ends too.
  if (stop_signal() == SIGINT) std::signal(SIGINT, SIG_DFL), std::raise(SIGINT);
  return kExitStopped;
}

void add_text_options(CLI::App& pack, PackCommandOptions& options) {
  const std::map<std::string, training::PackFormat> formats = {{"text", training::PackFormat::text},
                                                               {"jsonl", training::PackFormat::jsonl},
                                                               {"chat", training::PackFormat::chat}};
  pack.add_option(
          "--format", options.pack.format,
          "text, jsonl (a line is an object with a text), or chat (a line is {\"messages\": [...]}, or a row of "
          "Parquet has such messages); without it: by name and content, text, jsonl or Parquet")
      ->transform(CLI::CheckedTransformer(formats, CLI::ignore_case));
  pack.add_option("--text-field", options.text_fields,
                  "jsonl: the field with the text, e.g. meta.body; of several (a,b) the first that a line has "
                  "(default text)");
  pack.add_option(
      "--text-column", options.pack.parquet_column,
      "Parquet: the column with the documents, e.g. meta.body (default text; input_ids with --ids, messages "
      "with --format chat)");
  pack.add_option("--separator", options.pack.separator,
                  "text: what stands between documents, e.g. '\\n\\n'; without it a file is a document");
  pack.add_option("--invalid", options.invalid, "what is no UTF-8: replace (by U+FFFD, counted) or fail")
      ->check(CLI::IsMember({"replace", "fail"}));
  pack.add_flag("--recognize-special-tokens", options.pack.recognize_special_tokens,
                "text that reads like a special token (<|endoftext|>) becomes it; else it stays text");
}

void add_document_options(CLI::App& pack, PackCommandOptions& options) {
  pack.add_option("--append", options.pack.append,
                  "what ends a document: end-of-text (default of text with a tokenizer), none, or a special token");
  pack.add_option("--min-tokens", options.pack.min_tokens, "shorter documents are left out")
      ->check(CLI::NonNegativeNumber);
  pack.add_option("--split-long", options.pack.split_long, "longer documents are cut into such of N tokens")
      ->check(CLI::PositiveNumber);
  pack.add_option("--shuffle", options.pack.shuffle_seed, "SEED: the order of the documents is drawn");
  pack.add_option("--held-out", options.held_out,
                  "share of the documents, e.g. 0.5%, that go to a second file; equal texts stay together");
  pack.add_option("--held-out-output", options.held_out_output,
                  "the second file (default: NAME.held_out.EXTENSION beside -o)");
  pack.add_option("--threads", options.pack.num_threads, "threads that make tokens (default 0: all cores)")
      ->check(CLI::Range(0, 1024));
}

}  // namespace

void add_data_pack_command(CLI::App& data, Action& action) {
  CLI::App* pack = data.add_subcommand("pack", "Makes a token file from text, conversations or token ids.");
  const auto options = std::make_shared<PackCommandOptions>();
  options->pack.num_threads = 0;
  pack->add_option("INPUT", options->pack.inputs,
                   "files and folders to pack, in this order: text, JSON lines, Parquet; also in gzip or zstd; - is "
                   "standard input")
      ->required();
  pack->add_option("-o,--output", options->output, "token file to write; - is standard output")->required();
  pack->add_option("--tokenizer", options->tokenizer, "the model's folder: its tokenizer.json makes the tokens");
  pack->add_flag("--bytes", options->bytes, "a byte is a token: for models that were trained on bytes");
  pack->add_flag("--ids", options->pack.ids,
                 "inputs hold token ids: lines of [id, id, ...] or {\"input_ids\": [...]}, Megatron-LM's .bin and "
                 ".idx, or lists in Parquet; with --tokenizer: that tokenizer's");
  pack->add_option("--vocabulary-size", options->pack.vocabulary_size,
                   "every id is below it; the model's vocab_size (default: the tokenizer's, 256 for bytes)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  pack->add_flag("--force", options->force, "replaces a file that is no token file");
  add_text_options(*pack, *options);
  add_document_options(*pack, *options);
  pack->footer(
      "Examples:\n"
      "  rosa data pack texts/ -o corpus.tokens --tokenizer Qwen3-0.6B --held-out 0.5%\n"
      "  rosa data pack a.jsonl.zst -o a.tokens --tokenizer Qwen3-0.6B --text-field content\n"
      "  rosa data pack dump/ -o dump.tokens --tokenizer Qwen3-0.6B --text-column content   # of Parquet files\n"
      "  rosa data pack chats.jsonl -o chats.tokens --tokenizer Qwen3-0.6B --format chat\n"
      "  rosa data pack a.txt b.txt -o bytes.tokens --bytes\n"
      "  rosa data pack ids.jsonl -o ids.tokens --ids --vocabulary-size 151936");
  pack->callback([&action, options] { action = [options] { return run_pack(*options); }; });
}

}  // namespace rosa::launch
