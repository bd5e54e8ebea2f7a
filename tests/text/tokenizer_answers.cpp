// What tokenizers make of texts, for tests in Python. A line of standard input is {"tokenizer": FILE, "texts": [...]}.
// The answer is a line: {"refused": MESSAGE}, or {"answers": [...]} with ids, the ids without special tokens around
// the text, the decoded text, and the decoded text without special tokens.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "text/tokenizer.h"

int main() {
  using nlohmann::json;
  for (std::string line; std::getline(std::cin, line);) {
    const json request = json::parse(line);
    json answer;
    try {
      const auto tokenizer = rosa::text::load_tokenizer(request.at("tokenizer").get<std::string>());
      answer["answers"] = json::array();
      for (const json& text : request.at("texts")) {
        const auto ids = tokenizer->encode(text.get<std::string>());
        const auto bare = tokenizer->encode(text.get<std::string>(), {.add_special_tokens = false});
        answer["answers"].push_back({ids, bare, tokenizer->decode(ids), tokenizer->decode(ids, true)});
      }
    } catch (const rosa::base::DataError& error) {
      answer = {{"refused", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}
