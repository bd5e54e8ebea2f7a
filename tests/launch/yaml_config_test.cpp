// The strict YAML reader: every slip is reported, all at once, with file, line, key, expectation and nearest name.
#include "launch/yaml_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "base/all_count.h"
#include "base/error.h"
#include "launch/config_text.h"

namespace rosa::launch {

using base::Role;

enum class Colour { red, dark_blue };

struct Inner {
  int64_t bits = 8;
  double tau = 1.0;
  Colour colour = Colour::red;
  std::vector<int64_t> layers;
};

struct Deep {
  bool on = false;
};

struct Counted {
  int64_t sequences = 64;
};
void describe(base::FieldVisitor& visitor, Counted& config) {
  visitor.field("sequences", config.sequences, Role::recipe, "Sequences.", {base::kAll, 100});
}

struct Outer {
  int64_t steps = 100;
  double learning_rate = 5e-5;
  bool fast = true;
  std::string name = "run";
  std::vector<double> weights = {0.5, 1};
  std::vector<std::string> files;
  std::string folder;
  Inner adapter;
  Deep deep;
};

void describe(base::FieldVisitor& visitor, Inner& config) {
  visitor.field("bits", config.bits, Role::recipe, "Bits of a symbol.", {1, 8});
  visitor.field("tau", config.tau, Role::recipe, "Temperature.", {0.0, 100.0});
  visitor.choice("colour", config.colour, Role::recipe, {{"red", Colour::red}, {"dark_blue", Colour::dark_blue}},
                 "A | colour.");
  visitor.field("layers", config.layers, Role::recipe, "Layers.", {0, 1000});
}

void describe(base::FieldVisitor& visitor, Deep& config) { visitor.field("on", config.on, Role::recipe, "Whether."); }

void describe(base::FieldVisitor& visitor, Outer& config) {
  visitor.field("steps", config.steps, Role::recipe, "Steps.", {0, std::numeric_limits<int64_t>::max()});
  visitor.field("learning_rate", config.learning_rate, Role::recipe, "Rate.");
  visitor.field("fast", config.fast, Role::recipe, "Fast.");
  visitor.field("name", config.name, Role::recipe, "Name.");
  visitor.field("weights", config.weights, Role::recipe, "Weights.");
  visitor.field("files", config.files, Role::recipe, "Files.");
  visitor.path("folder", config.folder, base::Role::free, "Folder.");
  visitor.section("adapter", config.adapter, "The adapter.");
  visitor.section("deep", config.deep, "Deep.");
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// What loading `text` (and overrides) says is wrong; empty where nothing is.
std::string errors_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    ConfigInput input = ConfigInput::from_text(text, "run.yaml");
    for (const std::string& assignment : overrides) input.set(assignment);
    Outer config;
    load_config(input, config);
    return "";
  } catch (const base::ConfigErrorList& errors) {
    return errors.list();
  } catch (const base::ConfigError& error) {
    return error.what();
  }
}

TEST(YamlConfig, FillsEveryKindOfField) {
  const std::string text = R"(
steps: 7
learning_rate: 1e-3
fast: false
name: a name: with no colon trouble
weights: [1, -2.5, 3e2]
files:
  - data/a.bin
  - "b c.bin"
adapter:
  bits: 4
  tau: 0.5
  colour: dark_blue
  layers: [0, 3]
)";
  // A plain scalar can't hold ": ".
  EXPECT_THAT(errors_of(text), HasSubstr("run.yaml:5: not valid YAML"));
  std::string good = text;
  good.replace(good.find("a name: with no colon trouble"), 29, "\"a name: quoted\"");
  Outer config;
  const ConfigSources sources = load_config(ConfigInput::from_text(good, "run.yaml"), config);
  EXPECT_EQ(config.steps, 7);
  EXPECT_DOUBLE_EQ(config.learning_rate, 1e-3);
  EXPECT_FALSE(config.fast);
  EXPECT_EQ(config.name, "a name: quoted");
  EXPECT_THAT(config.weights, ElementsAre(1, -2.5, 300));
  EXPECT_THAT(config.files, ElementsAre("data/a.bin", "b c.bin"));
  EXPECT_EQ(config.adapter.bits, 4);
  EXPECT_EQ(config.adapter.colour, Colour::dark_blue);
  EXPECT_THAT(config.adapter.layers, ElementsAre(0, 3));
  EXPECT_EQ(sources.at("steps"), "run.yaml:2");
  EXPECT_EQ(sources.at("adapter.tau"), "run.yaml:12");
  EXPECT_EQ(sources.at("deep.on"), "default");
}

