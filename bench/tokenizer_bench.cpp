// Encodes files as tokenizer_bench.py asks: `tokenizer_bench TOKENIZER.json`, then lines "THREADS FILE" on standard
// input. A document is a line of the file as JSON; threads 0: one document after the other, without a pool. Answers
// with "SECONDS BYTES TOKENS".
#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/encode_batch.h"
#include "text/tokenizer.h"

namespace {

std::vector<std::string> documents_of(const std::string& file) {
  std::vector<std::string> documents;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) documents.push_back(nlohmann::json::parse(line));
  return documents;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_bench TOKENIZER.json\n";
    return 2;
  }
  const std::unique_ptr<rosa::text::Tokenizer> tokenizer = rosa::text::load_tokenizer(argv[1]);
  int num_threads = 0;
  for (std::string file; std::cin >> num_threads >> std::ws && std::getline(std::cin, file);) {
    const std::vector<std::string> documents = documents_of(file);
    const std::vector<std::string_view> views(documents.begin(), documents.end());
    std::unique_ptr<rosa::base::ThreadPool> pool;
    if (num_threads > 0) pool = std::make_unique<rosa::base::ThreadPool>(num_threads);
    size_t num_bytes = 0, num_tokens = 0;
    const auto start = std::chrono::steady_clock::now();
    if (pool) {
      for (const auto& ids : encode_batch(*tokenizer, views, {}, *pool)) num_tokens += ids.size();
    } else {
      for (const std::string& document : documents) num_tokens += tokenizer->encode(document).size();
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    for (const std::string& document : documents) num_bytes += document.size();
    std::cout << seconds.count() << " " << num_bytes << " " << num_tokens << std::endl;
  }
  return 0;
}
