// What every collective asks of its arguments, whatever the backend.
#include "parallel/communicator.h"

namespace rosa::parallel {

using base::require;

void Communicator::check_tensor(const char* operation, const at::Tensor& tensor) const {
  require(tensor.defined(), operation, " on ", who(), ": got an undefined tensor");
  require(serves(tensor.device()), operation, " on ", who(), ": got a tensor on device ", tensor.device().str(),
          ", which the ", backend_name(), " communicator does not serve");
  require(tensor.layout() == at::kStrided && tensor.is_contiguous(), operation, " on ", who(),
          ": got a tensor of sizes ", tensor.sizes(), " that is not contiguous; call contiguous() first");
}

void Communicator::check_list(const char* operation, const char* which, const std::vector<at::Tensor>& tensors,
                              const at::Tensor& like) const {
  require(static_cast<int>(tensors.size()) == world_size(), operation, " on ", who(), ": got ", tensors.size(), " ",
          which, " tensors, expected one a rank (", world_size(), ")");
  for (const at::Tensor& tensor : tensors) {
    check_tensor(operation, tensor);
    require(tensor.scalar_type() == like.scalar_type() && tensor.device() == like.device(), operation, " on ", who(),
            ": got a ", which, " tensor of ", c10::toString(tensor.scalar_type()), " on ", tensor.device().str(),
            " beside one of ", c10::toString(like.scalar_type()), " on ", like.device().str());
  }
}

void Communicator::check_reducible(const char* operation, const at::Tensor& tensor) const {
  const at::ScalarType type = tensor.scalar_type();
  require(type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kInt || type == at::kLong ||
              type == at::kByte,
          operation, " on ", who(), ": got dtype ", c10::toString(type),
          ", expected float32, float64, bfloat16, int32, int64 or uint8");
}

void Communicator::check_root(const char* operation, int root) const {
  require(root >= 0 && root < world_size(), operation, " on ", who(), ": got root ", root, ", expected 0 to ",
          world_size() - 1);
}

}  // namespace rosa::parallel
