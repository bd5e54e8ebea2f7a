#include "training/plan/memory.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "models/causal_model.h"
#include "parallel/flat_layout.h"
#include "parallel/micro_batch_tree.h"
#include "training/alignment.h"
#include "training/backward_order.h"
#include "training/optimizer.h"
#include "training/plan/activations.h"
#include "training/plan/gradient_flow.h"
#include "training/plan/sizes.h"
#include "training/plan/wire.h"

namespace rosa::training {
namespace {

// Measured on the CPU build: the resident memory of a rank that trains a model of no size.
constexpr int64_t kProcessBytes = int64_t{140} << 20;
// What the allocator holds beside the tensors of a step, as shares of their activations: more where a layer is run
// again, which allocates and frees more often.
constexpr double kHoles = 0.55, kHolesOfCheckpointing = 0.9;
// A CUDA context with its libraries, on the GPU and on the host. Not measured by this project's tests.
constexpr int64_t kDeviceContextBytes = int64_t{500} << 20;
// Workspace of a matcher, at most, a symbol (rosa/automaton/matcher.h).
constexpr int64_t kMatcherBytes = 150;

int64_t element_bytes_of_teacher(const RunConfig& config) { return teacher_dtype(config) == "bfloat16" ? 2 : 4; }

class MemoryPlanner {
 public:
  explicit MemoryPlanner(const MemoryInput& input)
      : input_(input), config_(input.config), sizes_(input.config, input.objective, input.model) {}

  MemoryPlan plan() const {
    MemoryPlan plan;
    plan.on_gpu = input_.on_gpu;
    // All weights are read before a rank keeps its part.
    plan.loading = {.process = kProcessBytes, .mapped = all_mapped(), .base = all_base() + input_.largest_tensor_bytes};
    const MemoryKinds rest = persistent();
    const ActivationBytes activations = of_micro_batch();
    plan.loss = plan.backward = rest;
    plan.loss.activations = activations.kept;
    plan.loss.loss = activations.loss;
    plan.backward.activations = activations.kept + activations.backward;
    plan.backward.loss = activations.after_loss;
    for (MemoryKinds* kinds : {&plan.loss, &plan.backward}) kinds->allocator = holes(plan.backward.activations);
    plan.saving = saved_bytes() / input_.world_size;
    return plan;
  }

 private:
  bool is_run_again() const {
    return config_.train.activation_checkpointing != models::ActivationCheckpointing::none ||
           config_.train.sequence_chunk > 0;
  }

  int64_t holes(int64_t activations) const {
    if (input_.on_gpu) return 0;
    const double share = is_run_again() ? kHolesOfCheckpointing : kHoles;
    return static_cast<int64_t>(share * static_cast<double>(activations));
  }

  MemoryKinds persistent() const {
    MemoryKinds kinds;
    const parallel::FlatLayout layout = sizes_.layout(input_.world_size);
    const int64_t flat_bytes = layout.length() * static_cast<int64_t>(sizeof(float));
    const bool is_fast = parallel::reduction_mode(config_.parallel, input_.on_gpu) == parallel::ReductionMode::fast;
    kinds.process = kProcessBytes + (input_.on_gpu ? kDeviceContextBytes : 0);
    kinds.data = input_.data_bytes;
    kinds.mapped = mapped();
    kinds.base = base();
    kinds.adapters = sizes_.adapter_bytes();
    kinds.gradients = flat_bytes * (is_fast ? 1 : num_tree_buffers());
    kinds.optimizer = moments(layout);
    kinds.automata = automata();
    kinds.staging = input_.on_gpu ? staging() : 0;
    kinds.communication = communication(layout, is_fast);
    return kinds;
  }

  // The leaf under way beside the complete subtrees before it, on the rank that has most of them.
  int64_t num_tree_buffers() const {
    int64_t most = 1;
    const int64_t run = config_.train.micro_batches / input_.world_size;
    for (int64_t rank = 0; rank < input_.world_size; ++rank) {
      const int64_t first = rank * run;
      for (int64_t i = 0; i < run; ++i) {
        const auto nodes = parallel::maximal_subtrees(first, first + i);
        most = std::max(most, static_cast<int64_t>(nodes.size()) + 1);
      }
    }
    return most;
  }

