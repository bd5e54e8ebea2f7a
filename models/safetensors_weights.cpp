#include "models/safetensors_weights.h"

#include <cstring>
#include <memory>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "base/safetensors.h"
#include "rosa/operator/tensor_bytes.h"

namespace rosa::models {
namespace {

using base::concat;
using base::DataError;
using base::require;
using base::SafetensorsFile;
using base::TensorView;

constexpr int64_t kMaxIndexBytes = int64_t{64} << 20;
// Names listed in one message before it only counts the rest.
constexpr size_t kMaxNamesListed = 8;

// The open files of a model, and where each tensor lies in them.
struct PlacedTensor {
  const TensorView* view = nullptr;
  std::shared_ptr<const SafetensorsFile> file;
};
struct ModelFiles {
  MappedFiles files;
  std::map<std::string, PlacedTensor> tensors;
};

class NameList {
 public:
  void add(const std::string& name) {
    if (++count_ <= kMaxNamesListed) text_ += (text_.empty() ? "" : ", ") + name;
  }
  bool empty() const { return count_ == 0; }
  size_t count() const { return count_; }
  std::string text() const {
    return count_ <= kMaxNamesListed ? text_ : concat(text_, " and ", count_ - kMaxNamesListed, " more");
  }

 private:
  size_t count_ = 0;
  std::string text_;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::ostringstream text;
  for (size_t i = 0; i < shape.size(); ++i) text << (i > 0 ? "," : "[") << shape[i];
  return text.str() + (shape.empty() ? "[]" : "]");
}

// On the file's own bytes where `may_map` and they fit; else a copy.
at::Tensor to_weight(const std::string& name, const TensorView& view, at::ScalarType dtype,
                     const std::shared_ptr<const SafetensorsFile>& file, bool may_map) {
  require<DataError>(view.dtype == "F32" || view.dtype == "BF16" || view.dtype == "F16", file->path().string(),
                     ": tensor '", base::excerpt(name), "' has dtype ", view.dtype,
                     ", which is not supported; convert the weights to F32, BF16 or F16");
  const bool aligned = is_aligned(view);
  if (may_map && aligned && dtype_of_name(view.dtype) == dtype) return tensor_on_bytes(view, file);
  at::Tensor copy = aligned ? tensor_on_bytes(view, nullptr).to(dtype, /*non_blocking=*/false, /*copy=*/true)
                            : to_tensor(view).to(dtype);
  file->file().release(view.bytes);
  return copy;
}

bool have_equal_content(const TensorView& left, const TensorView& right) {
  return left.dtype == right.dtype && left.shape == right.shape && left.bytes.size() == right.bytes.size() &&
         std::memcmp(left.bytes.data(), right.bytes.data(), left.bytes.size()) == 0;
}

// Shard of every tensor, as the index has it.
std::map<std::string, std::string> read_index(const std::filesystem::path& path) {
  const nlohmann::json index = base::read_json(path, kMaxIndexBytes);
  const base::JsonFields map = base::JsonFields(index, path.string()).required_object("weight_map");
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : map.value().items()) {
    if (!shard.is_string()) map.fail(name, concat("is ", shard.type_name(), "; expected a file name"));
    const std::string file = shard.get<std::string>();
    // A name that leads out of the folder would let a downloaded model read any file.
    const bool plain = !file.empty() && file != "." && file != ".." && file.find('/') == std::string::npos &&
                       file.find('\0') == std::string::npos;
    if (!plain)
      map.fail(name, concat("is '", base::excerpt(file), "'; expected the name of a file in the same folder"));
    shards[name] = file;
  }
  return shards;
}

// All at once: who downloads them again wants to know how many.
void require_all_shards(const std::filesystem::path& folder, const std::filesystem::path& index_path,
                        const std::set<std::string>& names) {
  NameList absent;
  for (const std::string& shard : names) {
    if (!std::filesystem::exists(folder / shard)) absent.add(base::excerpt(shard));
  }
  require<DataError>(absent.empty(), index_path.string(), ": lists ", names.size(), " files of weights, of which ",
                     absent.count(), " are not there: ", absent.text(), "; download them");
}

void open_shards(const std::filesystem::path& folder, const std::filesystem::path& index_path, ModelFiles& model) {
  const std::map<std::string, std::string> shards = read_index(index_path);
  std::set<std::string> names;
  for (const auto& [name, shard] : shards) names.insert(shard);
  require_all_shards(folder, index_path, names);
  for (const std::string& shard : names) {
    const std::filesystem::path path = folder / shard;
    model.files.push_back(std::make_shared<const SafetensorsFile>(path));
    for (const auto& [name, view] : model.files.back()->tensors()) {
      const auto listed = shards.find(name);
      require<DataError>(listed != shards.end() && listed->second == shard, path.string(), ": holds tensor ",
                         base::excerpt(name), ", which ", index_path.string(),
                         listed == shards.end() ? " does not list" : " lists in another shard");
      model.tensors[name] = {&view, model.files.back()};
    }
  }
  NameList absent;
  for (const auto& [name, shard] : shards) {
    if (model.tensors.count(name) == 0) absent.add(concat(base::excerpt(name), " (", base::excerpt(shard), ")"));
  }
  require<DataError>(absent.empty(), index_path.string(),
                     ": lists tensors that their shards do not hold: ", absent.text());
}

ModelFiles open_model(const std::filesystem::path& folder) {
  ModelFiles model;
  const std::filesystem::path single = folder / "model.safetensors";
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  if (std::filesystem::exists(single)) {
    model.files.push_back(std::make_shared<const SafetensorsFile>(single));
    for (const auto& [name, view] : model.files.back()->tensors()) model.tensors[name] = {&view, model.files.back()};
  } else {
    require<DataError>(std::filesystem::exists(index), folder.string(),
                       ": holds neither model.safetensors nor model.safetensors.index.json; expected a Hugging Face "
                       "model folder (save_pretrained writes one)");
    open_shards(folder, index, model);
  }
  return model;
}

}  // namespace

