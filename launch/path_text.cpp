#include "launch/path_text.h"

#include <pwd.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>

#include "base/error.h"
#include "base/printable.h"

namespace rosa::launch {
namespace {

using base::concat;

constexpr std::string_view kEscaped = "$~\\";

bool is_name_sign(char sign) { return std::isalnum(static_cast<unsigned char>(sign)) != 0 || sign == '_'; }

// The home folder of a user; "": of whoever runs this. Empty where there is none.
std::string home_of(const std::string& user) {
  const char* home = user.empty() ? std::getenv("HOME") : nullptr;
  if (home != nullptr && *home != '\0') return home;
  const passwd* entry = user.empty() ? getpwuid(getuid()) : getpwnam(user.c_str());
  return entry == nullptr ? "" : entry->pw_dir;
}

// Takes "$NAME" or "${NAME}" off the front of `text` and adds its value to `path`.
std::string expand_variable(std::string_view& text, std::string& path) {
  const bool has_braces = text.size() > 1 && text[1] == '{';
  const std::size_t begin = has_braces ? 2 : 1;
  std::size_t end = begin;
  while (end < text.size() && is_name_sign(text[end])) ++end;
  const std::string name(text.substr(begin, end - begin));
  const bool is_closed = !has_braces || (end < text.size() && text[end] == '}');
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name.front())) != 0 || !is_closed) {
    return concat("'", base::excerpt(text), "': after $ a name of the environment is expected, as in $HOME or ${HOME}",
                  " (write \\$ for a $ in a name)");
  }
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == '\0') {
    return concat("$", name, value == nullptr ? " is not set" : " is empty", " in the environment",
                  " (write \\$ for a $ in a name)");
  }
  path += value;
  text.remove_prefix(has_braces ? end + 1 : end);
  return "";
}

}  // namespace

std::string expand_path(std::string_view text, std::string& path) {
  std::string result;
  if (text.starts_with('~')) {
    const std::string user(text.substr(1, text.find('/') == std::string_view::npos ? text.npos : text.find('/') - 1));
    result = home_of(user);
    if (result.empty()) {
      return concat("~", base::excerpt(user), ": there is no such user (write ./~ for a file of that name)");
    }
    text.remove_prefix(1 + user.size());
  }
  while (!text.empty()) {
    if (text.front() == '$') {
      const std::string wrong = expand_variable(text, result);
      if (!wrong.empty()) return wrong;
      continue;
    }
    const bool is_escape = text.front() == '\\' && text.size() > 1 && kEscaped.find(text[1]) != std::string_view::npos;
    if (is_escape) text.remove_prefix(1);
    result += text.front();
    text.remove_prefix(1);
  }
  path = result;
  return "";
}

std::string path_text(std::string_view path) {
  std::string text;
  for (const char sign : path) {
    const bool is_special = sign == '$' || sign == '\\' || (sign == '~' && text.empty());
    if (is_special) text += '\\';
    text += sign;
  }
  return text;
}

}  // namespace rosa::launch
