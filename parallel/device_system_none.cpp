// The form of builds without CUDA: no GPU is ever seen.
#include "parallel/device.h"

namespace rosa::parallel {

DeviceSystem find_device_system() { return {}; }

}  // namespace rosa::parallel
