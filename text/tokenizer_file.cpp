#include "text/tokenizer_file.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"

namespace rosa::text {
namespace {

using base::concat;
using base::DataError;
using base::JsonFields;
using base::require;
using nlohmann::json;

constexpr int64_t kMaxFileBytes = int64_t{128} << 20;
constexpr int64_t kMaxId = (int64_t{1} << 24) - 1;
constexpr size_t kMaxTokenBytes = 1 << 16;

// GPT-2's expression, which "use_regex" stands for.
constexpr const char* kByteLevelExpression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The parts of a file that decide what it does, in one order.
class Meaning {
 public:
  void add(std::string_view text) {
    add(static_cast<int64_t>(text.size()));
    stream_.update(std::as_bytes(std::span(text)));
  }
  void add(int64_t number) { stream_.update(std::as_bytes(std::span(&number, 1))); }
  uint64_t value() const { return stream_.value(); }

 private:
  base::ChecksumStream stream_;
};

void refuse_other_keys(const JsonFields& fields, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : fields.value().items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) fields.fail(key, "is not implemented");
  }
}

// Refuses a key that is there with another value than null.
void require_null(const JsonFields& fields, const char* key, const char* what) {
  if (fields.has(key)) fields.fail(key, what);
}

[[noreturn]] void refuse_type(const JsonFields& fields, const std::string& type, const char* known) {
  fields.fail("type", concat("is '", base::excerpt(type), "', which is not implemented; what is: ", known));
}

// Calls `use` with a piece, or with all pieces of a Sequence, which `list` names.
template <class Use>
void for_each_piece(const JsonFields& piece, const char* list, const Use& use) {
  if (piece.required_text("type") != "Sequence") return use(piece);
  refuse_other_keys(piece, {"type", list});
  if (!piece.has(list)) piece.fail(list, "is missing");
  for (const JsonFields& inner : piece.objects(list)) for_each_piece(inner, list, use);
}

class Reader {
 public:
  explicit Reader(const JsonFields& root) : root_(root) {}

  TokenizerFile read() {
    refuse_other_keys(root_, {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                              "post_processor", "decoder", "model"});
    if (const auto version = root_.text("version"); version && *version != "1.0") {
      root_.fail("version", concat("is '", base::excerpt(*version), "', expected '1.0'"));
    }
    require_null(root_, "truncation", "would shorten every text; set it to null");
    require_null(root_, "padding", "would lengthen every text; set it to null");
    normalizer();
    pre_tokenizer();
    model();
    added_tokens();
    post_processor();
    decoder();
    file_.fingerprint = meaning_.value();
    return std::move(file_);
  }

 private:
  void normalizer() {
    const auto field = root_.object("normalizer");
    if (!field) return;
    for_each_piece(*field, "normalizers", [&](const JsonFields& piece) {
      static const std::map<std::string, NormalForm> forms = {
          {"NFC", NormalForm::nfc}, {"NFD", NormalForm::nfd}, {"NFKC", NormalForm::nfkc}, {"NFKD", NormalForm::nfkd}};
      const std::string type = piece.required_text("type");
      const auto form = forms.find(type);
      if (form == forms.end()) refuse_type(piece, type, "NFC, NFD, NFKC, NFKD, Sequence");
      refuse_other_keys(piece, {"type"});
      file_.normal_forms.push_back(form->second);
      meaning_.add(type);
    });
  }

