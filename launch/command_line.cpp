#include "launch/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/nearest_name.h"
#include "base/printable.h"
#include "launch/build_info.h"
#include "launch/command_tree.h"
#include "launch/exit_code.h"
#include "launch/key_names.h"

namespace rosa::launch {
namespace {

using base::concat;
using Words = std::vector<std::string>;
// What users call things, to what they are called here.
using Meanings = std::map<std::string, Words>;

constexpr std::size_t kMaxShownKeys = 3;

Meanings meanings(const std::vector<std::pair<Words, Words>>& table) {
  Meanings result;
  for (const auto& [names, others] : table) {
    for (const std::string& other : others) {
      result[other].insert(result[other].end(), names.begin(), names.end());
    }
  }
  return result;
}

const Meanings& command_meanings() {
  static const Meanings result = meanings({
      {{"train"},
       {"resume", "continue", "restart", "distil", "distill", "distillation", "finetune", "fine-tune", "tune", "fit",
        "learn", "run", "start", "launch", "training"}},
      {{"pretrain"}, {"scratch", "pretraining", "teacher"}},
      {{"eval"}, {"evaluate", "evaluation", "test", "score", "perplexity", "ppl", "measure"}},
      {{"eval", "config check"}, {"validate", "validation"}},
      {{"plan"}, {"estimate", "memory", "vram", "ram", "flops", "cost", "budget", "fit-memory", "calculator"}},
      {{"headroom"}, {"potential", "oracle", "upper-bound", "ceiling", "gap"}},
      {{"select"}, {"layers", "placement", "place", "allocate", "choose", "hybrid", "global-layers"}},
      {{"generate"},
       {"sample", "infer", "inference", "predict", "complete", "completion", "chat", "prompt", "generation"}},
      {{"export"}, {"huggingface", "hf", "transformers", "publish", "upload", "save_pretrained", "save"}},
      {{"tokenize"}, {"tokenise", "tokens", "encode", "decode"}},
      {{"data pack"}, {"prepare", "preprocess", "convert", "dataset"}},
      {{"checkpoint list"}, {"checkpoints", "ckpt", "ls"}},
      {{"verify-run"}, {"reproduce", "replay", "rerun", "audit"}},
      {{"checkpoint average"}, {"merge", "mean", "avg", "ema"}},
      {{"checkpoint show"}, {"inspect"}},
      {{"config check"}, {"lint"}},
      {{"config reference"}, {"keys", "options", "settings", "configuration"}},
      {{"experiment"}, {"compare", "experiments", "ablation", "benchmark", "bench", "sweep"}},
      {{"report"}, {"plot", "page", "html", "results", "tables"}},
      {{"doctor"}, {"info", "env", "diagnose", "system", "hardware"}},
      {{"--help"}, {"help", "usage", "man"}},
      {{"--version"}, {"version"}},
  });
  return result;
}

// The same below a subcommand.
const std::map<std::string, Meanings>& subcommand_meanings() {
  static const std::map<std::string, Meanings> result = {
      {"config", meanings({{{"check"}, {"validate", "lint", "verify", "test"}},
                           {{"dump"}, {"print", "show", "resolve", "cat", "get"}},
                           {{"reference"}, {"keys", "options", "list", "doc", "docs", "describe", "defaults"}}})},
      {"data", meanings({{{"pack"}, {"tokenize", "tokenise", "prepare", "preprocess", "build", "make", "convert"}},
                         {{"show"}, {"inspect", "info", "stats", "statistics", "print", "view", "head"}},
                         {{"verify"}, {"check", "validate", "checksum"}}})},
      {"checkpoint", meanings({{{"list"}, {"ls"}},
                               {{"verify"}, {"check", "validate", "test", "fsck"}},
                               {{"show"}, {"inspect", "info", "cat", "print", "dump"}},
                               {{"average"}, {"mean", "avg", "merge", "ema"}}})},
  };
  return result;
}

const Meanings& option_meanings() {
  static const Meanings result = meanings({
      {{"--checkpoint"}, {"ckpt", "step", "weights", "resume", "adapter", "load", "from_checkpoint"}},
      {{"--output"}, {"out", "output_file", "out_file", "save", "json", "html", "file", "to"}},
      {{"--max-new-tokens"},
       {"max_tokens", "max_length", "length", "num_tokens", "new_tokens", "tokens", "max_new", "n_predict", "count"}},
      {{"--prompt"}, {"text", "input", "p", "query", "message"}},
      {{"--prompt-file"}, {"input_file", "file", "f"}},
      {{"--ids"}, {"input_ids", "token_ids", "prompt_ids"}},
      {{"--temperature"}, {"temp", "t"}},
      {{"--top-k"}, {"k"}},
      {{"--top-p"}, {"p", "nucleus"}},
      {{"--dry-run"}, {"check", "test", "n_steps", "simulate", "try", "validate"}},
      {{"--trace"}, {"profile", "profiler", "timeline"}},
      {{"--set"}, {"override", "overrides", "option", "opt", "o", "key", "define", "d"}},
      {{"--accept-changed"}, {"allow_changed", "accept", "allow_changes", "ignore_changes"}},
      {{"--vocabulary-size"}, {"vocab_size", "vocab", "n_vocab"}},
      {{"--separator"}, {"sep", "delimiter", "document_separator"}},
      {{"--format"}, {"type", "input_format", "jsonl"}},
      {{"--markdown"}, {"md", "text", "table", "tables"}},
      {{"--folder"}, {"output", "out", "output_dir", "run_folder", "dir"}},
      {{"--variants"}, {"controls", "models", "variant", "model"}},
      {{"--print-ids"}, {"show_ids", "output_ids", "raw"}},
  });
  return result;
}

// Names of options that stand for a key, beside what usual_names() has.
const Meanings& key_meanings() {
  static const Meanings result = meanings({
      {{"model.folder"}, {"model", "base", "student_model"}},
      {{"data.train_path"}, {"data", "train", "input", "text", "train_path"}},
      {{"run.folder"}, {"run", "out", "name", "o", "save"}},
      {{"schedules.learning_rate.start"}, {"rate"}},
      {{"compute.device"}, {"cuda", "cpu"}},
      {{"checkpoint.resume"}, {"checkpoint", "ckpt"}},
  });
  return result;
}

// "max-new_Tokens" and "--max-new-tokens" are max_new_tokens.
std::string plain_name(const std::string& option) {
  std::string plain;
  const std::size_t first = std::min(option.find_first_not_of('-'), option.size());
  for (const char sign : option.substr(first, option.find('=') - first)) {
    plain += sign == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(sign)));
  }
  return plain;
}

