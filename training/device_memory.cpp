#include "training/device_memory.h"

#include <c10/core/CachingDeviceAllocator.h>

namespace rosa::training {

std::optional<DeviceMemory> device_memory(at::Device device) {
  if (device.is_cpu()) return std::nullopt;
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  if (allocator == nullptr || !allocator->initialized()) return std::nullopt;
  const c10::CachingDeviceAllocator::DeviceStats statistics = allocator->getDeviceStats(device.index());
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return DeviceMemory{.allocated = statistics.allocated_bytes[kAll].current,
                      .reserved = statistics.reserved_bytes[kAll].current,
                      .peak = statistics.allocated_bytes[kAll].peak};
}

}  // namespace rosa::training