  void pre_tokenizer() {
    const auto field = root_.object("pre_tokenizer");
    if (!field) root_.fail("pre_tokenizer", "is missing: only byte-level tokenizers are implemented");
    bool has_byte_level = false;
    for_each_piece(*field, "pretokenizers", [&](const JsonFields& piece) {
      const std::string type = piece.required_text("type");
      if (has_byte_level)
        piece.fail("type", concat("is '", base::excerpt(type), "' behind ByteLevel: not implemented"));
      if (type == "Split") {
        split(piece);
      } else if (type == "Digits") {
        refuse_other_keys(piece, {"type", "individual_digits"});
        const bool individual = piece.boolean("individual_digits").value_or(false);
        add_split("\\p{N}", piece.place(), individual ? SplitBehavior::isolated : SplitBehavior::contiguous, false);
      } else if (type == "ByteLevel") {
        refuse_other_keys(piece, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
        has_byte_level = true;
        if (piece.boolean("add_prefix_space").value_or(true)) {
          file_.steps.push_back(PreTokenizerStep::prefix_space());
          meaning_.add("prefix space");
        }
        if (piece.boolean("use_regex").value_or(true)) {
          add_split(kByteLevelExpression, piece.place(), SplitBehavior::isolated, false);
        }
      } else {
        refuse_type(piece, type, "Split, ByteLevel, Digits, Sequence");
      }
    });
    if (!has_byte_level) field->fail("type", "has no ByteLevel: only byte-level tokenizers are implemented");
  }

  void split(const JsonFields& piece) {
    static const std::map<std::string, SplitBehavior> behaviors = {
        {"Isolated", SplitBehavior::isolated},
        {"Removed", SplitBehavior::removed},
        {"MergedWithPrevious", SplitBehavior::merged_with_previous},
        {"MergedWithNext", SplitBehavior::merged_with_next},
        {"Contiguous", SplitBehavior::contiguous}};
    refuse_other_keys(piece, {"type", "pattern", "behavior", "invert"});
    const std::string behavior = piece.required_text("behavior");
    const auto found = behaviors.find(behavior);
    if (found == behaviors.end()) {
      piece.fail("behavior", concat("is '", base::excerpt(behavior), "', which is not implemented; what is: Isolated, ",
                                    "Removed, MergedWithPrevious, MergedWithNext, Contiguous"));
    }
    const bool inverted = piece.boolean("invert").value_or(false);
    const JsonFields pattern = piece.required_object("pattern");
    refuse_other_keys(pattern, {"Regex", "String"});
    const auto expression = pattern.text("Regex"), text = pattern.text("String");
    if (expression.has_value() == text.has_value()) piece.fail("pattern", "has not one of Regex and String");
    if (expression) return add_split(*expression, pattern.place(), found->second, inverted);
    if (text->empty()) pattern.fail("String", "is empty");
    meaning_.add("literal");
    meaning_.add(*text);
    add_step(Pattern::literal(*text, pattern.place()), found->second, inverted);
  }

  void add_split(const std::string& expression, const std::string& place, SplitBehavior behavior, bool inverted) {
    meaning_.add("expression");
    meaning_.add(expression);
    add_step(Pattern(expression, place), behavior, inverted);
  }

  void add_step(Pattern pattern, SplitBehavior behavior, bool inverted) {
    meaning_.add(static_cast<int64_t>(behavior));
    meaning_.add(inverted ? 1 : 0);
    file_.steps.push_back(PreTokenizerStep::split(std::move(pattern), behavior, inverted));
  }

  void model() {
    const JsonFields model = root_.required_object("model");
    const std::string type = model.text("type").value_or("BPE");
    if (type != "BPE") refuse_type(model, type, "BPE");
    refuse_other_keys(model, {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                              "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
    if (model.number("dropout").value_or(0.0) != 0.0) model.fail("dropout", "is not 0: not implemented");
    if (model.boolean("byte_fallback").value_or(false)) model.fail("byte_fallback", "is true: not implemented");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!model.text(key).value_or("").empty()) model.fail(key, "is not empty: not implemented");
    }
    file_.bpe.ignore_merges = model.boolean("ignore_merges").value_or(false);
    file_.bpe.fuse_unknown = model.boolean("fuse_unk").value_or(false);
    vocabulary(model.required_object("vocab"));
    if (const auto unknown = model.text("unk_token")) file_.bpe.unknown = id_of(model, "unk_token", *unknown);
    merges(model);
    meaning_.add(file_.bpe.ignore_merges ? 1 : 0);
    meaning_.add(file_.bpe.fuse_unknown ? 1 : 0);
    meaning_.add(file_.bpe.unknown);
  }

  void vocabulary(const JsonFields& vocabulary) {
    const json& tokens = vocabulary.value();
    if (tokens.empty()) vocabulary.fail("", "is empty");
    std::vector<bool> taken;
    file_.vocabulary.reserve(tokens.size());
    for (const auto& [token, value] : tokens.items()) {  // sorted by token: the order in the file does not count
      const bool is_id = value.is_number_integer() && value >= 0 && value <= kMaxId;
      if (!is_id) vocabulary.fail(token, concat("has no id from 0 to ", kMaxId));
      if (token.size() > kMaxTokenBytes) vocabulary.fail(token, concat("is longer than ", kMaxTokenBytes, " bytes"));
      const auto id = value.get<size_t>();
      if (id >= taken.size()) taken.resize(id + 1, false);
      if (taken[id]) vocabulary.fail(token, concat("has the id ", id, ", which another token has too"));
      taken[id] = true;
      file_.vocabulary.emplace(token, static_cast<int32_t>(id));
      meaning_.add(token);
      meaning_.add(static_cast<int64_t>(id));
    }
  }

  int32_t id_of(const JsonFields& fields, const std::string& key, const std::string& token) const {
    const auto found = file_.vocabulary.find(token);
    if (found == file_.vocabulary.end()) {
      fields.fail(key, concat("names '", base::excerpt(token), "', which is not in the vocabulary"));
    }
    return found->second;
  }

  // "a b" or ["a", "b"].
  void merges(const JsonFields& model) {
    const json* list = model.has("merges") ? &model.value().at("merges") : nullptr;
    if (list == nullptr || !list->is_array()) model.fail("merges", "is no list");
    for (size_t i = 0; i < list->size(); ++i) {
      const json& merge = (*list)[i];
      const std::string key = concat("merges ", i + 1);
      std::string left, right;
      if (merge.is_string()) {
        const std::string& text = merge.get_ref<const std::string&>();
        const size_t space = text.find(' ');
        if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
          model.fail(key, concat("is '", base::excerpt(text), "', expected two tokens and a space between them"));
        }
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      } else {
        model.fail(key, "is no pair of tokens");
      }
      if (left.empty() || right.empty()) model.fail(key, "joins an empty token");
      const BpeMerge ids = {id_of(model, key, left), id_of(model, key, right), id_of(model, key, left + right)};
      file_.bpe.merges.push_back(ids);
      meaning_.add(ids.left);
      meaning_.add(ids.right);
    }
  }

