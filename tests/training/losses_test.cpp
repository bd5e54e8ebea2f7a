#include "training/losses.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "base/error.h"
#include "tests/support/counted_memory.h"

namespace rosa::training {
namespace {

struct Case {
  LossInput input;
  LossConfig config{.distill_alpha = 0.6, .temperature = 2.0, .chunk_tokens = 7};
};

Case random_case(uint64_t seed) {
  at::manual_seed(seed);
  Case c;
  c.input.student_hidden = at::randn({3, 11, 8}).set_requires_grad(true);
  c.input.student_lm_head = at::randn({23, 8}).set_requires_grad(true);
  c.input.teacher_hidden = at::randn({3, 11, 8});
  c.input.teacher_lm_head = at::randn({23, 8});
  c.input.labels = at::randint(0, 23, {3, 11});
  c.input.labels[1][4] = -100;
  c.input.labels.select(0, 2).narrow(0, 6, 5).fill_(-100);
  c.input.loss_weights = at::rand({3, 11});
  c.input.padding = at::zeros({3, 11}, at::kBool);
  c.input.padding.select(0, 2).narrow(0, 6, 5).fill_(true);
  return c;
}

// The formulas of LossConfig and divergence.h, with whole logits and autograd.
at::Tensor divergence_oracle(const LossConfig& config, const at::Tensor& teacher, const at::Tensor& student) {
  at::Tensor keep = at::ones_like(teacher, at::kBool);
  if (config.top_k > 0)
    keep = teacher.ge(std::get<0>(at::topk(teacher, config.top_k, -1)).select(-1, -1).unsqueeze(-1));
  const auto distribution = [&](const at::Tensor& logits) {
    const at::Tensor weights = (logits / config.temperature).exp() * keep;
    return weights / weights.sum(-1, true);
  };
  const auto kl = [&](const at::Tensor& a, const at::Tensor& b) {
    return at::where(keep, a * ((a / b).log()), at::zeros_like(a)).sum(-1);
  };
  const at::Tensor tiny = keep.logical_not() * 1e-30;  // where both are 0
  const at::Tensor p = distribution(teacher) + tiny, q = distribution(student) + tiny;
  const at::Tensor m = p * config.beta + q * (1 - config.beta);
  switch (config.divergence) {
    case Divergence::forward_kl:
      return kl(p, q);
    case Divergence::reverse_kl:
      return kl(q, p);
    case Divergence::jensen_shannon:
      return kl(p, m) * config.beta + kl(q, m) * (1 - config.beta);
  }
  return {};
}

at::Tensor oracle(const Case& c, double kl_count, double ce_count) {
  const double t = c.config.temperature;
  const auto logits = [](const at::Tensor& hidden, const at::Tensor& lm_head) {
    return at::matmul(hidden.to(at::kDouble), lm_head.t().to(at::kDouble));
  };
  const at::Tensor student = logits(c.input.student_hidden, c.input.student_lm_head);
  const at::Tensor teacher = logits(c.input.teacher_hidden, c.input.teacher_lm_head);
  const at::Tensor kl = divergence_oracle(c.config, teacher, student) * t * t;
  const at::Tensor kl_sum = (kl * c.input.padding.logical_not()).sum();
  const at::Tensor labels = c.input.labels.narrow(1, 1, 10);
  const at::Tensor counted = labels.ne(-100);
  const at::Tensor log_s = at::log_softmax(student, -1).narrow(1, 0, 10);
  const at::Tensor ce = -log_s.gather(2, labels.clamp_min(0).unsqueeze(2)).squeeze(2);
  const at::Tensor ce_sum = (ce * counted * c.input.loss_weights.narrow(1, 1, 10)).sum();
  return kl_sum * (c.config.distill_alpha / kl_count) + ce_sum * ((1 - c.config.distill_alpha) / ce_count);
}

TEST(Losses, EqualTheOracleWithGradients) {
  struct Setting {
    Divergence divergence;
    double beta;
    int64_t top_k;
  };
  for (const Setting& setting :
       {Setting{Divergence::forward_kl, 0.5, 0}, Setting{Divergence::forward_kl, 0.5, 5},
        Setting{Divergence::reverse_kl, 0.5, 0}, Setting{Divergence::reverse_kl, 0.5, 2},
        Setting{Divergence::jensen_shannon, 0.1, 0}, Setting{Divergence::jensen_shannon, 0.9, 0},
        Setting{Divergence::jensen_shannon, 0.3, 7}}) {
    Case c = random_case(1);
    c.config.divergence = setting.divergence;
    c.config.beta = setting.beta;
    c.config.top_k = setting.top_k;
    SCOPED_TRACE(divergence_text(c.config));
    const Loss loss = distillation_loss(c.input, c.config, 50.0, 40.0);
    torch::autograd::backward({loss.value}, {});
    const at::Tensor grad_hidden = c.input.student_hidden.grad().clone();
    const at::Tensor grad_head = c.input.student_lm_head.grad().clone();
    c.input.student_hidden.mutable_grad().reset();
    c.input.student_lm_head.mutable_grad().reset();
    const at::Tensor expected = oracle(c, 50.0, 40.0);
    torch::autograd::backward({expected}, {});
    EXPECT_NEAR(loss.value.item<double>(), expected.item<double>(), 1e-6 * std::max(1.0, expected.item<double>()));
    EXPECT_LE((grad_hidden - c.input.student_hidden.grad()).abs().max().item<double>(), 1e-6);
    EXPECT_LE((grad_head - c.input.student_lm_head.grad()).abs().max().item<double>(), 1e-6);
  }
}

// What the header says of the ends of beta: divided by it, Jensen-Shannon nears the one or the other KL.
TEST(Losses, JensenShannonLiesBetweenBothKls) {
  at::manual_seed(8);
  const at::Tensor log_p = at::log_softmax(at::randn({4, 9}, at::kDouble), 1);
  const at::Tensor log_q = at::log_softmax(at::randn({4, 9}, at::kDouble), 1);
  const auto rows = [&](Divergence divergence, double beta) {
    return divergence_rows(divergence, beta, log_p, log_q, /*need_gradient=*/true);
  };
  const DivergenceRows forward = rows(Divergence::forward_kl, 0), reverse = rows(Divergence::reverse_kl, 0);
  const DivergenceRows low = rows(Divergence::jensen_shannon, 1e-5), high = rows(Divergence::jensen_shannon, 1 - 1e-5);
  EXPECT_TRUE(at::allclose(low.value * 1e5, forward.value, 1e-3, 1e-4));
  EXPECT_TRUE(at::allclose(low.gradient * 1e5, forward.gradient, 1e-3, 1e-4));
  EXPECT_TRUE(at::allclose(high.value * 1e5, reverse.value, 1e-3, 1e-4));
  EXPECT_TRUE(at::allclose(high.gradient * 1e5, reverse.gradient, 1e-3, 1e-4));
  EXPECT_FALSE(at::allclose(forward.value, reverse.value, 1e-2, 1e-3));
}

// What the student gives to tokens outside of the teacher's top_k is neither seen nor pushed.
TEST(Losses, TopKLeavesOtherTokensAlone) {
  Case c = random_case(9);
  c.config = {.distill_alpha = 1.0, .top_k = 4, .chunk_tokens = 7};
  c.input.student_hidden = at::eye(23).narrow(0, 0, 22).reshape({2, 11, 23}).set_requires_grad(true);
  c.input.student_lm_head = at::randn({23, 23});
  c.input.teacher_hidden = c.input.student_hidden.detach().clone();
  c.input.teacher_lm_head = c.input.student_lm_head + at::randn({23, 23});
  c.input.labels = at::zeros({2, 11}, at::kLong);
  c.input.padding = c.input.loss_weights = at::Tensor();
  const at::Tensor teacher = at::matmul(c.input.teacher_hidden, c.input.teacher_lm_head.t());
  const at::Tensor row = teacher.select(1, 0)[0];
  const at::Tensor outside = std::get<1>(row.topk(19, 0, /*largest=*/false));
  const double before = distillation_loss(c.input, c.config, 1, 1).sequences[0].kl;
  c.input.student_lm_head = c.input.student_lm_head.clone();
  c.input.student_lm_head.select(1, 0).index_add_(0, outside, at::full({19}, 5.0));  // of position 0 only
  EXPECT_EQ(distillation_loss(c.input, c.config, 1, 1).sequences[0].kl, before);
  c.config.top_k = 0;
  EXPECT_NE(distillation_loss(c.input, c.config, 1, 1).sequences[0].kl, before);
}

TEST(Losses, CountsLeaveOutPaddingIgnoredAndFirstLabels) {
  Case c = random_case(2);
  c.input.loss_weights = at::Tensor();
  const LossSums counts = count_tokens(c.input, 23);
  EXPECT_EQ(counts.kl_count, 33 - 5);
  EXPECT_EQ(counts.ce_count, 3 * 10 - 1 - 5);
}

// Position t-1 has a part in the KL where the mask counts token t: what is left out gives neither value nor gradient.
TEST(Losses, TheMaskLeavesPositionsOutOfTheKl) {
  Case c = random_case(6);
  c.config.distill_alpha = 1.0;
  c.config.temperature = 1.0;
  c.input.padding = at::Tensor();
  c.input.kl_mask = at::zeros({3, 11}, at::kBool);
  c.input.kl_mask[0][0] = true;  // nothing before it predicts it
  c.input.kl_mask[1][5] = true;
  c.input.kl_mask[2][10] = true;
  EXPECT_EQ(count_tokens(c.input, 23).kl_count, 2);
  const Loss loss = distillation_loss(c.input, c.config, 2.0, 0.0);
  torch::autograd::backward({loss.value}, {});
  const at::Tensor log_p = at::log_softmax(at::matmul(c.input.teacher_hidden, c.input.teacher_lm_head.t()), -1);
  const at::Tensor log_q = at::log_softmax(at::matmul(c.input.student_hidden, c.input.student_lm_head.t()), -1);
  const at::Tensor kl = (log_p.exp() * (log_p - log_q)).sum(-1);
  EXPECT_NEAR(loss.value.item<double>(), (kl[1][4] + kl[2][9]).item<double>() / 2, 1e-6);
  at::Tensor gradients = c.input.student_hidden.grad().abs().sum(-1);
  EXPECT_GT(gradients[1][4].item<double>(), 0);
  EXPECT_GT(gradients[2][9].item<double>(), 0);
  gradients[1][4] = 0;
  gradients[2][9] = 0;
  EXPECT_EQ(gradients.sum().item<double>(), 0);
}

TEST(Losses, PaddingIsLeftOutWhateverTheMaskSays) {
  Case c = random_case(7);
  c.input.kl_mask = at::ones({3, 11}, at::kBool);
  EXPECT_EQ(count_tokens(c.input, 23).kl_count, 3 * 10 - 4);  // the last position of a row predicts nothing
}

TEST(Losses, TheChunkSizeChangesNothing) {
  Case c = random_case(3);
  c.config.chunk_tokens = 1000;
  const Loss whole = distillation_loss(c.input, c.config, 50.0, 40.0);
  c.config.chunk_tokens = 4;
  const Loss chunks = distillation_loss(c.input, c.config, 50.0, 40.0);
  EXPECT_NEAR(whole.value.item<double>(), chunks.value.item<double>(), 1e-7);
}

// A vocabulary of which a block holds three rows, so that a chunk ends inside a block.
TEST(Losses, BlocksOfAChunkChangeNothing) {
  at::manual_seed(9);
  const int64_t vocabulary_size = kLossBlockBytes / 12;
  ASSERT_EQ(loss_block_rows(vocabulary_size), 3);
  LossInput input;
  input.student_hidden = at::randn({1, 7, 4}).set_requires_grad(true);
  input.student_lm_head = at::randn({vocabulary_size, 4}).set_requires_grad(true);
  input.teacher_hidden = at::randn({1, 7, 4});
  input.teacher_lm_head = at::randn({vocabulary_size, 4});
  input.labels = at::randint(0, vocabulary_size, {1, 7});
  const LossConfig config{.distill_alpha = 0.6, .temperature = 2.0};
  const at::Tensor value = distillation_loss(input, config, 7.0, 6.0).value;
  const auto gradients = torch::autograd::grad({value}, {input.student_hidden, input.student_lm_head});
  const at::Tensor student = at::matmul(input.student_hidden[0], input.student_lm_head.t());
  const at::Tensor teacher = at::matmul(input.teacher_hidden[0], input.teacher_lm_head.t());
  const at::Tensor whole =
      0.6 / 7.0 * 4.0 * divergence_oracle(config, teacher, student).sum() +
      0.4 / 6.0 *
          student.log_softmax(1).narrow(0, 0, 6).gather(1, input.labels[0].narrow(0, 1, 6).unsqueeze(1)).sum().neg();
  const auto expected = torch::autograd::grad({whole}, {input.student_hidden, input.student_lm_head});
  EXPECT_NEAR(value.item<double>(), whole.item<double>(), 1e-4);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(at::allclose(gradients[i], expected[i], 1e-4, 1e-6)) << i;
  }
}

TEST(Losses, ALabelBeyondTheVocabularyIsNamed) {
  Case c = random_case(4);
  c.input.labels[1][7] = 23;
  try {
    count_tokens(c.input, 23);
    FAIL() << "no error";
  } catch (const base::DataError& error) {
    EXPECT_NE(std::string(error.what()).find("label 23 at sequence 1, position 7"), std::string::npos) << error.what();
  }
}

// Bytes that one loss adds to its inputs, at most.
int64_t added_bytes(const LossConfig& config) {
  at::manual_seed(5);
  LossInput input;
  input.student_hidden = at::randn({2, 1024, 16}).set_requires_grad(true);
  input.student_lm_head = at::randn({20000, 16});
  input.teacher_hidden = at::randn({2, 1024, 16});
  input.teacher_lm_head = input.student_lm_head;
  input.labels = at::randint(0, 20000, {2, 1024});
  const testing::CountedMemory memory;
  const Loss loss = distillation_loss(input, config, 2048, 2046);
  torch::autograd::backward({loss.value}, {});
  return memory.peak_bytes();
}

TEST(Losses, LogitsExistOfOneChunkAndWhatIsMadeOfThemOfOneBlock) {
  const int64_t row = 20000 * 4, blocks = 10 * kLossBlockBytes;
  EXPECT_GT(added_bytes({.distill_alpha = 0.5, .chunk_tokens = 2048}), 2 * 2048 * row);  // the measurement sees them
  EXPECT_LT(added_bytes({.distill_alpha = 0.5, .chunk_tokens = 64}), 2 * 64 * row + blocks);
  EXPECT_LT(added_bytes({.distill_alpha = 0.5, .chunk_bytes = 64 * row + 1}), 2 * 64 * row + blocks);
  EXPECT_GT(added_bytes({.distill_alpha = 0.5, .chunk_bytes = 512 * row}), 2 * 512 * row);
}

TEST(Losses, AChunkHoldsAtLeastOneTokenAndCountsTheLogitsOwnBytes) {
  const LossConfig config{.chunk_bytes = 1 << 20};
  EXPECT_EQ(config.tokens_at_once(1 << 10, 4), 256);
  EXPECT_EQ(config.tokens_at_once(1 << 10, 2), 512);
  EXPECT_EQ(config.tokens_at_once(int64_t{1} << 40, 4), 1);
}

}  // namespace
}  // namespace rosa::training
