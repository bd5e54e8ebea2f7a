// The bytes of a session: "ROSASESS", version, and four texts: weights, variant, tokenizer, its fingerprint in
// hexadecimal digits; the number of tokens and these; the number of the generator's bytes and these; checksum of all
// before it. Numbers are little-endian, 8 bytes each; a text is its size and its bytes.
#include "launch/text_session.h"

#include <cstring>
#include <span>
#include <string_view>
#include <system_error>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"

namespace rosa::launch {
namespace {

using base::ConfigError;
using base::DataError;
using base::require;

constexpr std::string_view kMagic = "ROSASESS";
constexpr uint64_t kVersion = 1;
constexpr size_t kNumberBytes = 8;
constexpr int64_t kMaxBytes = int64_t{1} << 40;

void put(std::string& bytes, uint64_t number) {
  for (size_t i = 0; i < kNumberBytes; ++i) bytes += static_cast<char>(number >> (8 * i) & 255);
}

void put(std::string& bytes, const std::string& text) {
  put(bytes, text.size());
  bytes += text;
}

class Reader {
 public:
  Reader(std::string_view bytes, std::string place) : rest_(bytes), place_(std::move(place)) {}

  std::string_view take(uint64_t num_bytes) {
    require<DataError>(num_bytes <= rest_.size(), place_, ": the session is damaged: expected ", num_bytes,
                       " more bytes, got ", rest_.size());
    const std::string_view taken = rest_.substr(0, num_bytes);
    rest_.remove_prefix(num_bytes);
    return taken;
  }
  uint64_t number() {
    const std::string_view bytes = take(kNumberBytes);
    uint64_t number = 0;
    for (size_t i = 0; i < kNumberBytes; ++i) {
      number |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    }
    return number;
  }
  std::string text() { return std::string(take(number())); }
  size_t num_left() const { return rest_.size(); }

 private:
  std::string_view rest_;
  std::string place_;
};

std::string described(const SessionOwner& owner) {
  return base::concat(base::printable(owner.weights), " (--model ", base::printable(owner.variant), ")");
}

}  // namespace

std::optional<TextSession> load_session(const std::filesystem::path& path, const SessionOwner& owner,
                                        const models::CausalModel& model, const models::ForwardOptions& options) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  const std::string bytes = base::read_file(path, kMaxBytes);
  if (bytes.empty()) return std::nullopt;
  const std::string place = base::printable(path.string());
  require<DataError>(bytes.starts_with(kMagic) && bytes.size() > kMagic.size() + 2 * kNumberBytes, place,
                     " is no session of rosa generate; name another file");
  const std::string_view body = std::string_view(bytes).substr(0, bytes.size() - kNumberBytes);
  Reader reader(body.substr(kMagic.size()), place);
  const uint64_t version = reader.number();
  require<DataError>(version == kVersion, place, ": the session has format version ", version, ", expected ", kVersion,
                     "; begin a new one");
  require<DataError>(Reader(std::string_view(bytes).substr(body.size()), place).number() == base::checksum(body), place,
                     ": the session is damaged: its checksum does not fit");
  SessionOwner saved;
  saved.weights = reader.text();
  saved.variant = reader.text();
  saved.tokenizer = reader.text();
  const std::string fingerprint = reader.text();
  require<ConfigError>(saved.variant == owner.variant, "--session: ", place, " is a text of ", described(saved),
                       ", this is ", described(owner), "; give the same --model, or another file");
  const bool same_tokenizer =
      saved.tokenizer.empty() || owner.tokenizer.empty() || fingerprint == base::to_hex(owner.fingerprint);
  require<ConfigError>(same_tokenizer, "--session: ", place, " was written with the tokenizer ",
                       base::printable(saved.tokenizer), ", this is ", base::printable(owner.tokenizer),
                       "; name another file");
  const uint64_t num_tokens = reader.number();
  require<DataError>(num_tokens <= reader.num_left() / kNumberBytes, place, ": the session is damaged: ", num_tokens,
                     " tokens in ", reader.num_left(), " bytes");
  std::vector<int64_t> tokens;
  for (uint64_t i = 0; i < num_tokens; ++i) {
    tokens.push_back(static_cast<int64_t>(reader.number()));
    require<DataError>(tokens.back() >= 0 && tokens.back() < model.config().vocab_size, place,
                       ": the session is damaged: token ", tokens.back());
  }
  const std::string_view state = reader.take(reader.number());
  require<DataError>(reader.num_left() == 0, place, ": the session is damaged: ", reader.num_left(), " bytes too many");
  try {
    TextSession session{std::move(tokens), models::Generator::load(std::as_bytes(std::span(state)), model, options)};
    const auto count = static_cast<int64_t>(session.tokens.size());
    require<DataError>(session.generator.batch() == 1 && session.generator.size() + 1 == count, place,
                       ": the session is damaged: ", count, " tokens and a state of ", session.generator.size());
    return session;
  } catch (const models::OtherWeightsError& error) {
    throw ConfigError(base::concat("--session: ", place, " is a text of ", described(saved), ", this is ",
                                   described(owner), ": ", error.what()));
  }
}

void save_session(const std::filesystem::path& path, const SessionOwner& owner, const std::vector<int64_t>& tokens,
                  const models::Generator& generator) {
  std::string bytes(kMagic);
  put(bytes, kVersion);
  for (const std::string& text : {owner.weights, owner.variant, owner.tokenizer, base::to_hex(owner.fingerprint)}) {
    put(bytes, text);
  }
  put(bytes, tokens.size());
  for (const int64_t token : tokens) put(bytes, static_cast<uint64_t>(token));
  const std::vector<std::byte> state = generator.save();
  put(bytes, state.size());
  bytes.append(reinterpret_cast<const char*>(state.data()), state.size());
  put(bytes, base::checksum(bytes));
  base::write_file_atomically(path, bytes);
}

}  // namespace rosa::launch
