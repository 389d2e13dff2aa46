/** Numbers in memory, little-endian whatever the processor is. A double is the one number type of the wire (f64). */
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace holdfast {

/** Memory that somebody else owns. */
struct Span {
  uint8_t* data;
  size_t size;
};

inline void putU32(uint8_t* at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = static_cast<uint8_t>(value >> (8 * i));
}

inline uint32_t getU32(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8 | static_cast<uint32_t>(at[2]) << 16 |
         static_cast<uint32_t>(at[3]) << 24;
}

inline void putF64(uint8_t* at, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  putU32(at, static_cast<uint32_t>(bits));
  putU32(at + 4, static_cast<uint32_t>(bits >> 32));
}

inline double getF64(const uint8_t* at) {
  const uint64_t bits = static_cast<uint64_t>(getU32(at)) | static_cast<uint64_t>(getU32(at + 4)) << 32;
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/** The greatest whole number that a double holds exactly, and so the last seq. */
constexpr uint64_t kMaxSeq = (1ULL << 53) - 1;

/** Reads a seq; 0 where the bytes are no whole number from 1 to kMaxSeq. */
inline uint64_t getSeq(const uint8_t* at) {
  const double value = getF64(at);
  if (!(value >= 1 && value <= static_cast<double>(kMaxSeq))) return 0;
  const uint64_t seq = static_cast<uint64_t>(value);
  return static_cast<double>(seq) == value ? seq : 0;
}

}  // namespace holdfast
