/** The head of an HTTP/1.1 response, byte by byte and within bounds: what a WebSocket handshake needs of it. */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

class HttpResponse {
 public:
  enum class State { reading, done, malformed };

  void reset() { *this = HttpResponse(); }

  /** Takes one byte; after done or malformed no more. */
  State take(uint8_t byte);

  int status() const { return status_; }
  /** Retry-After in seconds; -1 where there is none that is a number. */
  int32_t retryAfterSeconds() const { return retryAfterSeconds_; }
  bool isUpgrade() const { return upgrade_ && connection_; }
  /** Empty where it was not said. */
  const char* accept() const { return accept_; }
  const char* protocol() const { return protocol_; }
  bool hasExtensions() const { return extensions_; }

 private:
  State takeLine();
  State takeStatus();
  State takeHeader();

  // A longer line is cut: none of those that count is so long.
  char line_[160] = {};
  size_t length_ = 0;
  uint32_t bytes_ = 0;
  State state_ = State::reading;
  bool upgrade_ = false;
  bool connection_ = false;
  bool extensions_ = false;
  int status_ = 0;
  int32_t retryAfterSeconds_ = -1;
  char accept_[32] = {};
  char protocol_[32] = {};
};

}  // namespace holdfast
