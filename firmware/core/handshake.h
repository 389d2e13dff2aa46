/** The opening of a WebSocket (RFC 6455, section 4) at an edge: the request, and whether the answer is one to it. */
#pragma once
#include "base64.h"
#include "http_response.h"
#include "random.h"

namespace holdfast {

/** Where the edge is and who this device is; the texts stay the caller's. */
struct EdgeAddress {
  const char* host;
  uint16_t port;
  const char* deviceId;
  /** nullptr or empty: none, as for an edge that serves loopback only. */
  const char* token;
};

constexpr const char* kSubprotocol = "holdfast.v1.binary";
/** A device id as the edge takes it has at most so many characters. */
constexpr size_t kMaxIdCharacters = 128;

/** Whether the edge would take this id: ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$ */
bool isDeviceId(const char* id);

class Handshake {
 public:
  /** Writes the request. @returns its length; 0 where it does not fit, or the id or the token cannot be sent */
  size_t request(const EdgeAddress& address, Random& random, char* text, size_t size);

  /** Whether this 101 answers the request: key, subprotocol, and no extension, as none was offered. */
  bool isAnswer(const HttpResponse& response) const;

 private:
  char key_[base64Length(16) + 1] = {};
};

}  // namespace holdfast
