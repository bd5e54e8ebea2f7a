// The bytes of a Generator, little-endian, 8 bytes a number:
//   "ROSAGENR", version, fingerprints of the model and of the adapters, window, max_rewind, texts; of each text its
//   size; of each of its layers how many positions the cache keeps, their keys and values, whether there is a ROSA
//   state, the number of its bytes and these; the same of the adapter before the final norm, if there is one; checksum
//   of all before it.
#include <cstring>
#include <string_view>

#include "base/checksum.h"
#include "base/error.h"
#include "base/saved_bytes.h"
#include "models/adapter.h"
#include "models/generator.h"
#include "models/generator_state.h"

namespace rosa::models {
namespace {

constexpr std::string_view kMagic = "ROSAGENR";
constexpr uint64_t kVersion = 1;
constexpr size_t kNumberBytes = base::kSavedNumberBytes;
constexpr const char* kPlace = "Generator::load: ";
constexpr const char* kDamaged = "; the bytes are damaged or were not written by Generator::save";

void put(std::vector<std::byte>& bytes, const at::Tensor& tensor) {
  const at::Tensor plain = tensor.to(at::kCPU).contiguous();
  const auto* data = static_cast<const std::byte*>(plain.const_data_ptr());
  bytes.insert(bytes.end(), data, data + plain.nbytes());
}

void put(std::vector<std::byte>& bytes, const RosaState& state) {
  const std::vector<std::byte> saved = state.save();
  base::put_number(bytes, saved.size());
  bytes.insert(bytes.end(), saved.begin(), saved.end());
}

template <class... Parts>
void check(bool condition, const Parts&... parts) {
  base::require<base::DataError>(condition, kPlace, parts..., kDamaged);
}

base::SavedBytesReader reader_of(std::span<const std::byte> bytes) { return {bytes, kPlace, kDamaged}; }

// Tells weights apart: names, dtypes, shapes and all their bytes.
void add_weights(base::ChecksumStream& stream, const std::map<std::string, at::Tensor>& weights) {
  for (const auto& [name, tensor] : weights) {
    const std::string text = base::concat(name, ' ', tensor.scalar_type(), ' ', tensor.sizes());
    stream.update(std::as_bytes(std::span(text)));
    const at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
    stream.update({static_cast<const std::byte*>(plain.const_data_ptr()), plain.nbytes()});
  }
}

uint64_t model_fingerprint(const CausalModel& model) {
  base::ChecksumStream stream;
  const ModelConfig& config = model.config();
  const std::string text = base::concat(config.num_attention_heads, ' ', config.num_key_value_heads, ' ',
                                        config.head_dim, ' ', config.rope_theta, ' ', config.rms_norm_eps, ' ');
  stream.update(std::as_bytes(std::span(text)));
  if (config.rope_scaling.type != RopeType::plain) {
    // What the rotation is, in full; texts saved of plain models keep their fingerprint.
    const std::string rope = to_json(config);
    stream.update(std::as_bytes(std::span(rope)));
  }
  add_weights(stream, model.parameters());
  return stream.value();
}

// 0: none.
uint64_t adapter_fingerprint(const AdapterSet* adapters) {
  if (adapters == nullptr) return 0;
  base::ChecksumStream stream;
  const AdapterConfig& config = adapters->config();
  const std::string text = base::concat(config.num_heads, ' ', config.num_key_value_heads, ' ', config.query_key_bits,
                                        ' ', config.value_bits, ' ', adapter_form(config));
  stream.update(std::as_bytes(std::span(text)));
  add_weights(stream, adapters->parameters());
  if (const LowRank* low_rank = adapters->low_rank()) {
    const double scale = low_rank->scale();
    stream.update(std::as_bytes(std::span(&scale, 1)));
    add_weights(stream, low_rank->parameters());
  }
  return stream.value();
}

// The window where all layers have it and there are no sinks; else a checksum of what each layer sees.
uint64_t spans_number(const ForwardOptions& options) {
  if (options.layer_windows.empty() && options.sink_tokens == 0) return static_cast<uint64_t>(options.sliding_window);
  std::string text = base::concat(options.sliding_window, ' ', options.sink_tokens);
  for (const int64_t window : options.layer_windows) text += base::concat(' ', window);
  return base::checksum(std::as_bytes(std::span(text)));
}

at::Tensor take_tensor(base::SavedBytesReader& reader, at::IntArrayRef shape, const at::TensorOptions& options) {
  const at::Tensor tensor = at::empty(shape, options.device(at::kCPU));
  const auto bytes = reader.take(tensor.nbytes());
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor.to(options.device());
}

}  // namespace

std::vector<std::byte> Generator::save() const {
  const at::NoGradGuard no_gradient;
  std::vector<std::byte> bytes;
  for (const char each : kMagic) bytes.push_back(static_cast<std::byte>(each));
  for (const uint64_t number :
       {kVersion, model_fingerprint(*state_->model), adapter_fingerprint(state_->adapters),
        spans_number(state_->options), static_cast<uint64_t>(state_->max_rewind), state_->texts.size()}) {
    base::put_number(bytes, number);
  }
  for (const TextState& text : state_->texts) {
    base::put_number(bytes, static_cast<uint64_t>(text.size));
    for (size_t layer = 0; layer < text.caches.size(); ++layer) {
      const KeyValueCache& cache = text.caches[layer];
      const int64_t kept = cache.size() - cache.oldest();
      base::put_number(bytes, static_cast<uint64_t>(kept));
      if (kept > 0) {
        put(bytes, cache.kept(cache.keys()));
        put(bytes, cache.kept(cache.values()));
      }
      if (kept > 0 && cache.num_sinks() > 0) {
        put(bytes, cache.sink_keys());
        put(bytes, cache.sink_values());
      }
      base::put_number(bytes, text.rosa_states[layer].has_value() ? 1 : 0);
      if (text.rosa_states[layer]) put(bytes, *text.rosa_states[layer]);
    }
    if (text.rosa_states.back()) put(bytes, *text.rosa_states.back());
  }
  base::put_number(bytes, base::checksum(bytes));
  return bytes;
}

Generator Generator::load(std::span<const std::byte> bytes, const CausalModel& model, const ForwardOptions& options) {
  const at::NoGradGuard no_gradient;
  check(bytes.size() > kMagic.size() + 2 * kNumberBytes, "got ", bytes.size(), " bytes");
  check(std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0, "the first bytes are not ", kMagic);
  base::SavedBytesReader reader = reader_of(bytes.first(bytes.size() - kNumberBytes).subspan(kMagic.size()));
  const uint64_t version = reader.number();
  base::require<base::DataError>(version == kVersion, "Generator::load: got format version ", version, ", expected ",
                                 kVersion, "; save the state anew with this program");
  check(reader_of(bytes.last(kNumberBytes)).number() == base::checksum(bytes.first(bytes.size() - kNumberBytes)),
        "the checksum does not fit");
  const auto require_same = [](uint64_t saved, uint64_t own, const char* what, const char* expected) {
    base::require<OtherWeightsError>(saved == own, "the saved text belongs to ", what, " (", base::to_hex(saved),
                                     ", not ", base::to_hex(own), "); ", expected);
  };
  require_same(reader.number(), model_fingerprint(model), "another base model",
               "load it with the model, weights and dtype it was saved with");
  require_same(reader.number(), adapter_fingerprint(options.adapters), "other adapters",
               "load it with the checkpoint it was saved with");
  require_same(reader.number(), spans_number(options), "another sliding window",
               "load it with the windows and sinks it was saved with");
  auto state = std::make_unique<State>(model, options, reader.count("max_rewind"));
  const int64_t num_texts = reader.count("texts");
  const auto num_layers = static_cast<size_t>(model.config().num_hidden_layers);
  // Before anything of that size is made: each layer of each text takes at least two numbers here.
  check(num_texts > 0 && static_cast<size_t>(num_texts) <= reader.num_left() / (2 * kNumberBytes * num_layers), "got ",
        num_texts, " texts in ", reader.num_left(), " bytes");
  const at::TensorOptions& kept_as = model.compute_options();
  const int64_t groups = model.config().num_key_value_heads, head_dim = model.config().head_dim;
  const uint64_t position_bytes = 2 * groups * head_dim * kept_as.dtype().itemsize();
  const auto take_state = [&](TextState& text, size_t layer) {
    std::optional<RosaState>& own = text.rosa_states[layer];
    own = RosaState::load(reader.take(reader.number()));
    const AdapterConfig& config = options.adapters->config();
    check(own->size() == text.size &&
              own->has_shape(1, config.num_heads, config.num_key_value_heads, config.query_key_bits, config.value_bits),
          "the ROSA state of layer ", layer, " is another adapter's");
  };
  for (int64_t row = 0; row < num_texts; ++row) {
    TextState text = state->empty_text();
    text.size = reader.count("a size of");
    for (size_t layer = 0; layer < num_layers; ++layer) {
      KeyValueCache& cache = text.caches[layer];
      const int64_t kept = reader.count("kept positions");
      check(cache.could_keep(text.size, kept) && static_cast<uint64_t>(kept) <= reader.num_left() / position_bytes,
            "got ", kept, " positions of a text of ", text.size);
      const at::Tensor keys = take_tensor(reader, {groups, kept, head_dim}, kept_as);
      cache.restore(text.size, keys, take_tensor(reader, {groups, kept, head_dim}, kept_as));
      if (kept > 0 && cache.num_sinks() > 0) {
        const std::vector<int64_t> shape = {groups, cache.num_sinks(), head_dim};
        check(static_cast<uint64_t>(cache.num_sinks()) <= reader.num_left() / position_bytes, "got no room for sinks");
        const at::Tensor sink_keys = take_tensor(reader, shape, kept_as);
        cache.restore_sinks(sink_keys, take_tensor(reader, shape, kept_as));
      }
      const bool has_state = reader.number() != 0;
      check(has_state == text.rosa_states[layer].has_value(), "layer ", layer, has_state ? " has" : " lacks",
            " a ROSA state");
      if (has_state) take_state(text, layer);
    }
    if (text.rosa_states.back()) take_state(text, num_layers);
    state->texts.push_back(std::move(text));
  }
  check(reader.num_left() == 0, "got ", reader.num_left(), " bytes too many");
  return Generator(std::move(state));
}

}  // namespace rosa::models