TEST(YamlConfig, EmptyFilesAndSectionsAreDefaults) {
  EXPECT_EQ(errors_of(""), "");
  EXPECT_EQ(errors_of("# nothing\n"), "");
  EXPECT_EQ(errors_of("adapter:\n  # bits: 4\n"), "");
}

TEST(YamlConfig, ReportsEverythingAtOnceInTheOrderOfTheFile) {
  const std::string errors = errors_of(R"(stepps: 3
fast: yes
adapter:
  bits: 9
  colour: drak_blue
  tau: warm
  tau: 2
deep: 5
)");
  EXPECT_THAT(errors, HasSubstr("run.yaml has 7 errors:"));
  const std::vector<std::string> lines = {
      "run.yaml:1: stepps: unknown key; did you mean steps?",
      "run.yaml:2: fast: expected true or false, got 'yes' (write true)",
      "run.yaml:4: adapter.bits: expected an integer from 1 to 8, got '9'",
      "run.yaml:5: adapter.colour: expected one of red, dark_blue, got 'drak_blue'; did you mean dark_blue?",
      "run.yaml:6: adapter.tau: expected a number from 0 to 100, got 'warm'",
      "run.yaml:7: adapter.tau: duplicate key; it is also in line 6, remove one of them",
      "run.yaml:8: deep: expected a section (indented keys), got '5'",
  };
  std::size_t position = 0;
  for (const std::string& line : lines) {
    const std::size_t found = errors.find(line);
    EXPECT_NE(found, std::string::npos) << line << "\n" << errors;
    EXPECT_GE(found, position) << line;
    position = found;
  }
}

// {YAML, part of the message}
using Slip = std::pair<std::string, std::string>;

