#include "launch/text_generation.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/printable.h"
#include "launch/model_tokenizer.h"
#include "launch/stop_text.h"
#include "text/stream_decoder.h"
#include "training/evaluation.h"

namespace rosa::launch {

using base::concat;
using base::ConfigError;
using base::require;

// Tokens of one text to what is shown of them, until a stop text.
struct TextGeneration::Shown {
  Shown(const text::Tokenizer* tokenizer, std::vector<std::string> stop_texts) : stop(std::move(stop_texts)) {
    if (tokenizer != nullptr) decoder.emplace(*tokenizer, /*skip_special_tokens=*/true);
  }
  std::string add(int64_t token) { return decoder ? stop.add(decoder->add(token)) : ""; }
  std::string finish() {
    if (!decoder || stop.has_stopped()) return "";
    std::string rest = stop.add(decoder->finish());
    return stop.has_stopped() ? rest : rest + stop.finish();
  }

  std::optional<text::StreamDecoder> decoder;
  StopText stop;
};

TextGeneration::TextGeneration(const TrainedRun& run, TextGenerationOptions options, std::string weights,
                               bool needs_text)
    : run_(run), options_(std::move(options)), weights_(std::move(weights)) {
  const models::ModelConfig& model = run.objects.model->config();
  if (needs_text) {
    tokenizer_ = find_model_tokenizer(run.config.model.folder, model.vocab_size);
    require<ConfigError>(tokenizer_ != nullptr, base::printable(run.config.model.folder),
                         " has no tokenizer.json, which makes text of the model's ", model.vocab_size,
                         " tokens; put the model's there, or use --ids and --print-ids");
  }
  if (options_.is_chat) chat_.emplace(*tokenizer_);
  of_model_ = models::load_generation_config(run.config.model.folder);
  if (of_model_) {
    for (const std::string& key : of_model_->not_implemented) {
      base::log_warning("generation_config.json: " + key + " is not implemented and does not count");
    }
  }
  if (options_.model != "teacher") {
    const models::AdapterSet* adapters = options_.model == "rosa" ? run.objects.adapters.get() : nullptr;
    forward_ = training::student_options(run.config, *run.objects.model, adapters, *run.objects.executor);
  }
  const bool can_draft = models::Generator(*run.objects.model, forward_, 1).rows_are_independent();
  require<ConfigError>(
      options_.speculation != models::Speculation::on || can_draft,
      "--speculate on needs a model on the CPU in float32 or bfloat16, whose tokens then are the same; ",
      "leave it out");
  if (!options_.session.empty()) text_ = load_session(options_.session, owner(), *run.objects.model, forward_);
}

TextGeneration::~TextGeneration() = default;

SessionOwner TextGeneration::owner() const {
  SessionOwner owner{.weights = weights_, .variant = options_.model, .tokenizer = ""};
  if (tokenizer_) {
    owner.tokenizer = tokenizer_->name();
    owner.fingerprint = tokenizer_->fingerprint();
  }
  return owner;
}

std::vector<int64_t> TextGeneration::encode(const std::string& text) const {
  // Only the beginning of a text gets what the tokenizer puts around one.
  return tokenizer_->encode(text, {.add_special_tokens = !text_.has_value()});
}

std::string TextGeneration::shown_ids(const std::vector<int64_t>& ids) const {
  if (!options_.print_ids) return tokenizer_->decode(ids);
  std::string text;
  for (const int64_t id : ids) text += std::to_string(id) + ' ';
  return text;
}

std::vector<std::string> TextGeneration::stops_for(bool is_conversation) const {
  std::vector<std::string> stops = options_.stops;
  if (is_conversation && !ChatFormat(*tokenizer_).end_token()) stops.push_back(ChatFormat::end_text());
  return stops;
}

models::GenerateOptions TextGeneration::choice_for(const std::vector<int64_t>& tokens, bool is_conversation) {
  const models::ModelConfig& model = run_.objects.model->config();
  const auto length = static_cast<int64_t>(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    require<ConfigError>(tokens[i] >= 0 && tokens[i] < model.vocab_size, "token ", i, " of the prompt is ", tokens[i],
                         "; the model knows ids below ", model.vocab_size);
  }
  Sampling sampling = resolve_sampling(options_.sampling, of_model_, model.eos_token_ids, length);
  if (is_conversation) {
    if (const auto end = ChatFormat(*tokenizer_).end_token()) sampling.options.stop_tokens.push_back(*end);
  }
  if (sampling.options.max_new_tokens > model.max_position_embeddings - length) {
    base::log_warning(concat("the prompt has ", length, " tokens",
                             length > model.max_position_embeddings
                                 ? ""
                                 : concat(", and up to ", sampling.options.max_new_tokens, " follow"),
                             ": more than the model's max_position_embeddings, ", model.max_position_embeddings,
                             "; what it says beyond them may be poor"));
  }
  // Standard output is for the text alone.
  if (!has_told_sampling_) base::log_info(sampling.text);
  has_told_sampling_ = true;
  return sampling.options;
}

// Appends ids to the text, and what the model says. That is written as it comes, behind the prompt.
void TextGeneration::go_on(const std::vector<int64_t>& ids, const std::string& shown_prompt) {
  std::vector<std::vector<int64_t>> tokens(1);
  if (text_) tokens[0] = text_->tokens;
  tokens[0].insert(tokens[0].end(), ids.begin(), ids.end());
  const std::vector<models::GenerateOptions> choice = {choice_for(tokens[0], options_.is_chat)};
  if (!text_) text_.emplace(TextSession{{}, models::Generator(*run_.objects.model, forward_, 1)});
  output_.write(shown_prompt);
  Shown shown(tokenizer_.get(), stops_for(options_.is_chat));
  models::continue_texts(text_->generator, tokens, choice, options_.speculation, [&](int64_t, int64_t token) {
    const std::string piece = shown.add(token);
    output_.write(options_.print_ids ? std::to_string(token) + ' ' : piece);
    return !shown.stop.has_stopped();
  });
  if (!options_.print_ids) output_.write(shown.finish());
  output_.end_line();
  text_->tokens = std::move(tokens[0]);
  if (!options_.session.empty()) save_session(options_.session, owner(), text_->tokens, text_->generator);
}

void TextGeneration::continue_text(const std::string& text) {
  const std::vector<int64_t> ids = encode(text);
  go_on(ids, options_.print_ids ? shown_ids(ids) : text);
}

void TextGeneration::continue_ids(const std::vector<int64_t>& ids) {
  require<ConfigError>(!ids.empty() || text_, "--session: there is no ", base::printable(options_.session.string()),
                       " to go on with yet; begin it with a prompt");
  go_on(ids, shown_ids(ids));
}

void TextGeneration::answer(const std::string& text) {
  std::vector<ChatMessage> messages;
  if (!text_ && !options_.system.empty()) messages.push_back({"system", options_.system});
  messages.push_back({"user", text});
  go_on(text_ ? chat_->go_on(text_->tokens, messages) : chat_->begin(messages), "");
}

void TextGeneration::converse() {
  const bool is_terminal = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
  if (is_terminal) base::log_info("a line is a message; Ctrl-D ends the conversation");
  std::string line;
  while (true) {
    if (is_terminal) std::cout << "> " << std::flush;
    if (!std::getline(std::cin, line)) break;
    if (line.find_first_not_of(" \t\r") != std::string::npos) answer(line);
  }
  if (is_terminal) std::cout << std::endl;
}

void TextGeneration::continue_prompts(const std::vector<FilePrompt>& prompts, const std::filesystem::path& output) {
  std::vector<std::vector<int64_t>> all_tokens;
  std::vector<models::GenerateOptions> all_choices;
  for (const FilePrompt& prompt : prompts) {
    const bool is_conversation = !prompt.messages.empty();
    require<ConfigError>(tokenizer_ != nullptr || !(prompt.text || is_conversation), prompt.place,
                         ": the prompt is a text");
    try {
      std::vector<int64_t> ids = prompt.ids;
      if (prompt.text) ids = encode(*prompt.text);
      if (is_conversation) ids = ChatFormat(*tokenizer_).begin(prompt.messages);
      all_choices.push_back(choice_for(ids, is_conversation));
      all_tokens.push_back(std::move(ids));
    } catch (const ConfigError& error) {
      throw ConfigError(concat(prompt.place, ": ", error.what()));
    }
    if (prompt.max_new_tokens) all_choices.back().max_new_tokens = *prompt.max_new_tokens;
    if (prompt.seed) all_choices.back().seed = *prompt.seed;
  }
  const auto start = std::chrono::steady_clock::now();
  int64_t num_tokens = 0;
  base::AtomicFile file(output);
  for (size_t first = 0; first < prompts.size(); first += static_cast<size_t>(options_.batch)) {
    const size_t count = std::min(static_cast<size_t>(options_.batch), prompts.size() - first);
    std::vector<std::vector<int64_t>> tokens(all_tokens.begin() + static_cast<std::ptrdiff_t>(first),
                                             all_tokens.begin() + static_cast<std::ptrdiff_t>(first + count));
    const std::span<const models::GenerateOptions> choices(all_choices.data() + first, count);
    std::vector<Shown> shown;
    std::vector<std::string> texts(count);
    for (size_t i = 0; i < count; ++i) {
      shown.emplace_back(tokenizer_.get(), stops_for(!prompts[first + i].messages.empty()));
    }
    models::Generator generator(*run_.objects.model, forward_, static_cast<int64_t>(count));
    const models::ContinueStatistics statistics =
        models::continue_texts(generator, tokens, choices, options_.speculation, [&](int64_t text, int64_t token) {
          texts[text] += shown[text].add(token);
          return !shown[text].stop.has_stopped();
        });
    num_tokens += statistics.num_tokens;
    for (size_t i = 0; i < count; ++i) {
      const std::vector<int64_t>& stops = choices[i].stop_tokens;
      const bool at_token = std::find(stops.begin(), stops.end(), tokens[i].back()) != stops.end();
      const char* ended_by = shown[i].stop.has_stopped() ? "stop_text" : at_token ? "stop_token" : "length";
      const auto length = static_cast<std::ptrdiff_t>(all_tokens[first + i].size());
      texts[i] += shown[i].finish();
      file.write(continuation_line(tokenizer_ ? std::optional(texts[i]) : std::nullopt,
                                   {tokens[i].begin() + length, tokens[i].end()}, ended_by));
    }
  }
  file.commit();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  base::log_info(concat(base::printable(output.string()), ": ", prompts.size(), " prompts continued with ", num_tokens,
                        " tokens, ", static_cast<int64_t>(static_cast<double>(num_tokens) / seconds.count()),
                        " tokens/s"));
}

}  // namespace rosa::launch
