// CRC-32C (Castagnoli), as TFRecord files, iSCSI and others have it. To find damaged files: base/checksum.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace rosa::base {

uint32_t crc32c(std::string_view bytes);

}  // namespace rosa::base