TEST(YamlConfig, EverySlipIsNamed) {
  const std::vector<Slip> slips = {
      {"stesp: 1", "stesp: unknown key; did you mean steps?"},
      {"Steps: 1", "Steps: unknown key; did you mean steps?"},
      {"learning-rate: 1", "did you mean learning_rate?"},
      {"leraning_rate: 1", "did you mean learning_rate?"},
      {"bits: 4", "bits: unknown key; did you mean adapter.bits?"},
      {"adapter: {on: true}", "adapter.on: unknown key; did you mean deep.on?"},
      {"adapter: {bist: 4}", "adapter.bist: unknown key; did you mean adapter.bits?"},
      {"adaptor: {bits: 4}", "adaptor: unknown key; did you mean adapter?"},
      {"adapter.bits: 4", "adapter.bits: unknown key; did you mean adapter.bits?"},
      {"steps: 010", "got '010' (write it without the leading zero)"},
      {"steps: 0x10", "expected an integer of at least 0, got '0x10'"},
      {"steps: 1e3", "got '1e3' (write it out as an integer)"},
      {"steps: 3.0", "got '3.0' (write it out as an integer)"},
      {"steps: 1_000", "got '1_000' (write it without underscores)"},
      {"steps: 1,000", "got '1,000'"},
      {"steps: -1", "expected an integer of at least 0, got '-1'"},
      {"steps: 99999999999999999999", "(more than 64 bits)"},
      {"steps: \"5\"", "got the text \"5\" (remove the quotes)"},
      {"steps:", "steps: expected an integer of at least 0, got nothing"},
      {"steps: ~", "got nothing"},
      {"steps: [5]", "got a list"},
      {"steps: {a: 5}", "got a section"},
      {"steps: true", "got 'true'"},
      {"steps: 5 6", "got '5 6'"},
      {"learning_rate: .5", "got '.5' (write a digit before the point)"},
      {"learning_rate: 5.", "got '5.' (write a digit after the point)"},
      {"learning_rate: 1e", "expected a number, got '1e'"},
      {"learning_rate: nan", "expected a number, got 'nan'"},
      {"learning_rate: .inf", "got '.inf'"},
      {"learning_rate: 1e999", "(beyond double precision)"},
      {"learning_rate: 1:30", "got '1:30'"},
      {"fast: no", "got 'no' (write false)"},
      {"fast: off", "(write false)"},
      {"fast: True", "got 'True' (write true)"},
      {"fast: 1", "expected true or false, got '1'"},
      {"fast: 'true'", "(remove the quotes)"},
      {"name:", "expected text, got nothing (write \"\" for an empty text)"},
      {"name: [a]", "expected text, got a list"},
      {"weights: 3", "got '3' (write [3])"},
      {"weights: [1, x]", "weights[1]: expected a number, got 'x'"},
      {"weights:", "got nothing (write [] for none)"},
      {"files: [[a]]", "files[0]: expected text, got a list"},
      {"adapter: {layers: [1, -1, 5000]}", "adapter.layers[1]: expected an integer from 0 to 1000, got '-1'"},
      {"adapter: {layers: [1, -1, 5000]}", "adapter.layers[2]: expected an integer from 0 to 1000, got '5000'"},
      {"adapter: {colour: Red}", "did you mean red?"},
      {"adapter: {colour: 3}", "expected one of red, dark_blue, got '3'"},
      {"adapter: [1]", "expected a section (indented keys), got a list"},
      {"steps: 1\nsteps: 1", "run.yaml:2: steps: duplicate key; it is also in line 1"},
      {"adapter: {tau: 1}\nadapter: {bits: 1}", "run.yaml:2: adapter: duplicate key"},
      {"<<: {steps: 4}", "<<: merge keys are not read"},
      {"? [a]\n: 1", "a key must be a plain name"},
      {"- a", "expected keys with values"},
      {"5", "expected keys with values ('steps: 100'), got '5'"},
      {"steps: 1\n---\nsteps: 2", "run.yaml:2: a second YAML document begins here"},
      {"steps: [1", "not valid YAML"},
      {"\tsteps: 1", "not valid YAML"},
      {"adapter:\n  bits: 4\n tau: 1", "run.yaml:3: not valid YAML"},
      {"name: *x", "not valid YAML"},
  };
  for (const auto& [text, message] : slips) {
    EXPECT_THAT(errors_of(text), HasSubstr(message)) << text;
    EXPECT_THAT(errors_of(text), HasSubstr("run.yaml")) << text;
  }
}