bool is_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

// What a word that begins with a dash sets: --name, --name=value, -n, -nvalue.
const CLI::Option* find_option(const CLI::App& command, const std::string& word) {
  if (word.starts_with("--")) return command.get_option_no_throw(word.substr(0, word.find('=')));
  return command.get_option_no_throw(word.substr(0, 2));
}

std::string did_you_mean(const Words& names) {
  return names.empty() ? "" : concat("; did you mean ", joined(names, " or "), "?");
}

// The keys that exactly this name stands for.
Words keys_named(const std::string& name, const Words& keys) {
  const auto exists = [&keys](const std::string& key) {
    return std::find(keys.begin(), keys.end(), key) != keys.end();
  };
  if (exists(name)) return {name};
  for (const Meanings* table : {&usual_names(), &key_meanings()}) {
    if (const auto found = table->find(name); found != table->end()) {
      for (const std::string& key : found->second) {
        if (exists(key)) return {key};
      }
    }
  }
  Words found;
  for (const std::string& key : keys) {
    if (key.ends_with("." + name)) found.push_back(key);
  }
  return found.size() <= kMaxShownKeys ? found : Words{};
}

std::string set_hint(const Words& keys, const std::string& value) {
  Words options;
  for (const std::string& key : keys) options.push_back(concat("--set ", key, "=", value));
  return did_you_mean(options);
}

// What is given without an option's name: the configuration, the run.
std::string positional_hint(const CLI::App& command, const std::string& path, const std::string& name) {
  const Meanings names =
      meanings({{{"CONFIG", "FILE"}, {"config", "c", "f", "file", "yaml", "config_file", "configuration"}},
                {{"RUN", "PATH", "FOLDER"}, {"run", "run_folder", "folder", "r", "run_dir", "path"}},
                {{"INPUT"}, {"input", "inputs", "i", "files"}}});
  const auto found = names.find(name);
  if (found == names.end()) return "";
  for (const CLI::Option* option : options_of(command)) {
    if (option->get_positional() &&
        std::find(found->second.begin(), found->second.end(), option->get_name()) != found->second.end()) {
      return concat("; it stands without an option: ", path, " ", option->get_name());
    }
  }
  return "";
}

