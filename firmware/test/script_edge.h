/**
 * An edge for the link's tests, behind a transport of memory: it answers the handshake, takes frames apart, and says
 * what the test tells it to. The connection gives and takes bytes in parts whose size the test chooses.
 */
#pragma once
#include <string>
#include <vector>

#include "../core/handshake.h"
#include "../core/record.h"
#include "../core/sha1.h"
#include "../core/transport.h"
#include "check.h"

namespace holdfast {

struct TakenRecord {
  uint64_t seq;
  Kind kind;
  std::string payload;
  double timeMs;
};

class ScriptEdge : public Transport {
 public:
  bool isReachable = true;
  /** What a connection that is let in is told first; empty: nothing. */
  std::string hello = "{\"device\":\"d-1\",\"window\":1048576}";
  /** Instead of the upgrade, where it is not empty. */
  std::string refusal;
  size_t partBytes = 1000;
  /** Bytes that the connection still takes. */
  size_t takes = SIZE_MAX;
  /** Every other write takes nothing. */
  bool stutters = false;

  int connects = 0;
  std::string request;
  std::vector<TakenRecord> records;
  /** Records of each frame. */
  std::vector<uint32_t> frames;
  int pings = 0;
  std::vector<std::string> pongs;
  int closes = 0;

  bool connect(const char*, uint16_t) override {
    connects++;
    in_.clear();
    outgoing_.clear();
    isOpen_ = isReachable;
    isUpgraded_ = false;
    frames.clear();
    return isReachable;
  }

  int32_t read(uint8_t* data, size_t size) override {
    if (outgoing_.empty()) return isOpen_ ? 0 : -1;
    size_t part = outgoing_.size() < size ? outgoing_.size() : size;
    if (part > partBytes) part = partBytes;
    memcpy(data, outgoing_.data(), part);
    outgoing_.erase(0, part);
    return static_cast<int32_t>(part);
  }

  int32_t write(const uint8_t* data, size_t size) override {
    if (!isOpen_) return -1;
    isStopped_ = stutters && !isStopped_;
    if (isStopped_) return 0;
    size_t part = size < partBytes ? size : partBytes;
    if (part > takes) part = takes;
    takes -= part;
    in_.append(reinterpret_cast<const char*>(data), part);
    if (isUpgraded_)
      takeFrames();
    else
      takeRequest();
    return static_cast<int32_t>(part);
  }

  void close() override { isOpen_ = false; }

  /** The connection breaks without a word. */
  void cut() { isOpen_ = false; }

  void say(uint8_t opcode, const std::string& payload) {
    outgoing_ += static_cast<char>(0x80 | opcode);
    if (payload.size() < 126) {
      outgoing_ += static_cast<char>(payload.size());
    } else {
      outgoing_ += static_cast<char>(126);
      outgoing_ += static_cast<char>(payload.size() >> 8);
      outgoing_ += static_cast<char>(payload.size());
    }
    outgoing_ += payload;
  }

  void sayDown(uint8_t type, uint64_t number, const std::string& json) {
    uint8_t header[16] = {type};
    putF64(header + 8, static_cast<double>(number));
    say(2, std::string(reinterpret_cast<char*>(header), sizeof header) + json);
  }

  void ack(uint64_t seq) { sayDown(1, seq, ""); }

  void sayClose(uint32_t code, const std::string& reason) {
    say(8, std::string{static_cast<char>(code >> 8), static_cast<char>(code)} + reason);
  }

  /** Bytes that are no frames. */
  void sayRaw(const std::string& bytes) { outgoing_ += bytes; }

 private:
  void takeRequest() {
    const size_t end = in_.find("\r\n\r\n");
    if (end == std::string::npos) return;
    request = in_.substr(0, end + 4);
    in_.erase(0, end + 4);
    if (!refusal.empty()) {
      outgoing_ += refusal;
      return;
    }
    isUpgraded_ = true;
    outgoing_ +=
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
        acceptOf(request) + "\r\nSec-WebSocket-Protocol: holdfast.v1.binary\r\n\r\n";
    if (!hello.empty()) sayDown(5, 0, hello);
  }

  static std::string acceptOf(const std::string& head) {
    const size_t at = head.find("Sec-WebSocket-Key: ") + 19;
    const std::string text = head.substr(at, 24) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t digest[kSha1Bytes];
    char accept[base64Length(kSha1Bytes) + 1];
    CHECK(sha1(reinterpret_cast<const uint8_t*>(text.data()), text.size(), digest));
    encodeBase64(digest, sizeof digest, accept);
    return accept;
  }

  void takeFrames() {
    for (;;) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(in_.data());
      if (in_.size() < 2) return;
      CHECK((bytes[0] & 0x80) != 0 && (bytes[1] & 0x80) != 0);
      size_t length = bytes[1] & 127;
      const size_t header = length == 126 ? 8 : 6;
      if (in_.size() < header) return;
      if (length == 126) length = static_cast<size_t>(bytes[2] << 8 | bytes[3]);
      if (in_.size() < header + length) return;
      std::string payload = in_.substr(header, length);
      for (size_t i = 0; i < length; i++) payload[i] = static_cast<char>(payload[i] ^ in_[header - 4 + (i & 3)]);
      const uint8_t opcode = bytes[0] & 15;
      in_.erase(0, header + length);
      takeFrame(opcode, payload);
    }
  }

  void takeFrame(uint8_t opcode, const std::string& payload) {
    if (opcode == 9) pings++;
    if (opcode == 10) pongs.push_back(payload);
    if (opcode == 8) closes++;
    if (opcode != 2) return;
    const auto* at = reinterpret_cast<const uint8_t*>(payload.data());
    const uint8_t* end = at + payload.size();
    uint32_t count = 0;
    for (; at < end; at += frameBytes(at), count++) {
      CHECK(frameBytes(at) > kFrameHeaderBytes && frameBytes(at) <= static_cast<size_t>(end - at));
      CHECK((getU32(at + 4) & 0xffffff00) == 0);
      records.push_back(
          {frameSeq(at), static_cast<Kind>(at[4]),
           std::string(reinterpret_cast<const char*>(at) + kFrameHeaderBytes, frameBytes(at) - kFrameHeaderBytes),
           frameTimeMs(at)});
    }
    frames.push_back(count);
  }

  std::string in_;
  std::string outgoing_;
  bool isOpen_ = false;
  bool isUpgraded_ = false;
  bool isStopped_ = false;
};

}  // namespace holdfast