// What a message says to write is right: no hint leads to the next error.
TEST(YamlConfig, HintsLeadToWhatWorks) {
  const std::vector<Slip> slips = {
      {"files: [*.rosa_attn.*]", "a text that begins with * or & stands in quotes, as in [\"*.rosa_attn.*\"]"},
      {"files: *.x.*", "stands in quotes"},
      {"files: '*.x.*'", "(write [\"*.x.*\"])"},
      {"files: a, b", "(write [\"a\", \"b\"])"},
      {"weights: 1,2", "(write [1, 2])"},
      {"weights: [1, .inf]", "got '.inf'"},
      {"learning_rate: .inf", "(only finite numbers; learning_rate: Rate.)"},
      {"learning_rate: -.Inf", "only finite numbers"},
      {"learning_rate: .NaN", "only finite numbers"},
      {"adapter:\n\tbits: 4", "line 2 is indented with a tab"},
      {"steps: 3\nadapter:\n  bits: 4\n \ttau: 1", "line 4 is indented with a tab"},
      {"name: a: b", "a text that holds ': ' stands in quotes"},
      {"name: @x", "a text that begins with %, @ or ` stands in quotes"},
      {"adapter: {<<: {bits: 4}}", "adapter.<<: merge keys are not read"},
      {"base: &b {bits: 5}\nadapter:\n  <<: *b", "run.yaml:3: adapter.<<: merge keys are not read"},
      {"adapter.bits: 4", "(a file has sections"},
      {"folder: ~", "expected a path, got nothing (write ~/ for the home folder"},
      {"steps: 1\n}", "not valid YAML"},
  };
  for (const auto& [text, message] : slips) EXPECT_THAT(errors_of(text), HasSubstr(message)) << text;
  EXPECT_THAT(errors_of("", {"files=*.x.*"}), HasSubstr("(write --set 'files=[\"*.x.*\"]')"));
  EXPECT_THAT(errors_of("", {"files=[*.x.*]"}), HasSubstr("(write --set 'files=[\"*.x.*\"]')"));
  EXPECT_EQ(errors_of("", {"files=[\"*.x.*\"]"}), "");
  EXPECT_THAT(errors_of("", {"adapter"}),
              HasSubstr("--set adapter: expected KEY=VALUE, for instance --set adapter.bits="));
  EXPECT_THAT(errors_of("", {"steps"}), HasSubstr("as in --set steps=VALUE"));
  EXPECT_THAT(errors_of("", {"adapter=1"}), HasSubstr("for instance --set adapter.bits=VALUE"));
}

// Two texts without end, or with hardly one, for a parser that goes on: each ends at once and says where.
TEST(YamlConfig, HostileTextsEndWithinBounds) {
  const auto repeated = [](const std::string& text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += text;
    return result;
  };
  std::string laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" +
              repeated("*a" + std::to_string(i - 1) + ",", 10) + "]\n";
  }
  std::string deep;
  for (int i = 0; i < 900; ++i) deep += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  const std::vector<Slip> texts = {
      {",", "run.yaml:1: ',' is left over"},
      {"{steps: 1},", "run.yaml:1: ',' is left over"},
      {"[1],", "',' is left over"},
      {"\"a\",", "',' is left over"},
      {"{steps: 1} {steps: 2}", "'{steps: 2}' is left over"},
      {repeated("\"", 400000), "left over"},
      {laughs + "files: *a11", "unknown key"},
      {"a: " + repeated("[", 300000), "nested deeper than"},
      {repeated("{", 400) + repeated(",", 100000), "nested deeper than"},
      {repeated("? ", 250000), "nested deeper than"},
      {repeated("- ", 250000), "nested deeper than"},
      {deep, "nested deeper than"},
      {"files: &l [*l, 1]", "stands inside of what it names"},
      {"adapter: &d\n  bits: *d", "stands inside of what it names"},
      {"files: [" + repeated("x,", 200000) + "]", "more than"},
      {std::string(500000, 'k') + ": 1", "run.yaml:1"},
      {std::string("a: b\0c", 7), "NUL"},
  };
  for (const auto& [text, message] : texts) {
    const std::string errors = errors_of(text);
    EXPECT_THAT(errors, HasSubstr(message)) << text.substr(0, 40);
    EXPECT_LT(errors.size(), 20000u) << text.substr(0, 40);
  }
  std::string many;
  for (int i = 0; i < 20000; ++i) many += "k" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(errors_of(many), HasSubstr("and 19950 more"));
}