// What no option and no key is.
std::string habit_hint(const CLI::App& command, const std::string& path, const std::string& name) {
  const auto is_one_of = [&name](const Words& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const bool trains = has_option(command, "--dry-run");
  if (trains && is_one_of({"resume", "continue", "auto_resume", "restart"})) {
    return "; the same command goes on by itself, and --set checkpoint.resume=FOLDER takes another checkpoint";
  }
  if (is_one_of({"n", "np", "nproc", "nproc_per_node", "ranks", "num_ranks", "processes", "num_processes", "gpus",
                 "hosts", "nodes", "world_size", "num_gpus"})) {
    return concat("; ranks are started by launch/run_local.sh -n 2 ", path.substr(path.find(' ') + 1), " ...");
  }
  if (is_one_of({"version", "v"})) return did_you_mean({"rosa --version"});
  return "";
}

// Other subcommands that have an option of this name.
std::string elsewhere_hint(const CLI::App& program, const std::string& option) {
  Words commands;
  for (const auto& [path, command] : all_commands(program)) {
    if (has_option(*command, option)) commands.push_back("rosa " + path);
  }
  return commands.empty() ? "" : concat("; ", joined(commands, ", "), commands.size() == 1 ? " has it" : " have it");
}

std::string option_hint(const CLI::App& program, const CLI::App& command, const std::string& path,
                        const std::string& word) {
  const std::string name = plain_name(word);
  const Words own = option_names(command);
  const std::size_t equals = word.find('=');
  const std::string value = equals == std::string::npos ? "VALUE" : base::excerpt(word.substr(equals + 1));
  // Another number of dashes, or underscores.
  for (const std::string& option : own) {
    if (plain_name(option) == name) return did_you_mean({option});
  }
  if (const auto found = option_meanings().find(name); found != option_meanings().end()) {
    for (const std::string& option : found->second) {
      if (has_option(command, option)) return did_you_mean({option});
    }
  }
  if (const std::string hint = positional_hint(command, path, name); !hint.empty()) return hint;
  if (const std::string hint = habit_hint(command, path, name); !hint.empty()) return hint;
  const Words keys = has_option(command, "--set") ? keys_of(path.substr(path.find(' ') + 1)) : Words{};
  std::string option = "--" + name;
  std::replace(option.begin(), option.end(), '_', '-');
  if (const Words found = keys_named(name, keys); !found.empty()) {
    return set_hint(found, value) + elsewhere_hint(program, option);
  }
  if (const std::string nearest = base::nearest_name(option, own); !nearest.empty()) return did_you_mean({nearest});
  if (const std::string hint = elsewhere_hint(program, option); !hint.empty()) return hint;
  Words last_names;
  for (const std::string& key : keys) last_names.push_back(key.substr(key.rfind('.') + 1));
  for (const Words* names : std::initializer_list<const Words*>{&keys, &last_names}) {
    if (const std::string nearest = base::nearest_name(name, *names); !nearest.empty()) {
      return set_hint(keys_named(nearest, keys), value);
    }
  }
  return "";
}

std::string command_hint(const CLI::App& program, const CLI::App& command, const std::string& path,
                         const std::string& word) {
  const bool is_top = &command == &program;
  const auto below = subcommand_meanings().find(command.get_name());
  if (below != subcommand_meanings().end() && !is_top) {
    if (const auto found = below->second.find(word); found != below->second.end()) {
      return did_you_mean({path + " " + found->second.front()});
    }
  }
  if (const std::string nearest = base::nearest_name(word, names_of(subcommands(command))); !nearest.empty()) {
    return did_you_mean({path + " " + nearest});
  }
  Words meant;
  if (const auto found = command_meanings().find(word); found != command_meanings().end()) {
    for (const std::string& name : found->second) meant.push_back("rosa " + name);
    return did_you_mean(meant);
  }
  // A subcommand that stands elsewhere: "rosa pack".
  Words last_names;
  for (const auto& [full, sub] : all_commands(program)) {
    if (sub->get_name() == word) meant.push_back("rosa " + full);
    last_names.push_back(sub->get_name());
  }
  if (meant.empty()) {
    const std::string nearest = base::nearest_name(word, last_names);
    for (const auto& [full, sub] : all_commands(program)) {
      if (sub->get_name() == nearest) meant.push_back("rosa " + full);
    }
  }
  if (!meant.empty()) return did_you_mean(meant);
  if (!is_top) return "";
  if (word.ends_with(".yaml") || word.ends_with(".yml")) return did_you_mean({"rosa train " + base::excerpt(word)});
  std::error_code error;
  if (std::filesystem::is_directory(word, error)) return did_you_mean({"rosa eval " + base::excerpt(word)});
  return "";
}

// The words after an option that are its values.
std::size_t num_values(const CLI::Option& option, const Words& arguments, std::size_t first) {
  if (arguments[first - 1].find('=') != std::string::npos && arguments[first - 1].starts_with("--")) return 0;
  const auto least = static_cast<std::size_t>(std::max(0, option.get_items_expected_min()));
  if (option.get_items_expected_max() <= option.get_items_expected_min() || !option.get_allow_extra_args())
    return least;
  std::size_t count = 0;
  while (first + count < arguments.size() && !is_option(arguments[first + count])) ++count;
  return std::max(count, least);
}

int max_positionals(const CLI::App& command) {
  int count = 0;
  for (const CLI::Option* option : options_of(command)) {
    if (option->get_positional())
      count = std::min(1 << 20, count + std::min(1 << 20, option->get_items_expected_max()));
  }
  return count;
}

std::string extra_word_hint(const CLI::App& command, const std::string& path, const std::string& word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string::npos || !has_option(command, "--set")) return "";
  const Words found = keys_named(plain_name(word), keys_of(path.substr(path.find(' ') + 1)));
  return set_hint(found, base::excerpt(word.substr(equals + 1)));
}

}  // namespace

