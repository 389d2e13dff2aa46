/** SHA-1 (RFC 3174), for the one thing that still wants it: the key of the WebSocket handshake. Not for secrets. */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

constexpr size_t kSha1Bytes = 20;

/** Of at most 119 bytes, two blocks: the handshake hashes 60. @returns false where there are more */
bool sha1(const uint8_t* data, size_t size, uint8_t (&digest)[kSha1Bytes]);

}  // namespace holdfast
