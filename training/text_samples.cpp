#include "training/text_samples.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "base/activity.h"
#include "models/generate.h"
#include "rosa/operator/document_runs.h"

namespace rosa::training {
namespace {

using Tokens = std::vector<int64_t>;

// The longest document of a batch of one row, the first of equally long ones.
Tokens longest_document(const Batch& batch) {
  const at::Tensor ids = batch.input_ids[0].contiguous();
  const int64_t length = batch.padding.defined() ? batch.padding[0].logical_not().sum().item<int64_t>() : ids.size(0);
  std::pair<int64_t, int64_t> longest = {0, 0};
  for (const auto& [begin, row_end] : document_runs(batch.documents, /*row=*/0, ids.size(0))) {
    const int64_t end = std::min(row_end, length);
    if (end - begin > longest.second - longest.first) longest = {begin, end};
  }
  const int64_t* first = ids.const_data_ptr<int64_t>();
  return {first + longest.first, first + longest.second};
}

Tokens slice(const Tokens& tokens, int64_t begin, int64_t end) {
  const auto size = static_cast<int64_t>(tokens.size());
  return {tokens.begin() + std::min(begin, size), tokens.begin() + std::min(end, size)};
}

ContinuedText continue_text(const RunConfig& config, const RunParts& parts, const Tokens& document) {
  const EvaluationSection& evaluation = config.evaluation;
  const auto half = static_cast<int64_t>(document.size()) / 2;
  const int64_t num_given = std::min(evaluation.sample_prompt_tokens, std::max<int64_t>(1, half));
  ContinuedText text;
  text.prompt = slice(document, 0, num_given);
  text.reference = slice(document, num_given, num_given + evaluation.sample_tokens);
  if (text.prompt.empty()) return text;
  const at::Tensor prompt = at::tensor(text.prompt, at::kLong).unsqueeze(0).to(parts.device);
  const models::ForwardOptions options = variant_options(config, parts, parts.adapters == nullptr ? "teacher" : "rosa");
  models::GenerateOptions greedy;
  greedy.max_new_tokens = evaluation.sample_tokens;
  const at::Tensor whole = models::generate(parts.model, prompt, options, greedy)[0].cpu().contiguous();
  const int64_t* ids = whole.const_data_ptr<int64_t>();
  text.continuation.assign(ids + num_given, ids + whole.size(0));
  return text;
}

}  // namespace

std::vector<ContinuedText> continue_held_out_texts(const RunConfig& config, const RunParts& parts) {
  const at::NoGradGuard no_gradient;
  const HeldOutSequences held_out(config, parts.held_out_data);
  const int64_t count = std::min(config.evaluation.samples, held_out.size());
  parallel::Communicator& communicator = parts.communicator;
  const int64_t rank = communicator.rank(), world_size = communicator.world_size();
  nlohmann::json own = nlohmann::json::array();
  for (int64_t i = rank; i < count; i += world_size) {
    const ContinuedText text = continue_text(config, parts, longest_document(held_out.batch(i, 1)));
    own.push_back({text.prompt, text.continuation, text.reference});
    base::note_progress();
  }
  std::vector<ContinuedText> texts(static_cast<size_t>(count));
  const std::vector<std::string> all = communicator.all_gather_text(own.dump());
  std::vector<nlohmann::json> of_ranks;
  for (const std::string& of_rank : all) of_ranks.push_back(nlohmann::json::parse(of_rank));
  for (int64_t i = 0; i < count; ++i) {
    const nlohmann::json& text = of_ranks[static_cast<size_t>(i % world_size)].at(static_cast<size_t>(i / world_size));
    texts[static_cast<size_t>(i)] = {text.at(0).get<Tokens>(), text.at(1).get<Tokens>(), text.at(2).get<Tokens>()};
  }
  return texts;
}

}  // namespace rosa::training