std::unique_ptr<CLI::App> make_program(Action& action) {
  auto program = std::make_unique<CLI::App>("Distils and trains language models augmented with ROSA.", "rosa");
  program->footer(
      concat("rosa SUBCOMMAND --help explains one. A run from its check to its text:\n"
             "  rosa config check run.yaml\n"
             "  rosa plan run.yaml\n"
             "  rosa train run.yaml --dry-run\n"
             "  rosa train run.yaml\n"
             "  rosa eval runs/mine\n"
             "  rosa generate runs/mine --prompt Once\n\n",
             exit_code_help()));
  program->set_version_flag("--version", kBuildVersion);
  program->require_subcommand(1);
  program->get_formatter()->column_width(32);
  add_demo_command(*program, action);
  add_train_command(*program, action);
  add_pretrain_command(*program, action);
  add_eval_command(*program, action);
  add_plan_command(*program, action);
  add_headroom_command(*program, action);
  add_select_command(*program, action);
  add_generate_command(*program, action);
  add_export_command(*program, action);
  add_checkpoint_command(*program, action);
  add_verify_run_command(*program, action);
  add_data_command(*program, action);
  add_tokenize_command(*program, action);
  add_experiment_command(*program, action);
  add_metrics_command(*program, action);
  add_report_command(*program, action);
  add_config_command(*program, action);
  add_doctor_command(*program, action);
  add_shell_commands(*program, action);
  return program;
}

namespace {

// CLI11 says "--set: 1 required KEY=VALUE missing" where nothing follows an option.
std::string with_missing_value_explained(const std::string& reason) {
  constexpr std::string_view kBegin = ": 1 required ", kEnd = " missing";
  const std::size_t begin = reason.find(kBegin);
  if (begin == std::string::npos || !reason.ends_with(kEnd)) return reason;
  const std::string option = reason.substr(0, begin);
  const std::string value = reason.substr(begin + kBegin.size(), reason.size() - begin - kBegin.size() - kEnd.size());
  return concat(option, " needs ", value, " after it, but the line ends there",
                option == "--set" ? ", for instance --set train.num_steps=10" : "");
}

}  // namespace

std::string explain_usage_error(const CLI::App& program, const Words& arguments, const std::string& reason) {
  const CLI::App* command = &program;
  std::string path = "rosa";
  int num_positionals = 0;
  for (std::size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string& word = arguments[i];
    const std::string shown = base::excerpt(word);
    if (is_option(word)) {
      const CLI::Option* option = find_option(*command, word);
      if (option == nullptr) {
        return concat(path, ": there is no option ", shown, option_hint(program, *command, path, word), " (", path,
                      " --help lists the options)");
      }
      i += num_values(*option, arguments, i + 1);
      continue;
    }
    const std::vector<const CLI::App*> below = subcommands(*command);
    const auto found = std::find_if(below.begin(), below.end(), [&](auto* sub) { return sub->get_name() == word; });
    if (found != below.end()) {
      command = *found;
      path += " " + word;
    } else if (!below.empty()) {
      return concat(path, ": there is no subcommand ", shown, command_hint(program, *command, path, word), " (", path,
                    " --help lists the subcommands)");
    } else if (++num_positionals > max_positionals(*command)) {
      return concat(path, ": '", shown, "' is one argument too many", extra_word_hint(*command, path, word), " (", path,
                    " --help shows what it takes)");
    }
  }
  if (const auto below = subcommands(*command); !below.empty()) {
    return concat(path, ": name a subcommand: ", joined(names_of(below), ", "), " (", path, " --help explains them)");
  }
  return concat(path, ": ", base::printable(with_missing_value_explained(reason)), " (", path,
                " --help shows what it takes)");
}

}  // namespace rosa::launch
