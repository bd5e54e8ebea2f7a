// `rosa data pack`: makes token files from text or token ids.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <string>

#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "training/data/pack.h"

namespace rosa::launch {
namespace {

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

struct PackCommandOptions {
  training::PackOptions pack;
  std::string output;
  bool force = false;
};

int run_pack(const PackCommandOptions& command) {
  training::PackOptions options = command.pack;
  options.separator = without_escapes(options.separator);
  options.output = output_path(command.output);
  for (std::filesystem::path& input : options.inputs) {
    if (input == "-") input = "/dev/stdin";
  }
  check_output({.option = "-o",
                .path = options.output,
                .kind = OutputKind::token_file,
                .inputs = options.inputs,
                .force = command.force});
  const training::PackResult result = training::pack(options);
  messages_beside(options.output) << base::printable(options.output.string()) << ": " << result.num_documents
                                  << " documents, " << result.num_tokens << " tokens of " << result.token_width_bytes
                                  << " bytes, vocabulary " << options.vocabulary_size << std::endl;
  return kExitOk;
}

}  // namespace

void add_data_command(CLI::App& program, Action& action) {
  CLI::App* data = program.add_subcommand("data", "Prepares training data.");
  data->require_subcommand(1);
  CLI::App* pack = data->add_subcommand("pack", "Makes a token file from text files (a byte is a token) or token ids.");
  const auto options = std::make_shared<PackCommandOptions>();
  pack->add_option("INPUT", options->pack.inputs, "files to pack, in this order; - is standard input")->required();
  pack->add_option("-o,--output", options->output, "token file to write; - is standard output")->required();
  pack->add_flag("--force", options->force, "replaces a file that is no token file");
  const std::map<std::string, training::PackFormat> formats = {{"text", training::PackFormat::text},
                                                               {"jsonl", training::PackFormat::jsonl}};
  pack->add_option("--format", options->pack.format,
                   "text (bytes are tokens, whatever they are), or jsonl (a line is a document: [id, id, ...] or "
                   "{\"input_ids\": [...]}); without it: text, and what looks like something else is refused")
      ->transform(CLI::CheckedTransformer(formats, CLI::ignore_case));
  pack->add_option("--vocabulary-size", options->pack.vocabulary_size,
                   "every id is below it; the model's vocab_size (default 256)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  pack->add_option("--separator", options->pack.separator,
                   "text: what stands between documents, e.g. '\\n\\n'; without it a file is a document");
  pack->footer(
      "Examples:\n"
      "  rosa data pack a.txt b.txt -o corpus.tokens\n"
      "  rosa data pack ids.jsonl -o ids.tokens --format jsonl --vocabulary-size 151936");
  pack->callback([&action, options] { action = [options] { return run_pack(*options); }; });
}

}  // namespace rosa::launch
