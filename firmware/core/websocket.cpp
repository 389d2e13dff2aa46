#include "websocket.h"

namespace holdfast {

namespace {
constexpr uint8_t kFinal = 0x80;
constexpr uint8_t kMasked = 0x80;
constexpr uint8_t kReserved = 0x70;
}  // namespace

uint8_t* makeClientFrame(uint8_t* room, size_t payloadBytes, Opcode opcode, uint32_t mask) {
  uint8_t* payload = room + kClientHeaderBytes;
  uint8_t* frame = payload - (clientFrameBytes(payloadBytes) - payloadBytes);
  frame[0] = static_cast<uint8_t>(kFinal | static_cast<uint8_t>(opcode));
  if (payloadBytes < 126) {
    frame[1] = static_cast<uint8_t>(kMasked | payloadBytes);
  } else {
    frame[1] = kMasked | 126;
    frame[2] = static_cast<uint8_t>(payloadBytes >> 8);
    frame[3] = static_cast<uint8_t>(payloadBytes);
  }
  uint8_t* key = payload - 4;
  putU32(key, mask);
  for (size_t i = 0; i < payloadBytes; i++) payload[i] ^= key[i & 3];
  return frame;
}

void WebSocketReader::reset() {
  const Span buffer = buffer_;
  *this = WebSocketReader(buffer);
}

Incoming WebSocketReader::take(const uint8_t* data, size_t size, size_t& taken) {
  taken = 0;
  while (!malformed_ && (taken < size || (inPayload_ && left_ == 0))) {
    if (!inPayload_) {
      header_[headerTaken_++] = data[taken++];
      if (headerTaken_ == headerBytes()) malformed_ = !openFrame();
      continue;
    }
    const size_t there = size - taken;
    const size_t part = left_ < there ? static_cast<size_t>(left_) : there;
    takePayload(data + taken, part);
    taken += part;
    left_ -= part;
    if (left_ > 0) continue;
    const Incoming incoming = closeFrame();
    if (incoming != Incoming::nothing) return incoming;
  }
  return malformed_ ? Incoming::malformed : Incoming::nothing;
}

/** Of the header that is being read, as far as it can be known from its first two bytes. */
size_t WebSocketReader::headerBytes() const {
  if (headerTaken_ < 2) return 2;
  const uint8_t length = header_[1] & 127;
  return length < 126 ? 2 : length == 126 ? 4 : 10;
}

bool WebSocketReader::openFrame() {
  uint64_t length = header_[1] & 127;
  const size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (extended > 0) length = 0;
  for (size_t i = 0; i < extended; i++) length = length << 8 | header_[2 + i];
  if ((header_[0] & kReserved) != 0 || (header_[1] & kMasked) != 0 || (length >> 63) != 0) return false;
  const auto opcode = static_cast<Opcode>(header_[0] & 15);
  if (isControl()) {
    if ((header_[0] & kFinal) == 0 || length > kMaxControlBytes || opcode > Opcode::pong) return false;
    controlBytes_ = 0;
  } else {
    if (opcode > Opcode::binary || (opcode == Opcode::continuation) != inMessage_) return false;
    if (!inMessage_) {
      messageOpcode_ = opcode;
      messageBytes_ = 0;
      overflow_ = false;
      inMessage_ = true;
    }
  }
  left_ = length;
  inPayload_ = true;
  return true;
}

void WebSocketReader::takePayload(const uint8_t* data, size_t size) {
  if (size == 0) return;
  if (isControl()) {
    memcpy(control_ + controlBytes_, data, size);
    controlBytes_ += size;
    return;
  }
  overflow_ = overflow_ || size > buffer_.size - messageBytes_;
  if (overflow_) return;
  memcpy(buffer_.data + messageBytes_, data, size);
  messageBytes_ += size;
}

Incoming WebSocketReader::closeFrame() {
  inPayload_ = false;
  headerTaken_ = 0;
  if (isControl()) {
    const auto opcode = static_cast<Opcode>(header_[0] & 15);
    return opcode == Opcode::ping ? Incoming::ping : opcode == Opcode::pong ? Incoming::pong : Incoming::close;
  }
  if ((header_[0] & kFinal) == 0) return Incoming::nothing;
  inMessage_ = false;
  return overflow_ ? Incoming::tooLarge : Incoming::message;
}

}  // namespace holdfast
