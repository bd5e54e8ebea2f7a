// TextGeneration: continues prompts with a trained run, in text or in ids. What `rosa generate` does once everything is
// loaded; its options are checked by then.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/prompt_file.h"
#include "launch/sampling.h"
#include "launch/text_session.h"
#include "launch/token_text.h"
#include "launch/trained_run.h"
#include "models/continue_texts.h"

namespace rosa::launch {

struct TextGenerationOptions {
  std::string model = "rosa";  // rosa, window or teacher
  SamplingRequest sampling;
  models::Speculation speculation = models::Speculation::automatic;
  std::vector<std::string> stops;  // texts
  bool print_ids = false;
  bool is_chat = false;
  std::string system;             // of a conversation; empty: none
  std::filesystem::path session;  // empty: none
  int64_t batch = 8;              // texts of a file that are continued at once
};

class TextGeneration {
 public:
  // Keeps a reference to the run. `weights`: whose they are, in words. `needs_text`: text comes in or goes out. Throws
  // ConfigError where a tokenizer is needed and the model's folder has none.
  TextGeneration(const TrainedRun& run, TextGenerationOptions options, std::string weights, bool needs_text);
  ~TextGeneration();

  // Goes on with the session, or begins, and writes prompt and continuation to standard output.
  void continue_text(const std::string& text);
  // Empty: goes on with the session as it is.
  void continue_ids(const std::vector<int64_t>& ids);
  // One turn of a conversation; only the answer is written.
  void answer(const std::string& text);
  // Turns from standard input, a line each.
  void converse();
  // A line of `output` for each prompt, in their order; atomic.
  void continue_prompts(const std::vector<FilePrompt>& prompts, const std::filesystem::path& output);

 private:
  struct Shown;
  std::vector<int64_t> encode(const std::string& text) const;
  std::string shown_ids(const std::vector<int64_t>& ids) const;
  void go_on(const std::vector<int64_t>& ids, const std::string& shown_prompt);
  models::GenerateOptions choice_for(const std::vector<int64_t>& tokens, bool is_conversation);
  std::vector<std::string> stops_for(bool is_conversation) const;
  SessionOwner owner() const;

  const TrainedRun& run_;
  const TextGenerationOptions options_;
  const std::string weights_;
  std::unique_ptr<text::Tokenizer> tokenizer_;  // null: only ids
  std::optional<ChatFormat> chat_;
  std::optional<models::GenerationConfig> of_model_;
  models::ForwardOptions forward_;
  std::optional<TextSession> text_;  // what is gone on with
  TextOutput output_;
  bool has_told_sampling_ = false;
};

}  // namespace rosa::launch
