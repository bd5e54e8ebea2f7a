#include "training/field_values.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/printable.h"

namespace rosa::training {
namespace {

using base::concat;
using base::Range;
using base::Role;

// Every field of a described struct as text, by full key; `roles` tells which of them are kept.
class FieldTexts : public base::FieldVisitor {
 public:
  explicit FieldTexts(std::set<Role> roles) : roles_(std::move(roles)) {}

  void field(std::string_view name, bool& value, Role role, std::string_view) override { add(name, role, value); }
  void field(std::string_view name, int64_t& value, Role role, std::string_view, Range<int64_t>) override {
    add(name, role, value);
  }
  void field(std::string_view name, double& value, Role role, std::string_view, Range<double>) override {
    add(name, role, value);
  }
  void field(std::string_view name, std::string& value, Role role, std::string_view,
             const std::vector<std::string>&) override {
    add(name, role, value);
  }
  void field(std::string_view name, std::vector<int64_t>& value, Role role, std::string_view, Range<int64_t>) override {
    add(name, role, value);
  }
  void field(std::string_view name, std::vector<double>& value, Role role, std::string_view, Range<double>) override {
    add(name, role, value);
  }
  void field(std::string_view name, std::vector<std::string>& value, Role role, std::string_view) override {
    add(name, role, value);
  }
  // A list is one text, "[{weight=3 name="web"} {weight=1 name="code"}]": another length is another value.
  size_t begin_list(std::string_view name, size_t size, Role role, std::string_view) override {
    list_ = List{prefix_ + std::string(name), roles_.contains(role), "["};
    return size;
  }
  void end_list() override {
    if (list_->is_kept) values[list_->name] = list_->text + "]";
    list_.reset();
  }
  void begin_section(std::string_view name, std::string_view) override {
    prefix_ += concat(name, ".");
    if (list_) list_->text += list_->text == "[" ? "{" : " {";
  }
  void end_section() override {
    prefix_.erase(prefix_.rfind('.', prefix_.size() - 2) + 1);
    if (list_) list_->text += "}";
  }

  std::map<std::string, std::string> values;

 private:
  template <class Value>
  void add(std::string_view name, Role role, const Value& value) {
    if (!roles_.contains(role)) return;
    if (list_) {
      const char* gap = list_->text.back() == '{' ? "" : " ";
      list_->text +=
          concat(gap, name, "=", nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else if constexpr (std::is_same_v<Value, std::string>) {
      values[prefix_ + std::string(name)] = base::as_utf8(value);
    } else {  // numbers in the fewest digits that read back as the same
      values[prefix_ + std::string(name)] =
          nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
  }

  struct List {
    std::string name;
    bool is_kept = false;
    std::string text;
  };

  std::set<Role> roles_;
  std::string prefix_;
  std::optional<List> list_;  // while its entries are visited
};

}  // namespace

std::map<std::string, std::string> field_values(const std::function<void(base::FieldVisitor&)>& describe,
                                                const std::set<base::Role>& roles) {
  FieldTexts texts(roles);
  describe(texts);
  return std::move(texts.values);
}

}  // namespace rosa::training
