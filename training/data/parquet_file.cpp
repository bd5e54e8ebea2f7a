#include "training/data/parquet_file.h"

#include <dlfcn.h>

#include <system_error>
#include <utility>

#include "base/error.h"

namespace rosa::training {
namespace {

using base::ConfigError;

// It stays loaded.
OpenParquet* load(const std::filesystem::path& library, const std::filesystem::path& input) {
  std::error_code ignored;
  base::require<ConfigError>(std::filesystem::exists(library, ignored), "'", input.string(),
                             "' is a Parquet file, and this rosa was built without Apache Arrow, which reads them: "
                             "launch/setup.sh builds with "
                             "it, and so does CMake with -DROSA_ARROW=FOLDER, the folder of PyPI's pyarrow");
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* function = handle != nullptr ? dlsym(handle, kOpenParquet) : nullptr;
  if (function == nullptr) {
    const char* reason = dlerror();
    throw ConfigError(base::concat("'", input.string(), "' is a Parquet file, and what reads them can't be loaded (",
                                   reason != nullptr ? reason : "no reason given",
                                   "): build rosa again, or put libarrow.so and libparquet.so beside ",
                                   library.string()));
  }
  return reinterpret_cast<OpenParquet*>(function);
}

}  // namespace

std::unique_ptr<ParquetFile> open_parquet(const std::filesystem::path& library, const ParquetColumn& column,
                                          std::shared_ptr<const PackInput> input) {
  OpenParquet* open = load(library, input->path);
  return std::unique_ptr<ParquetFile>(open(column, std::move(input)));
}

}  // namespace rosa::training
