#include "launch/model_card.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "launch/build_info.h"
#include "training/trained_base.h"

namespace rosa::launch {
namespace {

using Json = nlohmann::ordered_json;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4f", value);
  return text;
}

// The last evaluation up to the exported step; a sentence, or nothing.
std::string last_evaluation(const ModelCard& card) {
  const std::filesystem::path path = card.run_folder / "metrics.jsonl";
  if (card.num_steps_done == 0 || !std::filesystem::exists(path)) return "";
  std::string sentence;
  base::read_json_lines(path, [&](const base::JsonFields& line, std::string_view) {
    if (line.text("kind") != "evaluation" || line.integer("step").value_or(0) > card.num_steps_done) return;
    const auto ce = line.number("ce"), perplexity = line.number("perplexity");
    const auto num_tokens = line.integer("num_tokens");
    if (!ce || !perplexity) return;
    sentence =
        base::concat("The run's own evaluation after ", line.required_integer("step"), " steps: cross-entropy ",
                     number(*ce), " nats a token, perplexity ", number(*perplexity),
                     num_tokens ? base::concat(", over ", *num_tokens, " held-out tokens") : std::string(), ".\n");
  });
  return sentence;
}

const std::vector<std::pair<const char*, const char*>> kMeanings = {
    {"teacher", "the base model, global attention"},
    {"window", "sliding window alone, no adapters"},
    {"rosa", "this model"},
    {"rosa_zeroed", "control: what the adapters retrieve is 0"},
    {"rosa_shuffled", "control: what they retrieve is of other places of the text"},
    {"rosa_windowed", "control: they retrieve from the window only"},
};

void write_scores(std::ostream& out, const Json& scores, const std::string& title) {
  out << title << "\n\n| | cross-entropy, nats a token | perplexity | tokens |\n|---|---|---|---|\n";
  for (const auto& [name, meaning] : kMeanings) {
    const auto score = scores.find(name);
    if (score == scores.end() || !score->is_object() || !score->contains("ce") || !score->contains("ppl")) continue;
    const auto figure = [&](const char* key) {
      const auto found = score->find(key);
      return found != score->end() && found->is_number() ? found->template get<double>() : 0.0;
    };
    out << "| `" << name << "`: " << meaning << " | " << number(figure("ce")) << " | " << number(figure("ppl")) << " | "
        << static_cast<int64_t>(figure("num_tokens")) << " |\n";
  }
  const auto closed = scores.find("gap_closed");
  if (closed != scores.end() && closed->is_number()) {
    out << "\nOf the gap between window and teacher, " << number(100 * closed->get<double>()) << " % is closed.\n";
  }
  out << "\n";
}

void write_figures(std::ostream& out, const ModelCard& card) {
  out << "## Figures\n\n";
  const std::string evaluation = last_evaluation(card);
  if (!evaluation.empty()) out << evaluation << "\n";
  if (card.scores == nullptr) {
    out << "The controls were not measured when this was written: `rosa export --evaluate` does it, or `rosa eval RUN "
           "-o "
           "scores.json` and `--scores scores.json`.\n\n";
    return;
  }
  write_scores(out, *card.scores, "Held-out tokens, beside the teacher and the controls:");
  const auto recallable = card.scores->find("recallable");
  if (recallable != card.scores->end() && recallable->is_object()) {
    write_scores(out, *recallable, "Of these, the tokens that can only be recalled from beyond the window:");
  }
}

void write_usage(std::ostream& out, const ModelCard& card) {
  out << "## Use\n\n```python\n";
  if (card.adapter_only) {
    out << "import sys\nsys.path.insert(0, \"FOLDER\")  # this folder\nfrom modeling_" << card.family.model_type
        << "_rosa import load_adapter\n\n"
        << "model = load_adapter(\"FOLDER\", \"BASE_FOLDER\")\n```\n\n"
        << "`BASE_FOLDER` is the base model; left out, it is the one that `adapter_config.json` names.\n\n";
  } else {
    out << "from transformers import AutoModelForCausalLM" << (card.has_tokenizer ? ", AutoTokenizer" : "") << "\n\n"
        << "model = AutoModelForCausalLM.from_pretrained(\"FOLDER\", trust_remote_code=True)\n";
    if (card.has_tokenizer) {
      out << "tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n"
          << "inputs = tokenizer(\"Once upon a time\", return_tensors=\"pt\")\n"
          << "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40)[0]))\n";
    } else {
      out << "inputs = torch.tensor([list(\"Once upon a time\".encode())])\n"
          << "output = model.generate(inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=40)\n"
          << "print(bytes(output[0].tolist()).decode(errors=\"replace\"))\n";
    }
    out << "```\n\n";
    if (card.lora_apart) {
      out << "The weights here are the base model's. What was trained is they with the low-rank adaptation:\n\n"
          << "```python\nfrom peft import PeftModel\nmodel = PeftModel.from_pretrained(model, \"FOLDER/lora\")\n"
          << "```\n\n";
    }
    if (!card.has_tokenizer) {
      out << "The base model's folder has no tokenizer. A model of 256 tokens or a few more takes the bytes of the "
             "text as "
             "its token ids, as above (`import torch` first).\n\n";
    }
  }
  out << "The adapters match in `librosa_c`, a shared library that rosa builds and installs: name it by the "
         "environment "
         "variable `ROSA_C_LIBRARY`, or lay it into this folder. Without it plain PyTorch gives the same results, in "
         "quadratic time. It needs transformers 5.\n\n";
}

}  // namespace

