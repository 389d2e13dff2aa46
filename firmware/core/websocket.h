/**
 * WebSocket frames (RFC 6455, section 5) from the client's side: what it sends is masked, what it reads is not.
 *
 * The reader is fed bytes as they come and holds one message and one control frame. A message that is larger than its
 * buffer is passed over to its end and reported: the connection goes on.
 */
#pragma once
#include "bytes.h"

namespace holdfast {

enum class Opcode : uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

constexpr size_t kMaxControlBytes = 125;
/** The longest header of a frame of less than 64 KiB from a client: 2, length 2, mask 4. */
constexpr size_t kClientHeaderBytes = 8;

/**
 * Makes a whole frame of a payload of less than 64 KiB that stands kClientHeaderBytes behind `room`, and masks it in
 * place. @returns where the frame begins, at or behind `room`
 */
uint8_t* makeClientFrame(uint8_t* room, size_t payloadBytes, Opcode opcode, uint32_t mask);

/** All bytes of the frame that makeClientFrame makes. */
constexpr size_t clientFrameBytes(size_t payloadBytes) {
  return payloadBytes + (payloadBytes < 126 ? 6 : 8);
}

enum class Incoming {
  /** All bytes were taken and nothing is complete. */
  nothing,
  message,
  /** A message that did not fit has been passed over. */
  tooLarge,
  ping,
  pong,
  close,
  /** It is no frame that a server may send; nothing can be read any more. */
  malformed,
};

class WebSocketReader {
 public:
  explicit WebSocketReader(Span buffer) : buffer_(buffer) {}

  void reset();

  /** Takes bytes up to the end of a frame that completes something. @param taken how many; call again with the rest */
  Incoming take(const uint8_t* data, size_t size, size_t& taken);

  /** What was completed; valid until the next `take`. */
  const uint8_t* payload() const { return isControl() ? control_ : buffer_.data; }
  size_t payloadBytes() const { return isControl() ? controlBytes_ : messageBytes_; }
  bool isText() const { return messageOpcode_ == Opcode::text; }

 private:
  bool isControl() const { return (header_[0] & 8) != 0; }
  size_t headerBytes() const;
  bool openFrame();
  void takePayload(const uint8_t* data, size_t size);
  Incoming closeFrame();

  Span buffer_;
  uint8_t header_[10] = {};
  size_t headerTaken_ = 0;
  bool inPayload_ = false;
  uint64_t left_ = 0;
  bool inMessage_ = false;
  bool overflow_ = false;
  bool malformed_ = false;
  Opcode messageOpcode_ = Opcode::binary;
  size_t messageBytes_ = 0;
  uint8_t control_[kMaxControlBytes] = {};
  size_t controlBytes_ = 0;
};

}  // namespace holdfast