  void added_tokens() {
    int64_t greatest_added = -1;
    const auto size = static_cast<int64_t>(file_.vocabulary.size());
    std::map<std::string, size_t> known;
    std::map<std::string, std::string> normalized;
    const Normalizer normalizer(file_.normal_forms);
    for (const JsonFields& fields : root_.objects("added_tokens")) {
      refuse_other_keys(fields, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
      AddedToken token;
      token.id = fields.required_integer("id", 0, kMaxId);
      token.content = fields.required_text("content");
      token.special = fields.boolean("special").value_or(false);
      token.single_word = fields.boolean("single_word").value_or(false);
      token.lstrip = fields.boolean("lstrip").value_or(false);
      token.rstrip = fields.boolean("rstrip").value_or(false);
      token.normalized = fields.boolean("normalized").value_or(!token.special);
      if (token.content.empty()) fields.fail("content", "is empty");
      if (token.content.size() > kMaxTokenBytes) fields.fail("content", concat("is longer than ", kMaxTokenBytes));
      if (!known.emplace(token.content, 0).second) fields.fail("content", "is the content of another added token too");
      if (token.normalized) {
        std::string buffer;
        const auto [other, is_new] = normalized.emplace(normalizer(token.content, buffer), token.content);
        if (!is_new) {
          fields.fail("content", concat("is the text of '", base::excerpt(other->second),
                                        "' once it is normalised: the reference takes one of them by chance"));
        }
      }
      // The reference numbers them itself; where it would do so otherwise the file means something else than it says.
      const auto in_vocabulary = file_.vocabulary.find(token.content);
      const int64_t expected =
          in_vocabulary != file_.vocabulary.end() ? in_vocabulary->second : std::max(size, greatest_added + 1);
      if (token.id != expected) {
        fields.fail("id",
                    concat("is ", token.id, ", expected ", expected, ": that of the vocabulary, else the next one"));
      }
      greatest_added = std::max(greatest_added, token.id);
      for (const bool flag : {token.special, token.single_word, token.lstrip, token.rstrip, token.normalized}) {
        meaning_.add(flag ? 1 : 0);
      }
      meaning_.add(token.id);
      meaning_.add(token.content);
      file_.added_tokens.push_back(std::move(token));
    }
  }

  void post_processor() {
    const auto field = root_.object("post_processor");
    if (!field) return;
    bool has_template = false;
    for_each_piece(*field, "processors", [&](const JsonFields& piece) {
      const std::string type = piece.required_text("type");
      if (type == "ByteLevel") {
        refuse_other_keys(piece, {"type", "add_prefix_space", "trim_offsets", "use_regex"});  // about offsets alone
      } else if (type == "TemplateProcessing") {
        if (has_template)
          piece.fail("type", "is a second TemplateProcessing: not implemented, nor is it in the reference");
        has_template = true;
        surround(piece);
      } else {
        refuse_type(piece, type, "ByteLevel, TemplateProcessing, Sequence");
      }
    });
    for (const int64_t id : file_.ids_before) meaning_.add(id);
    meaning_.add("text");
    for (const int64_t id : file_.ids_after) meaning_.add(id);
  }

  void surround(const JsonFields& piece) {
    refuse_other_keys(piece, {"type", "single", "pair", "special_tokens"});
    std::vector<int64_t> before, after;
    bool has_text = false;
    for (const JsonFields& element : piece.objects("single")) {
      refuse_other_keys(element, {"SpecialToken", "Sequence"});
      if (const auto sequence = element.object("Sequence")) {
        if (has_text || sequence->required_text("id") != "A") element.fail("Sequence", "is not A, once");
        has_text = true;
        continue;
      }
      const std::string name = element.required_object("SpecialToken").required_text("id");
      const JsonFields token = piece.required_object("special_tokens").required_object(name.c_str());
      std::vector<int64_t>& side = has_text ? after : before;
      for (const int64_t id : token.required_integers("ids")) {
        if (id < 0 || id > kMaxId) token.fail("ids", concat("holds ", id, ", which is no id"));
        side.push_back(id);
      }
    }
    if (!has_text) piece.fail("single", "has no Sequence A: the text itself");
    file_.ids_before = std::move(before);
    file_.ids_after = std::move(after);
  }

  void decoder() {
    const auto field = root_.object("decoder");
    if (!field) root_.fail("decoder", "is missing: only ByteLevel is implemented");
    int num_pieces = 0;
    for_each_piece(*field, "decoders", [&](const JsonFields& piece) {
      const std::string type = piece.required_text("type");
      if (type != "ByteLevel" || num_pieces++ > 0) refuse_type(piece, type, "one ByteLevel, Sequence");
      refuse_other_keys(piece, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    });
    if (num_pieces == 0) root_.fail("decoder", "is empty: only ByteLevel is implemented");
  }

  const JsonFields& root_;
  TokenizerFile file_;
  Meaning meaning_;
};

}  // namespace

TokenizerFile read_tokenizer_file(const std::filesystem::path& path) {
  const json text = base::read_json(path, kMaxFileBytes);
  return Reader(JsonFields(text, path.string())).read();
}

}  // namespace rosa::text
