// The values of a described configuration (base/fields.h) as texts by key, picked by the roles of their fields.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/fields.h"

namespace rosa::training {

// Of every field that has one of `roles`: its full key and its value, numbers in the fewest digits that read back as
// the same. `describe` is a struct's own, bound to the struct.
std::map<std::string, std::string> field_values(const std::function<void(base::FieldVisitor&)>& describe,
                                                const std::set<base::Role>& roles);

}  // namespace rosa::training