TEST(YamlConfig, WhatIsPrintedOfAFileStaysOnOneLine) {
  const std::string escape = "\x1b[31m";
  const std::string errors =
      errors_of("\"st\\eeps\\n\": 3\nsteps: \"\\e[2J\\nrosa: rank 0\"\n", {"na\nme" + escape + "=1"});
  EXPECT_THAT(errors, Not(HasSubstr("\x1b")));
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 3) << errors;
  ConfigInput input = ConfigInput::from_text("steps: 3", "a\nb" + escape + ".yaml");
  Outer config;
  const ConfigSources sources = load_config(input, config);
  EXPECT_EQ(sources.at("steps"), "a\\nb\\x1b[31m.yaml:1");
  const std::string dump = dump_config([&](base::FieldVisitor& visitor) { describe(visitor, config); }, sources);
  EXPECT_NO_THROW(load_config(ConfigInput::from_text(dump, "dump"), config)) << dump;
}

TEST(YamlConfig, TheNearestNameIsLookedForInItsOwnSectionFirst) {
  EXPECT_THAT(errors_of("adapter: {onn: 3, tua: 1}"), HasSubstr("adapter.tua: unknown key; did you mean adapter.tau?"));
  EXPECT_THAT(errors_of("", {"adapter.tua=1"}), HasSubstr("did you mean adapter.tau?"));
  EXPECT_THAT(errors_of("", {"deep.bit=1"}), HasSubstr("did you mean adapter.bits?"));
  EXPECT_THAT(errors_of("", {"adaptor.tau=1"}), HasSubstr("did you mean adapter.tau?"));
}

TEST(YamlConfig, PathsAreExpandedAsAShellWould) {
  setenv("HOME", "/home/me", 1);
  setenv("ROSA_TEST_DATA", "/data", 1);
  setenv("ROSA_TEST_EMPTY", "", 1);
  unsetenv("ROSA_TEST_UNSET");
  const std::vector<std::pair<std::string, std::string>> good = {
      {"~/r", "/home/me/r"},
      {"~", "/home/me"},
      {"$ROSA_TEST_DATA/x", "/data/x"},
      {"${ROSA_TEST_DATA}x", "/datax"},
      {"a/$HOME", "a//home/me"},
      {"a~/b", "a~/b"},
      {"./~", "./~"},
      {"\\~/r", "~/r"},
      {"a\\$b", "a$b"},
      {"a\\b", "a\\b"},
      {"a\\\\$HOME", "a\\/home/me"},
      {"", ""},
  };
  for (const auto& [text, path] : good) {
    // In a file (quoted, so that YAML takes it as it is) and as an override.
    for (const bool in_file : {true, false}) {
      ConfigInput input = ConfigInput::from_text(in_file ? "folder: '" + text + "'" : "", "run.yaml");
      if (!in_file) input.set("folder=" + text);
      Outer config;
      load_config(input, config);
      EXPECT_EQ(config.folder, path) << text;
      // The dump means the path that was meant, whatever the environment is by then.
      const auto describe_it = [&config](base::FieldVisitor& visitor) { describe(visitor, config); };
      Outer again;
      load_config(ConfigInput::from_text(dump_config(describe_it), "dump"), again);
      EXPECT_EQ(again.folder, path) << text;
    }
  }
  for (const char* wrong : {"$ROSA_TEST_UNSET/x", "$ROSA_TEST_EMPTY/x", "~no_such_user_here/x", "a$", "$1", "${HOME",
                            "${HOME:-x}", "$(pwd)", "$"}) {
    EXPECT_THAT(errors_of("", {std::string("folder=") + wrong}), HasSubstr("--set folder: ")) << wrong;
  }
  // Only paths are.
  EXPECT_EQ(errors_of("name: $ROSA_TEST_UNSET"), "");
}

