#include "launch/prompt_file.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/printable.h"

namespace rosa::launch {
namespace {

using base::concat;
using base::DataError;
using base::require;

constexpr int64_t kMaxBytes = int64_t{1} << 32;
constexpr int64_t kMaxId = int64_t{1} << 40;

std::vector<ChatMessage> read_messages(const base::BasicJsonFields<nlohmann::json>& fields) {
  std::vector<ChatMessage> messages;
  for (const auto& each : fields.objects("messages")) {
    for (const char* key : {"tool_calls", "tool_call_id"}) {
      if (each.has(key)) each.fail(key, "is not implemented: messages are texts");
    }
    ChatMessage message{each.required_text("role"), each.required_text("content")};
    static const std::set<std::string> roles = {"system", "user", "assistant"};
    if (!roles.contains(message.role)) {
      each.fail("role", concat("is \"", base::printable(message.role), "\", expected system, user or assistant"));
    }
    messages.push_back(std::move(message));
  }
  if (messages.empty()) fields.fail("messages", "holds none");
  if (messages.back().role == "assistant") fields.fail("messages", "ends with the assistant: what is to be answered?");
  return messages;
}

FilePrompt read_prompt(const std::string& line, const std::string& place) {
  const auto json = base::parse_json<DataError>(line, place);
  const base::JsonFields fields(json, place);
  static const std::set<std::string> known = {"prompt", "ids", "messages", "max_new_tokens", "seed"};
  for (const auto& [key, value] : json.items()) {
    require<DataError>(known.contains(key), place, ": '", base::excerpt(key),
                       "' is unknown; expected prompt, ids or messages, and perhaps max_new_tokens and seed");
  }
  const int num_given = static_cast<int>(fields.has("prompt")) + static_cast<int>(fields.has("ids")) +
                        static_cast<int>(fields.has("messages"));
  require<DataError>(num_given == 1, place, ": expected one of prompt, ids and messages, got ", num_given);
  FilePrompt prompt;
  prompt.place = place;
  prompt.max_new_tokens = fields.integer("max_new_tokens", 1, kMaxId);
  prompt.seed = fields.integer("seed", 0);
  if (fields.has("messages")) {
    prompt.messages = read_messages(fields);
  } else if (fields.has("ids")) {
    prompt.ids = fields.integers("ids");
    if (prompt.ids.empty()) fields.fail("ids", "is empty; generation goes on from at least one token");
  } else {
    prompt.text = fields.required_text("prompt");
    if (prompt.text->empty()) fields.fail("prompt", "is empty; generation goes on from at least one token");
  }
  return prompt;
}

}  // namespace

std::vector<FilePrompt> read_prompts(const std::filesystem::path& path) {
  const std::string content = base::read_file(path, kMaxBytes, base::FileKind::any);
  const std::string name = base::printable(path.string());
  std::vector<FilePrompt> prompts;
  int64_t number = 0;
  for (size_t first = 0; first < content.size(); ++number) {
    const size_t end = std::min(content.find('\n', first), content.size());
    const std::string line = content.substr(first, end - first);
    first = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    prompts.push_back(read_prompt(line, concat(name, ":", number + 1)));
  }
  require<DataError>(!prompts.empty(), name, " holds no prompt; expected lines as {\"prompt\": \"Once\"}");
  return prompts;
}

std::string continuation_line(const std::optional<std::string>& text, const std::vector<int64_t>& ids,
                              const std::string& ended_by) {
  nlohmann::ordered_json json;
  json["text"] = text ? nlohmann::ordered_json(*text) : nlohmann::ordered_json();
  json["ids"] = ids;
  json["ended_by"] = ended_by;
  return json.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace rosa::launch
