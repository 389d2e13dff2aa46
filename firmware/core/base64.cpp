#include "base64.h"

#include <cstring>

namespace holdfast {

namespace {
constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

void encodeBase64(const uint8_t* data, size_t size, char* text) {
  for (size_t at = 0; at < size; at += 3) {
    const size_t left = size - at;
    const uint32_t bits = static_cast<uint32_t>(data[at]) << 16 |
                          (left > 1 ? static_cast<uint32_t>(data[at + 1]) << 8 : 0) | (left > 2 ? data[at + 2] : 0u);
    *text++ = kAlphabet[bits >> 18];
    *text++ = kAlphabet[bits >> 12 & 63];
    *text++ = left > 1 ? kAlphabet[bits >> 6 & 63] : '=';
    *text++ = left > 2 ? kAlphabet[bits & 63] : '=';
  }
  *text = '\0';
}

bool isBase64Character(char character) {
  return character != '\0' && (strchr(kAlphabet, character) != nullptr || character == '=');
}

}  // namespace holdfast