// Rules (base/config_problems.h) are reported with what the reader finds, at the line of the first key somebody wrote.
TEST(YamlConfig, BrokenRulesAreReportedWithTheRest) {
  ConfigInput input = ConfigInput::from_text("steps: 3\nadapter:\n  bits: 4\n  tau: warm\nnmae: x\n", "run.yaml");
  input.set("fast=false");
  Outer config;
  const auto describe_it = [&](base::FieldVisitor& visitor) { describe(visitor, config); };
  const auto rules = [](base::ConfigProblems& problems) {
    problems.add({"adapter.bits"}, "too few");
    problems.add({"weights", "steps"}, "do not agree");
    problems.add({"fast"}, "too slow");
    problems.add({"learning_rate"}, "too low");
    problems.add({"name", "adapter.tau"}, "what could not be read is not judged");
  };
  try {
    fill_config(input, describe_it, rules);
    FAIL();
  } catch (const base::ConfigErrorList& list) {
    const std::string& errors = list.list();
    EXPECT_THAT(errors, HasSubstr("has 6 errors"));
    EXPECT_EQ(std::string(list.what()).find('\n'), std::string::npos);
    for (const char* part :
         {"run.yaml:3: adapter.bits: too few", "run.yaml:1: steps: does not fit weights: do not agree",
          "--set fast: too slow", "  learning_rate: too low", "run.yaml:5: nmae: unknown key",
          "run.yaml:4: adapter.tau: expected a number"}) {
      EXPECT_THAT(errors, HasSubstr(part));
    }
  }
}

TEST(YamlConfig, FarNamesGetNoSuggestion) { EXPECT_THAT(errors_of("zzzzzz: 1"), Not(HasSubstr("did you mean"))); }

TEST(YamlConfig, WhatLooksLikeAnotherTypeIsTextWhereTextIsExpected) {
  for (const std::string text : {"010", "no", "1e3", "true", "\"\"", "'x y'", "2024-01-01"}) {
    EXPECT_EQ(errors_of("name: " + text), "") << text;
  }
  EXPECT_EQ(errors_of("steps: +5"), "");
  EXPECT_EQ(errors_of("learning_rate: -0.5E+2"), "");
}

TEST(YamlConfig, OverridesWinAndNameThemselves) {
  ConfigInput input = ConfigInput::from_text("steps: 3\nadapter:\n  tau: 0.5\n", "run.yaml");
  for (const char* assignment :
       {"steps=4", "steps=5", "adapter.layers=[1,2]", "name=a=b: c", "fast=false", "weights=[]"}) {
    input.set(assignment);
  }
  Outer config;
  const ConfigSources sources = load_config(input, config);
  EXPECT_EQ(config.steps, 5);
  EXPECT_EQ(config.name, "a=b: c");
  EXPECT_THAT(config.adapter.layers, ElementsAre(1, 2));
  EXPECT_TRUE(config.weights.empty());
  EXPECT_DOUBLE_EQ(config.adapter.tau, 0.5);
  EXPECT_EQ(sources.at("steps"), "--set");
  EXPECT_EQ(sources.at("adapter.tau"), "run.yaml:3");
}

