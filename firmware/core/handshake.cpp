#include "handshake.h"

#include <cstdio>
#include <cstring>

#include "bytes.h"
#include "sha1.h"

namespace holdfast {

namespace {

constexpr char kAcceptGuid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

bool isLetterOrDigit(char character) {
  return (character >= '0' && character <= '9') || (character >= 'A' && character <= 'Z') ||
         (character >= 'a' && character <= 'z');
}

/** Nothing that could end a header line. */
bool isHeaderText(const char* text) {
  for (; *text != '\0'; text++) {
    if (*text <= ' ' || *text > '~') return false;
  }
  return true;
}

}  // namespace

bool isDeviceId(const char* id) {
  if (!isLetterOrDigit(*id) || strlen(id) > kMaxIdCharacters) return false;
  for (; *id != '\0'; id++) {
    if (!isLetterOrDigit(*id) && strchr("._:-", *id) == nullptr) return false;
  }
  return true;
}

size_t Handshake::request(const EdgeAddress& address, Random& random, char* text, size_t size) {
  const char* token = address.token == nullptr ? "" : address.token;
  if (!isDeviceId(address.deviceId) || !isHeaderText(address.host) || !isHeaderText(token)) return 0;
  uint8_t nonce[16];
  for (size_t i = 0; i < sizeof nonce; i += 4) putU32(nonce + i, random.next());
  encodeBase64(nonce, sizeof nonce, key_);
  const bool hasToken = *token != '\0';
  const int length =
      snprintf(text, size,
               "GET /v1/devices/%s HTTP/1.1\r\nHost: %s:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n%s%s%s\r\n",
               address.deviceId, address.host, static_cast<unsigned>(address.port), key_, kSubprotocol,
               hasToken ? "Authorization: Bearer " : "", token, hasToken ? "\r\n" : "");
  return length > 0 && static_cast<size_t>(length) < size ? static_cast<size_t>(length) : 0;
}

bool Handshake::isAnswer(const HttpResponse& response) const {
  constexpr size_t kKeyCharacters = base64Length(16);
  uint8_t text[kKeyCharacters + sizeof kAcceptGuid - 1];
  memcpy(text, key_, kKeyCharacters);
  memcpy(text + kKeyCharacters, kAcceptGuid, sizeof kAcceptGuid - 1);
  uint8_t digest[kSha1Bytes];
  char accept[base64Length(kSha1Bytes) + 1];
  if (!sha1(text, sizeof text, digest)) return false;
  encodeBase64(digest, sizeof digest, accept);
  return response.isUpgrade() && !response.hasExtensions() && strcmp(response.accept(), accept) == 0 &&
         strcmp(response.protocol(), kSubprotocol) == 0;
}

}  // namespace holdfast
