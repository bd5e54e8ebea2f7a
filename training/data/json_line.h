// What a line of JSON gives to pack: a text, token ids or a conversation. Errors are DataErrors that begin with the
// column ("column 7: ..."); whoever knows the file and the line puts them before.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rosa::training {

// One turn of a conversation.
struct ChatMessage {
  std::string role;     // system, user or assistant
  std::string content;  // as it was written
  bool counts = false;  // the loss is taken of its content
};

// A line as UTF-8 that is JSON's: what is no UTF-8 and half a surrogate pair ("\ud800") becomes U+FFFD. Returns how
// many there were; `text` is left alone where there is none.
int64_t replace_invalid(std::string& text);

// The text of the first of `fields` that the line's object has; "a.b" is b of the object a. Empty for null.
std::string text_of_line(std::string_view line, const std::vector<std::string>& fields);

// Token ids: [1, 2, ...], or an object with such an array as "input_ids". Every id is below 2^32.
std::vector<int64_t> ids_of_line(std::string_view line);

// Keys that change what a conversation means, and that ChatML as it is written here has no place for.
inline constexpr std::array kRefusedChatKeys = {
    "tools", "functions", "tool_calls", "tool_call_id", "function_call",     "images",   "image",
    "audio", "image_url", "videos",     "video",        "reasoning_content", "documents"};

// {"messages": [{"role": ..., "content": ...}, ...]}. A content is a text, or a list of parts {"type": "text"}. Tools,
// images and whatever else would be lost are refused by name.
std::vector<ChatMessage> messages_of_line(std::string_view line);

// Whether `line` is an object that has one of `fields` with a text: what a text file hardly begins with.
bool looks_like_text_line(std::string_view line, const std::vector<std::string>& fields);
// "[1, 2" or {... "input_ids": ...
bool looks_like_ids(std::string_view line);

}  // namespace rosa::training