TEST(YamlConfig, OverridesAreCheckedLikeTheFile) {
  EXPECT_THAT(errors_of("", {"steps=010"}), HasSubstr("--set steps: expected an integer of at least 0, got '010'"));
  EXPECT_THAT(errors_of("", {"stepz=1"}), HasSubstr("--set stepz: unknown key; did you mean steps?"));
  EXPECT_THAT(errors_of("", {"bits=1"}), HasSubstr("did you mean adapter.bits?"));
  EXPECT_THAT(errors_of("", {"adapter.bist=1"}), HasSubstr("did you mean adapter.bits?"));
  EXPECT_THAT(errors_of("", {"adapter=1"}), HasSubstr("--set adapter: this is a section"));
  EXPECT_THAT(errors_of("", {"steps"}), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(errors_of("", {"=1"}), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(errors_of("", {"steps="}), HasSubstr("got nothing"));
  EXPECT_THAT(errors_of("", {"steps=[1"}), HasSubstr("--set steps: expected an integer"));
  EXPECT_THAT(errors_of("", {"adapter.colour=blue"}), HasSubstr("expected one of red, dark_blue"));
  EXPECT_THAT(errors_of("stepps: 1", {"fast=maybe"}), HasSubstr("has 2 errors"));
}

TEST(YamlConfig, ACountThatMayBeAll) {
  Counted config;
  const Describe describe_counted = [&config](base::FieldVisitor& visitor) { describe(visitor, config); };
  for (const char* text : {"sequences: all\n", "sequences: 3\n"}) {
    load_config(ConfigInput::from_text(text, "run.yaml"), config);
    EXPECT_EQ(dump_config(describe_counted), text);
  }
  EXPECT_EQ(config.sequences, 3);
  EXPECT_THAT(reference_document(describe_counted, "Keys", "rosa"), HasSubstr("all or an integer from 1 to 100"));
  for (const char* wrong : {"0", "-1", "101", "everything", "4611686018427387904"}) {
    EXPECT_THAT([&] { load_config(ConfigInput::from_text(std::string("sequences: ") + wrong, "run.yaml"), config); },
                ::testing::ThrowsMessage<base::ConfigError>(HasSubstr("expected all or an integer from 1 to 100, got")))
        << wrong;
  }
}

TEST(YamlConfig, AWrongConfigurationChangesNothingPartly) {
  Outer config;
  EXPECT_THROW(load_config(ConfigInput::from_text("weights: [3, x]", "run.yaml"), config), base::ConfigError);
  EXPECT_THAT(config.weights, ElementsAre(0.5, 1));
}

TEST(YamlConfig, FilesThatCannotBeReadAreConfigErrors) {
  EXPECT_THROW(ConfigInput::from_file("does/not/exist.yaml"), base::ConfigError);
  EXPECT_THROW(ConfigInput::from_file(ROSA_SOURCE_DIR), base::ConfigError);
  const std::string path = ::testing::TempDir() + "large.yaml";
  std::ofstream(path) << std::string(std::size_t{2} << 20, '#');
  EXPECT_THROW(ConfigInput::from_file(path), base::ConfigError);
}

TEST(ConfigText, TheDumpReadsBackAsTheSameConfigurationAndNamesSources) {
  Outer config;
  config.name = "1e3: \"quoted\" # \\ \n no";
  config.weights = {1e-300, -0.1, 1e22, 1.0 / 3};
  config.files = {"",       "null", "-x",    "a b",      "caf\xc3\xa9",
                  "/tmp/x", "12",   "r\xe9", "\xff\xfe", "\xe9 \x1b\xc2\x85\xe2\x80\xa8x"};
  config.adapter.layers = {0, 27};
  config.adapter.colour = Colour::dark_blue;
  const auto describe_it = [](Outer& what) {
    return [&what](base::FieldVisitor& visitor) { describe(visitor, what); };
  };
  const std::string text = dump_config(describe_it(config), {{"steps", "a\nb\xe9.yaml:3"}, {"adapter.tau", "default"}});
  EXPECT_THAT(text, HasSubstr("steps: 100  # a\\nb\\xe9.yaml:3\n"));
  EXPECT_THAT(text, HasSubstr("  tau: 1  # default\n"));
  Outer again;
  load_config(ConfigInput::from_text(text, "dump"), again);
  EXPECT_EQ(flatten_config(describe_it(again)), flatten_config(describe_it(config))) << text;
  EXPECT_EQ(again.name, config.name);
  EXPECT_EQ(again.files, config.files);
  EXPECT_EQ(again.weights, config.weights);
}

TEST(ConfigText, TheReferenceShowsEveryKeyOnceInItsSection) {
  Outer config;
  const std::string text =
      reference_document([&](base::FieldVisitor& visitor) { describe(visitor, config); }, "Keys", "rosa keys");
  EXPECT_THAT(text, ::testing::StartsWith("# Keys\n\nGenerated by `rosa keys`"));
  EXPECT_THAT(text, HasSubstr("| `learning_rate` | `5e-05` | a number | recipe | Rate. |"));
  EXPECT_THAT(text, HasSubstr("\n## adapter\n\nThe adapter.\n"));
  EXPECT_THAT(text, HasSubstr("| `colour` | `red` | one of red, dark_blue | recipe | A \\| colour. |"));
  EXPECT_THAT(text, HasSubstr("| `bits` | `8` | an integer from 1 to 8 | recipe | Bits of a symbol. |"));
}

// ---- lists of structs

struct Entry {
  std::string path;
  double weight = 1;
};
void describe(base::FieldVisitor& visitor, Entry& entry) {
  visitor.path("path", entry.path, base::Role::place, "a file");
  visitor.field("weight", entry.weight, base::Role::recipe, "a share", {0.0, 10.0});
}
struct WithEntries {
  std::vector<Entry> entries;
};
void describe(base::FieldVisitor& visitor, WithEntries& config) {
  visitor.list("entries", config.entries, base::Role::recipe, "several files");
}

WithEntries read_entries(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  ConfigInput input = ConfigInput::from_text(yaml, "f.yaml");
  for (const std::string& text : overrides) input.set(text);
  WithEntries config;
  load_config(input, config);
  return config;
}

std::string entry_errors(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  try {
    read_entries(yaml, overrides);
    return "";
  } catch (const base::ConfigError& error) {
    return error.what();
  }
}

TEST(ListsOfStructs, AreReadFromFileAndOverrides) {
  const std::string yaml = "entries:\n  - {path: a, weight: 2}\n  - path: 'b, c'\n";
  const auto entries = read_entries(yaml).entries;
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].path, "a");
  EXPECT_EQ(entries[0].weight, 2);
  EXPECT_EQ(entries[1].path, "b, c");
  EXPECT_EQ(entries[1].weight, 1);
  EXPECT_EQ(read_entries(yaml, {"entries[1].weight=7"}).entries.at(1).weight, 7);
  const auto given = read_entries(yaml, {"entries=[{path: x, weight: 3}]"}).entries;
  ASSERT_EQ(given.size(), 1u);
  EXPECT_EQ(given[0].path, "x");
  EXPECT_EQ(given[0].weight, 3);
  EXPECT_TRUE(read_entries("entries: []").entries.empty());
}

