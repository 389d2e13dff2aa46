/** Base64 (RFC 4648, section 4), of the WebSocket handshake and of a certificate's text. */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

constexpr size_t base64Length(size_t bytes) {
  return (bytes + 2) / 3 * 4;
}

/** Writes base64Length(size) characters and a NUL. */
void encodeBase64(const uint8_t* data, size_t size, char* text);

bool isBase64Character(char character);

}  // namespace holdfast
