// `rosa data pack`: makes token files from text or token ids.
#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "launch/command.h"
#include "launch/exit_code.h"
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

int run_pack(training::PackOptions options) {
  options.separator = without_escapes(options.separator);
  const training::PackResult result = training::pack(options);
  std::cout << options.output.string() << ": " << result.num_documents << " documents, " << result.num_tokens
            << " tokens of " << result.token_width_bytes << " bytes, vocabulary " << options.vocabulary_size
            << std::endl;
  return kExitOk;
}

}  // namespace

void add_data_command(CLI::App& program, Action& action) {
  CLI::App* data = program.add_subcommand("data", "Prepares training data.");
  data->require_subcommand(1);
  CLI::App* pack = data->add_subcommand("pack", "Makes a token file from text files (a byte is a token) or token ids.");
  const auto options = std::make_shared<training::PackOptions>();
  pack->add_option("INPUT", options->inputs, "files to pack, in this order")->required();
  pack->add_option("-o,--output", options->output, "token file to write")->required();
  const std::map<std::string, training::PackFormat> formats = {{"text", training::PackFormat::text},
                                                               {"jsonl", training::PackFormat::jsonl}};
  pack->add_option("--format", options->format,
                   "text (bytes are tokens), or jsonl (a line is a document: [id, id, ...])")
      ->transform(CLI::CheckedTransformer(formats, CLI::ignore_case));
  pack->add_option("--vocabulary-size", options->vocabulary_size,
                   "every id is below it; the model's vocab_size (default 256)");
  pack->add_option("--separator", options->separator,
                   "text: what stands between documents, e.g. '\\n\\n'; without it a file is a document");
  pack->callback([&action, options] { action = [options] { return run_pack(*options); }; });
}

}  // namespace rosa::launch
