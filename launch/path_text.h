// Paths as configurations write them: ~ and $NAME stand for what a shell would put there.
#pragma once

#include <string>
#include <string_view>

namespace rosa::launch {

// Replaces ~ and ~USER at the beginning and $NAME and ${NAME} anywhere; \$, \~ and \\ stand for the sign itself, quotes
// in YAML change nothing. Returns an empty text and sets `path`, or returns what is wrong: a variable that is not set
// or empty, a user that does not exist, or a form that is not known.
std::string expand_path(std::string_view text, std::string& path);

// What expand_path turns back into `path`.
std::string path_text(std::string_view path);

}  // namespace rosa::launch
