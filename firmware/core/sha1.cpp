#include "sha1.h"

#include <cstring>

namespace holdfast {

namespace {

constexpr size_t kBlockBytes = 64;

uint32_t rotate(uint32_t value, int bits) {
  return value << bits | value >> (32 - bits);
}

void expand(const uint8_t* block, uint32_t (&words)[80]) {
  for (int i = 0; i < 16; i++) {
    words[i] = static_cast<uint32_t>(block[4 * i]) << 24 | static_cast<uint32_t>(block[4 * i + 1]) << 16 |
               static_cast<uint32_t>(block[4 * i + 2]) << 8 | static_cast<uint32_t>(block[4 * i + 3]);
  }
  for (int i = 16; i < 80; i++) words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
}

uint32_t mix(int round, uint32_t b, uint32_t c, uint32_t d) {
  if (round < 20) return ((b & c) | (~b & d)) + 0x5a827999;
  if (round < 40) return (b ^ c ^ d) + 0x6ed9eba1;
  if (round < 60) return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
  return (b ^ c ^ d) + 0xca62c1d6;
}

void addBlock(uint32_t (&state)[5], const uint8_t* block) {
  uint32_t words[80];
  expand(block, words);
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (int i = 0; i < 80; i++) {
    const uint32_t next = rotate(a, 5) + mix(i, b, c, d) + e + words[i];
    e = d;
    d = c;
    c = rotate(b, 30);
    b = a;
    a = next;
  }
  const uint32_t sums[5] = {a, b, c, d, e};
  for (int i = 0; i < 5; i++) state[i] += sums[i];
}

}  // namespace

bool sha1(const uint8_t* data, size_t size, uint8_t (&digest)[kSha1Bytes]) {
  uint8_t padded[2 * kBlockBytes] = {};
  const size_t blocks = size + 9 <= kBlockBytes ? 1 : 2;
  const size_t end = blocks * kBlockBytes;
  if (size + 9 > end) return false;
  memcpy(padded, data, size);
  padded[size] = 0x80;
  padded[end - 2] = static_cast<uint8_t>(size * 8 >> 8);
  padded[end - 1] = static_cast<uint8_t>(size * 8);
  uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (size_t at = 0; at < end; at += kBlockBytes) addBlock(state, padded + at);
  for (size_t i = 0; i < kSha1Bytes; i++) digest[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return true;
}

}  // namespace holdfast