at::ScalarType compute_dtype_of_name(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  require<base::ConfigError>(name == "float16", "compute_dtype is '", name, "'; expected float32, bfloat16 or float16");
  return at::kHalf;
}

namespace {

ModelFiles open_checked_model(const std::filesystem::path& folder, const ExpectedShapes& expected,
                              const std::pair<std::string, std::string>& tied) {
  ModelFiles model = open_model(folder);
  // Old files of Llama hold what config.json says in other words.
  std::erase_if(model.tensors, [](const auto& entry) { return entry.first.ends_with(".rotary_emb.inv_freq"); });
  if (const auto found = model.tensors.find(tied.first); found != model.tensors.end()) {
    const auto original = model.tensors.find(tied.second);
    const bool equal =
        original != model.tensors.end() && have_equal_content(*original->second.view, *found->second.view);
    require<DataError>(equal, folder.string(), ": ", tied.first, " differs from ", tied.second,
                       " although config.json says tie_word_embeddings; set it to false or remove the tensor");
    model.tensors.erase(found);
  }
  ShapeMap actual;
  for (const auto& [name, tensor] : model.tensors) actual[name] = tensor.view->shape;
  check_names_and_shapes(actual, expected(static_cast<int64_t>(actual.size())), folder.string(),
                         "do config.json and the weights belong together?");
  return model;
}

}  // namespace

TensorMap read_model_weights(const std::filesystem::path& folder, const ExpectedShapes& expected, at::ScalarType dtype,
                             const std::pair<std::string, std::string>& tied, MappedFiles* mapped) {
  const ModelFiles model = open_checked_model(folder, expected, tied);
  TensorMap weights;
  std::set<std::shared_ptr<const SafetensorsFile>> in_use;
  for (const auto& [name, tensor] : model.tensors) {
    at::Tensor& weight = weights[name] = to_weight(name, *tensor.view, dtype, tensor.file, mapped != nullptr);
    if (weight.const_data_ptr() == tensor.view->bytes.data()) in_use.insert(tensor.file);
  }
  if (mapped != nullptr) mapped->assign(in_use.begin(), in_use.end());
  return weights;
}

void check_model_weights(const std::filesystem::path& folder, const ExpectedShapes& expected,
                         const std::pair<std::string, std::string>& tied) {
  open_checked_model(folder, expected, tied);
}

TensorMap read_tensors(const std::filesystem::path& path, std::map<std::string, std::string>* metadata) {
  const auto file = std::make_shared<const SafetensorsFile>(path);
  if (metadata != nullptr) *metadata = file->metadata();
  TensorMap tensors;
  for (const auto& [name, view] : file->tensors()) tensors[name] = to_weight(name, view, at::kFloat, file, false);
  return tensors;
}

TensorMap read_wanted_tensors(const std::filesystem::path& path, const std::function<bool(const std::string&)>& wanted,
                              std::map<std::string, std::string>& metadata, std::vector<std::string>& unused) {
  ModelFiles model;
  if (std::filesystem::is_directory(path)) {
    model = open_model(path);
  } else {
    model.files.push_back(std::make_shared<const SafetensorsFile>(path));
    metadata = model.files.back()->metadata();
    for (const auto& [name, view] : model.files.back()->tensors()) {
      model.tensors[name] = {&view, model.files.back()};
    }
  }
  TensorMap tensors;
  for (const auto& [name, tensor] : model.tensors) {
    if (wanted(name)) {
      tensors[name] = to_weight(name, *tensor.view, at::kFloat, tensor.file, false);
    } else {
      unused.push_back(name);
    }
  }
  return tensors;
}

void check_names_and_shapes(const ShapeMap& actual, const ShapeMap& expected, const std::string& where,
                            const std::string& hint) {
  NameList missing, unexpected, misshapen;
  for (const auto& [name, shape] : expected) {
    const auto found = actual.find(name);
    if (found == actual.end()) {
      missing.add(base::excerpt(name));
    } else if (found->second != shape) {
      misshapen.add(concat(base::excerpt(name), " is ", shape_text(found->second), ", expected ", shape_text(shape)));
    }
  }
  for (const auto& [name, shape] : actual) {
    if (expected.count(name) == 0) unexpected.add(base::excerpt(name));
  }
  if (missing.empty() && unexpected.empty() && misshapen.empty()) return;
  std::string message = where + ":";
  if (!missing.empty()) message += " missing tensors: " + missing.text() + ";";
  if (!unexpected.empty()) message += " unexpected tensors: " + unexpected.text() + ";";
  if (!misshapen.empty()) message += " wrong shapes: " + misshapen.text() + ";";
  throw DataError(message + " " + hint);
}

void write_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                   std::map<std::string, std::string> metadata) {
  metadata.emplace("format", "pt");  // transformers refuses files without it
  std::map<std::string, TensorView> views;
  std::vector<at::Tensor> copies;  // keep the bytes alive
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor copy = tensor.detach().to(at::kCPU).contiguous();
    views[name] = view_bytes(copy);
    copies.push_back(copy);
  }
  base::write_safetensors(path, views, metadata);
}

}  // namespace rosa::models