TEST(ListsOfStructs, ADumpReadsBackAsTheSame) {
  WithEntries config = read_entries("entries: [{path: 'b, {c}', weight: 0.1}, {path: d}]");
  const Describe describe_it = [&config](base::FieldVisitor& visitor) { describe(visitor, config); };
  const std::string text = dump_config(describe_it, {});
  const auto entries = read_entries(text).entries;
  ASSERT_EQ(entries.size(), 2u) << text;
  EXPECT_EQ(entries[0].path, "b, {c}");
  EXPECT_EQ(entries[0].weight, 0.1);
  EXPECT_EQ(entries[1].path, "d");
}

TEST(ListsOfStructs, MistakesAreNamedByEntryAndLine) {
  using ::testing::AllOf;
  using ::testing::HasSubstr;
  EXPECT_THAT(entry_errors("entries:\n  - path: a\n    wieght: 2\n  - path: b\n    weight: many\n"),
              AllOf(HasSubstr("f.yaml:3: entries[0].wieght: unknown key"), HasSubstr("weight"),
                    HasSubstr("f.yaml:5: entries[1].weight: expected")));
  EXPECT_THAT(entry_errors("entries: a"), HasSubstr("f.yaml:1: entries: expected a list of sections"));
  EXPECT_THAT(entry_errors("entries: [3]"), HasSubstr("entries[0]: expected a section"));
  EXPECT_THAT(entry_errors("", {"entries=[{path: a, weight: 11}]"}), HasSubstr("--set entries[0].weight: expected"));
  EXPECT_THAT(entry_errors("", {"entries[0].weight=2"}), HasSubstr("--set entries[0].weight: unknown key"));
}

}  // namespace
}  // namespace rosa::launch