  int64_t moments(const parallel::FlatLayout& layout) const {
    const bool sharded = config_.parallel.sharded_optimizer && input_.world_size > 1;
    int64_t most = 0;
    for (int rank = 0; rank < (sharded ? input_.world_size : 1); ++rank) {
      int64_t elements = 0;
      for (const auto& piece : sharded ? layout.pieces_of_rank(rank) : layout.whole_tensors()) elements += piece.size();
      most = std::max(most, elements);
    }
    return 2 * most * static_cast<int64_t>(sizeof(float));
  }

  // One bucket at a time: parts of the other ranks, or what of it is sent in another dtype.
  int64_t communication(const parallel::FlatLayout& layout, bool is_fast) const {
    if (input_.world_size == 1) return 0;
    int64_t largest = 0;
    for (size_t bucket = 0; bucket < layout.num_buckets(); ++bucket) {
      largest = std::max(largest, layout.bucket(bucket).size());
    }
    return largest * (is_fast && config_.parallel.wire_dtype == "bfloat16" ? 2 : int64_t{sizeof(float)});
  }

  int64_t longest() const { return sizes_.longest_sequence(); }

  int64_t automata() const {
    if (input_.objective == Objective::pretrain) return 0;
    return (input_.automaton_threads + 1) * longest() * kMatcherBytes;
  }

  // Of one call at a time: symbols of queries, keys and values, and what comes back.
  int64_t staging() const {
    if (input_.objective == Objective::pretrain) return 0;
    const models::AdapterConfig& adapter = *sizes_.adapter();
    const auto bytes = [](int64_t bits) { return bits <= 8 ? 1 : static_cast<int64_t>(sizeof(int64_t)); };
    const int64_t keys = bytes(adapter.query_key_bits), values = bytes(adapter.value_bits);
    const int64_t a_token = adapter.num_heads * (keys + values + 1) + adapter.num_key_value_heads * (keys + values);
    return config_.train.micro_batch_sequences * longest() * a_token;
  }

  // Of adapters or model, and both moments.
  int64_t saved_bytes() const {
    const int64_t beside = sizes_.num_trained_base() * static_cast<int64_t>(sizeof(float));
    const int64_t weights =
        input_.objective == Objective::pretrain ? sizes_.base_bytes() : sizes_.adapter_bytes() + beside;
    return weights + 2 * sizes_.num_trained() * static_cast<int64_t>(sizeof(float));
  }

  int64_t mapped() const {
    if (input_.sharing_ranks == 1) return all_mapped();
    return all_mapped() - (input_.maps_base ? shared_bytes() : 0) -
           (input_.maps_teacher ? shared_bytes_of_teacher() : 0);
  }

  // Where the layers are shared out: a part of all, and two whole ones at a time.
  int64_t base() const {
    if (input_.sharing_ranks == 1) return all_base();
    const int64_t given_up =
        (input_.maps_base ? 0 : shared_bytes()) + (input_.maps_teacher ? 0 : shared_bytes_of_teacher());
    int64_t held = held_bytes(shared_bytes(), input_.model);
    if (input_.own_teacher != nullptr) held += held_bytes(shared_bytes_of_teacher(), *input_.own_teacher);
    return all_base() - given_up + held;
  }

  int64_t held_bytes(int64_t shared, const models::ModelConfig& model) const {
    return shared / input_.sharing_ranks + 2 * shared / model.num_hidden_layers;
  }

  int64_t shared_bytes() const { return num_projection_weights(input_.model) * element_bytes(); }

  int64_t shared_bytes_of_teacher() const {
    if (input_.own_teacher == nullptr) return 0;
    return num_projection_weights(*input_.own_teacher) * element_bytes_of_teacher(config_);
  }

  int64_t element_bytes() const { return config_.model.compute_dtype == "bfloat16" ? 2 : 4; }

  int64_t all_mapped() const {
    return (input_.maps_base ? sizes_.num_base() * element_bytes() : 0) + (input_.maps_teacher ? teacher_bytes() : 0);
  }

