// The forms of the channel flips on processors other than x86-64.
#include "rosa/kernels/channel_flips_variants.h"

namespace rosa::kernels {

ChannelFlipsVariants channel_flips_variants() {
  return {{{"portable", portable::list_changes, portable::sum_rewards}, {}, {}}, 1};
}

}  // namespace rosa::kernels
