// Writes described structs as text: the resolved configuration as YAML with the source of each value, and the
// reference document of all keys.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "launch/yaml_config.h"

namespace rosa::launch {

// YAML that reads back as exactly these values; the source of each stands behind it as a comment.
// A key that `sources` does not name gets no comment.
std::string dump_config(const Describe& describe, const ConfigSources& sources = {});

// The same of those keys alone whose values differ from `others` (flatten_config), each line indented by `depth` steps.
std::string dump_changes(const Describe& describe, const std::map<std::string, std::string>& others,
                         const ConfigSources& sources, std::size_t depth);

// Markdown: a table for each section with key, type, default, allowed values and meaning.
// `title` is its heading, `command` what writes it.
std::string reference_document(const Describe& describe, const std::string& title, const std::string& command);

// Every key with its value as YAML writes it; for comparing two configurations.
std::map<std::string, std::string> flatten_config(const Describe& describe);

}  // namespace rosa::launch
