// `rosa tokenize`: what a model's tokenizer makes of a text, and of ids.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "text/tokenizer.h"

namespace rosa::launch {
namespace {

using base::ConfigError;
using base::require;

struct TokenizeCommandOptions {
  std::string folder;
  std::vector<std::string> words;
  bool decode = false, count = false;
};

std::string standard_input() { return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()}; }

bool is_from_standard_input(const std::vector<std::string>& words) {
  return words.empty() || (words.size() == 1 && words.front() == "-");
}

std::string text_to_encode(const std::vector<std::string>& words) {
  if (is_from_standard_input(words)) return standard_input();
  require<ConfigError>(words.size() == 1, "rosa tokenize: one text is taken, got ", words.size(),
                       " words; put it in quotes, or give - and write it to standard input");
  return words.front();
}

// Numbers with blanks, line ends, commas or brackets between them.
std::vector<int64_t> ids_to_decode(const std::vector<std::string>& words, const text::Tokenizer& tokenizer) {
  std::string all;
  if (is_from_standard_input(words)) {
    all = standard_input();
  } else {
    for (const std::string& word : words) all += word + ' ';
  }
  constexpr std::string_view kBetween = " \t\r\n,[]";
  std::vector<int64_t> ids;
  for (size_t at = all.find_first_not_of(kBetween); at != std::string::npos; at = all.find_first_not_of(kBetween, at)) {
    const size_t end = std::min(all.find_first_of(kBetween, at), all.size());
    int64_t id = 0;
    const auto [after, error] = std::from_chars(all.data() + at, all.data() + end, id);
    require<ConfigError>(error == std::errc() && after == all.data() + end, "rosa tokenize --decode: '",
                         base::excerpt(std::string_view(all).substr(at, end - at)),
                         "' is no token id; expected numbers such as 9707 11 1879");
    require<base::DataError>(tokenizer.has_token(id), "rosa tokenize --decode: the tokenizer has no token ", id,
                             "; its ids are below ", tokenizer.vocabulary_size());
    ids.push_back(id);
    at = end;
  }
  return ids;
}

// As https://no-color.org wants it.
bool is_coloured() {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
}

// A line for each token; neighbours differ in colour, so that blanks at the ends of a piece are seen.
void print_tokens(const std::vector<int64_t>& ids, const text::Tokenizer& tokenizer) {
  constexpr std::string_view kDim = "\033[2m", kOff = "\033[0m", kSpecial = "\033[1;35m";
  constexpr std::string_view kColours[] = {"\033[30;46m", "\033[30;43m"};
  const bool coloured = is_coloured();
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string piece = base::printable(tokenizer.bytes_of(ids[i]));
    if (coloured) {
      const std::string_view colour = tokenizer.is_special(ids[i]) ? kSpecial : kColours[i % 2];
      std::cout << kDim << ids[i] << kOff << '\t' << colour << piece << kOff << '\n';
    } else {
      std::cout << ids[i] << '\t' << piece << '\n';
    }
  }
}

int run_tokenize(const TokenizeCommandOptions& options) {
  const std::unique_ptr<text::Tokenizer> tokenizer = text::load_tokenizer(options.folder);
  if (options.decode) {
    const std::string text = tokenizer->decode(ids_to_decode(options.words, *tokenizer));
    // A file or pipe gets the text as it is.
    std::cout << (::isatty(STDOUT_FILENO) == 1 ? base::printable_lines(text) + '\n' : text) << std::flush;
    return kExitOk;
  }
  const std::vector<int64_t> ids = tokenizer->encode(text_to_encode(options.words));
  if (options.count) {
    std::cout << ids.size() << '\n';
  } else {
    print_tokens(ids, *tokenizer);
  }
  std::cout << std::flush;
  return kExitOk;
}

}  // namespace

void add_tokenize_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "tokenize", "Shows what a model's tokenizer makes of a text: a line for each token, its id and its piece.");
  const auto options = std::make_shared<TokenizeCommandOptions>();
  command->add_option("FOLDER", options->folder, "a model folder with a tokenizer.json, or such a file")->required();
  command->add_option("TEXT", options->words,
                      "the text (with --decode: ids); - or nothing: standard input, all of it with its line ends");
  CLI::Option* decode = command->add_flag("--decode", options->decode, "prints the text of token ids");
  command->add_flag("--count", options->count, "prints the number of tokens only")->excludes(decode);
  command->footer(
      "Examples:\n"
      "  rosa tokenize models/qwen3 'Hello, world!'\n"
      "  rosa tokenize models/qwen3 --count < book.txt\n"
      "  rosa tokenize models/qwen3 --decode 9707 11 1879 0\n"
      "Pieces are coloured on a terminal; NO_COLOR=1 leaves that out.");
  command->callback([&action, options] { action = [options] { return run_tokenize(*options); }; });
}

}  // namespace rosa::launch
