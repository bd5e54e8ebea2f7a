// Weights of a model folder or adapter file as tensors: shards found, names and shapes checked, dtypes converted.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/safetensors.h"

namespace rosa::models {

using ShapeMap = std::map<std::string, std::vector<int64_t>>;
using TensorMap = std::map<std::string, at::Tensor>;

// Files whose mapped bytes tensors lie on.
using MappedFiles = std::vector<std::shared_ptr<const base::SafetensorsFile>>;

// "float32", "bfloat16" or "float16". Throws ConfigError for another name.
at::ScalarType compute_dtype_of_name(const std::string& name);

// The names and shapes that a model's files should hold. Asked when it is known how many tensors there are, so that it
// can refuse by a DataError what so few can't be, before it takes memory for the names.
using ExpectedShapes = std::function<ShapeMap(int64_t num_tensors)>;

// Reads the tensors that `expected` names, converted to `dtype`, from FOLDER/model.safetensors or else from the shards
// that FOLDER/model.safetensors.index.json lists. Where `tied` is not empty, `tied.first` may also be there, if it
// equals `tied.second`; so may frequencies of a rotation, which are passed over. Throws DataError naming every missing
// and unexpected tensor, wrong shape and unknown dtype.
//
// Where `mapped` is not null, a tensor that the file has in `dtype` lies on the file's mapped bytes, if these are
// aligned: nothing may write to it, and the processes of a host share it. The files of such tensors go to `mapped`.
// All others are copied, one at a time: the file and the copies are never in memory as a whole.
TensorMap read_model_weights(const std::filesystem::path& folder, const ExpectedShapes& expected, at::ScalarType dtype,
                             const std::pair<std::string, std::string>& tied = {}, MappedFiles* mapped = nullptr);

// The same without the weights: only the headers are read.
void check_model_weights(const std::filesystem::path& folder, const ExpectedShapes& expected,
                         const std::pair<std::string, std::string>& tied = {});

// All tensors of one file as float32, and its metadata where `metadata` is not null.
TensorMap read_tensors(const std::filesystem::path& path, std::map<std::string, std::string>* metadata = nullptr);

// As read_tensors, but only those that `wanted` names, out of a file or of a model folder's files; the names of the
// others go to `unused`.
TensorMap read_wanted_tensors(const std::filesystem::path& path, const std::function<bool(const std::string&)>& wanted,
                              std::map<std::string, std::string>& metadata, std::vector<std::string>& unused);

// Throws DataError, starting with `where`, unless names and shapes are those expected. `hint` ends the message.
void check_names_and_shapes(const ShapeMap& actual, const ShapeMap& expected, const std::string& where,
                            const std::string& hint);

// Writes float tensors as a safetensors file, atomically, with metadata "format": "pt" and what is given.
void write_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                   std::map<std::string, std::string> metadata = {});

}  // namespace rosa::models