namespace {

std::string windows_text(const training::StudentSection& student) {
  const bool has_global = !student.global_layers.empty() || !student.layer_windows.empty();
  return base::concat(has_global ? "most layers attend" : "every layer attends", " to the last ",
                      student.layer_windows.empty() ? "" : "at most ", student.sliding_window, " tokens",
                      student.sink_tokens > 0 ? base::concat(" and to the first ", student.sink_tokens) : " only",
                      has_global ? ", the others to more of the text (config.json says which)" : "");
}

}  // namespace

namespace {

std::string what_was_trained(const ModelCard& card) {
  if (card.lora_apart) {
    return "The adapters, and a low-rank adaptation of the base model, which is in `lora/`, were distilled from it by "
           "`rosa` ";
  }
  if (card.config.lora.rank > 0) {
    return "The adapters, and a low-rank adaptation of the base model, which is part of the weights here, were "
           "distilled from it by `rosa` ";
  }
  return !training::trains_base(card.config.train)
             ? "The base model's weights are unchanged; the adapters were distilled from it by `rosa` "
             : "The adapters, and some weights of the base model with them, were distilled from it by `rosa` ";
}

}  // namespace

std::string model_card(const ModelCard& card) {
  const training::RunConfig& config = card.config;
  const std::string name = std::filesystem::path(config.model.folder).filename().string();
  std::ostringstream out;
  // A name as a string of JSON is one of YAML too, whatever is in it.
  out << "---\nlibrary_name: transformers\npipeline_tag: text-generation\nbase_model: "
      << nlohmann::json(base::printable(name)).dump() << "\ntags: [rosa, " << card.family.model_type
      << ", sliding-window]\n---\n"
      << kCardMark << "\n\n# " << base::printable(name) << " with ROSA\n\n"
      << "A " << card.family.class_prefix << " in which " << windows_text(config.student)
      << ". What lies further back is looked up: beside each attention an adapter finds the longest "
         "earlier "
         "occurrence of the latest symbols, exactly and at any distance, and adds what stood after it (ROSA, from "
         "RWKV-8).\n\n"
      << what_was_trained(card) << kBuildVersion
      << (card.num_steps_done > 0 ? base::concat(", in ", card.num_steps_done, " steps") : std::string()) << ". ";
  out << (card.adapter_only ? "This folder holds the adapters alone, in float32.\n\n"
                            : base::concat("Weights: ", card.dtype, ", adapters float32.\n\n"));
  write_usage(out, card);
  write_figures(out, card);
  out << "## Licence and origin\n\nThe licence of the weights is the base model's. ROSA is from RWKV-8 (RWKV-LM), the "
         "adapter "
         "after rosa_soft.\n";
  return out.str();
}

}  // namespace rosa::launch
