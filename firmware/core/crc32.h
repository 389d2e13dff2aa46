/** CRC-32 (IEEE 802.3, reflected, as of zlib): finds what a torn write or an old flash cell has left. */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

/** Goes on from `before`, the checksum of the bytes before these; 0 at the start. */
uint32_t crc32(uint32_t before, const uint8_t* data, size_t size);

}  // namespace holdfast