  // Of a mapped base only what is trained is copied.
  int64_t all_base() const {
    const int64_t of_base =
        input_.maps_base ? sizes_.num_trained_base() * static_cast<int64_t>(sizeof(float)) : sizes_.base_bytes();
    return of_base + (input_.maps_teacher ? 0 : teacher_bytes());
  }

  int64_t teacher_bytes() const {
    if (input_.own_teacher == nullptr) return 0;
    return static_cast<int64_t>(models::num_parameters(*input_.own_teacher)) * element_bytes_of_teacher(config_);
  }

  ActivationBytes of_micro_batch() const {
    const LossConfig& loss = config_.loss;
    ActivationBytes all;
    if (loss.has_own_forward()) all = of_forward(/*is_fed=*/false, loss.has_fed_forward() ? 0 : num_aligned_layers());
    if (!loss.has_fed_forward()) return all;
    const ActivationBytes fed = of_forward(/*is_fed=*/true, num_aligned_layers());
    return {.kept = all.kept + fed.kept,
            .loss = std::max(all.loss, fed.loss),
            .backward = std::max(all.backward, fed.backward),
            .after_loss = std::max(all.after_loss, fed.after_loss)};
  }

  ActivationBytes of_forward(bool is_fed, int64_t num_aligned) const {
    const bool distills = input_.objective == Objective::distill;
    const GradientFlow flow = gradient_flow(input_.model, sizes_.adapter(), sizes_.trained(), is_fed);
    return activation_bytes(
        {.model = input_.model,
         .adapter = sizes_.adapter(),
         .flow = flow,
         .sequences = config_.train.micro_batch_sequences,
         .length = longest(),
         .sliding_window = distills ? config_.student.sliding_window : 0,
         .layer_windows =
             distills ? windows_of_layers(config_.student, input_.model.num_hidden_layers) : std::vector<int64_t>(),
         .sink_tokens = distills ? config_.student.sink_tokens : 0,
         .has_documents = config_.data.kind == DataKind::token_file && config_.data.packed_documents,
         .has_teacher = distills && config_.loss.has_teacher(),
         .teacher_state_bytes =
             input_.own_teacher == nullptr ? 0 : input_.own_teacher->hidden_size * element_bytes_of_teacher(config_),
         .checkpointing = config_.train.activation_checkpointing,
         .element_bytes = config_.model.compute_dtype == "bfloat16" ? 2 : 4,
         .lora_rank = config_.lora.rank,
         .chunk_tokens =
             config_.loss.tokens_at_once(input_.model.vocab_size, config_.model.compute_dtype == "bfloat16" ? 2 : 4),
         .has_logits = config_.loss.output > 0,
         .num_aligned_layers = num_aligned,
         .sequence_chunk = config_.train.sequence_chunk});
  }

  int64_t num_aligned_layers() const {
    if (config_.loss.alignment == 0) return 0;
    const std::vector<double> weights = alignment_weights(config_, input_.model.num_hidden_layers);
    return std::count_if(weights.begin(), weights.end(), [](double weight) { return weight > 0; });
  }

  const MemoryInput& input_;
  const RunConfig& config_;
  const RunSizes sizes_;
};

}  // namespace

int64_t MemoryKinds::total() const {
  return process + allocator + data + mapped + base + adapters + gradients + optimizer + activations + loss + automata +
         staging + communication;
}

const MemoryKinds& MemoryPlan::fullest_step() const { return loss.total() > backward.total() ? loss : backward; }

int64_t MemoryPlan::host_peak() const {
  if (!on_gpu) return std::max(loading.total(), fullest_step().total());
  const MemoryKinds& step = fullest_step();
  return std::max(loading.total(), step.process + step.data + step.automata + step.staging);
}

int64_t MemoryPlan::peak_of_ranks(int64_t ranks_of_host) const {
  const int64_t shared = fullest_step().mapped;
  return ranks_of_host * (host_peak() - shared) + shared;
}

int64_t MemoryPlan::device_peak() const {
  if (!on_gpu) return 0;
  const MemoryKinds& step = fullest_step();
  return kDeviceContextBytes + step.total() - step.process - step.data - step.automata - step.staging;
}

MemoryPlan plan_memory(const MemoryInput& input) { return MemoryPlanner(input).plan(); }

}  // namespace rosa::training
