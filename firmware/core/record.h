/**
 * A record as a binary frame of the device protocol, little-endian:
 *
 *   0 u32 size of what follows   4 u8 kind   5 u8[3] 0   8 f64 seq   16 f64 time, ms since 1970   24 payload, JSON
 *
 * In the page, in flash and on the wire it is the same bytes; in the log a CRC stands before it.
 */
#pragma once
#include "bytes.h"

namespace holdfast {

enum class Kind : uint8_t { telemetry = 1, report = 2, result = 3 };

constexpr size_t kFrameHeaderBytes = 24;
constexpr size_t kSizeFieldBytes = 4;

inline void putFrameHeader(uint8_t* at, Kind kind, uint64_t seq, double timeMs, size_t payloadBytes) {
  putU32(at, static_cast<uint32_t>(kFrameHeaderBytes - kSizeFieldBytes + payloadBytes));
  putU32(at + 4, static_cast<uint32_t>(kind));
  putF64(at + 8, static_cast<double>(seq));
  putF64(at + 16, timeMs);
}

/** All bytes of the frame that starts at `at`, as its size field says. */
inline size_t frameBytes(const uint8_t* at) {
  return static_cast<size_t>(getU32(at)) + kSizeFieldBytes;
}

inline uint64_t frameSeq(const uint8_t* at) {
  return getSeq(at + 8);
}

inline double frameTimeMs(const uint8_t* at) {
  return getF64(at + 16);
}

}  // namespace holdfast
