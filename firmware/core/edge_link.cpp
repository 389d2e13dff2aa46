#include "edge_link.h"

#include <cstdio>

namespace holdfast {

namespace {

/** From before the connection is made, which may take ten seconds itself. */
constexpr uint64_t kAnswerTimeoutMs = 20000;
/** A connection on which nothing came for so long is pinged, and after as long again taken for dead. */
constexpr uint64_t kSilenceMs = 15000;
/** Between attempts at an edge that refuses this device: half of it to all of it. */
constexpr uint32_t kRefusedWaitMs = 300000;
/** No edge may send a device away for longer. */
constexpr uint64_t kMaxRetryAfterMs = 3600000;
/** What the edge counts of a record beside its payload and its device's id. */
constexpr size_t kWindowOverheadBytes = 32;
constexpr size_t kReadBytes = 512;
/** Reads a poll does: what the edge says cannot keep the device from its own work. */
constexpr int kReads = 16;

}  // namespace

EdgeLink::EdgeLink(RecordLog& log, Transport& transport, Random& random, LinkEvents& events, Span out, Span in,
                   const LinkOptions& options)
    : log_(log),
      transport_(transport),
      random_(random),
      events_(events),
      out_(out),
      options_(options),
      backoff_(options.minBackoffMs, options.maxBackoffMs),
      reader_(in) {}

void EdgeLink::poll(uint64_t nowMs) {
  nowMs_ = nowMs;
  if (state_ == State::waiting) {
    if (nowMs >= retryAtMs_) connect();
    return;
  }
  receive();
  if (state_ == State::waiting) return;
  checkAlive();
  if (state_ != State::waiting && !flush()) end("the connection broke", 0, false);
  if (state_ == State::open) pump();
}

void EdgeLink::connect() {
  char* text = reinterpret_cast<char*>(out_.data);
  if (!transport_.connect(options_.edge.host, options_.edge.port)) {
    end("the edge cannot be reached", 0, false);
    return;
  }
  outAt_ = out_.data;
  outLeft_ = handshake_.request(options_.edge, random_, text, out_.size);
  controlLeft_ = 0;
  openedMs_ = heardMs_ = nowMs_;
  isPinged_ = false;
  response_.reset();
  reader_.reset();
  flight_.clear();
  state_ = State::answer;
  if (outLeft_ == 0) end("the device id, the host or the token cannot be sent", 0, true);
}

void EdgeLink::receive() {
  uint8_t bytes[kReadBytes];
  for (int reads = 0; reads < kReads && state_ != State::waiting; reads++) {
    const int32_t size = transport_.read(bytes, sizeof bytes);
    if (size == 0) return;
    if (size < 0) {
      end("the connection broke", 0, false);
      return;
    }
    heardMs_ = nowMs_;
    isPinged_ = false;
    if (state_ == State::answer)
      readAnswer(bytes, static_cast<size_t>(size));
    else
      takeIncoming(bytes, static_cast<size_t>(size));
  }
}

void EdgeLink::readAnswer(const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    const HttpResponse::State state = response_.take(data[i]);
    if (state == HttpResponse::State::malformed) {
      end("the answer is no HTTP", 0, false);
      return;
    }
    if (state == HttpResponse::State::reading) continue;
    judgeAnswer();
    // The edge's hello may be in the same packet.
    if (state_ == State::hello) takeIncoming(data + i + 1, size - i - 1);
    return;
  }
}

void EdgeLink::judgeAnswer() {
  const int status = response_.status();
  if (status == 101) {
    if (handshake_.isAnswer(response_))
      state_ = State::hello;
    else
      end("the answer is to another request", 0, false);
    return;
  }
  char reason[40];
  snprintf(reason, sizeof reason, "the edge answered %d", status);
  const int32_t seconds = response_.retryAfterSeconds();
  const bool isFinal = status >= 400 && status < 500 && status != 408 && status != 429;
  end(reason, seconds < 0 ? 0 : static_cast<uint64_t>(seconds) * 1000, isFinal);
}

void EdgeLink::takeIncoming(const uint8_t* data, size_t size) {
  size_t at = 0;
  while (at < size) {
    size_t taken = 0;
    const Incoming incoming = reader_.take(data + at, size - at, taken);
    at += taken;
    if (incoming == Incoming::nothing || !takeEvent(incoming)) return;
  }
}

/** @returns false where the session is over */
bool EdgeLink::takeEvent(Incoming incoming) {
  switch (incoming) {
    case Incoming::message:
      takeMessage();
      break;
    case Incoming::tooLarge:
      counts_.tooLarge++;
      break;
    case Incoming::ping:
      makeControl(Opcode::pong, reader_.payload(), reader_.payloadBytes());
      break;
    case Incoming::close:
      closed();
      break;
    case Incoming::malformed:
      end("the edge sent what is no frame", 0, false);
      break;
    case Incoming::pong:
    case Incoming::nothing:
      break;
  }
  return state_ != State::waiting;
}

void EdgeLink::checkAlive() {
  if (state_ != State::open) {
    if (nowMs_ - openedMs_ > kAnswerTimeoutMs) end("the edge does not answer", 0, false);
    return;
  }
  if (nowMs_ - heardMs_ < kSilenceMs) return;
  if (nowMs_ - heardMs_ > 2 * kSilenceMs) {
    end("the edge is silent", 0, false);
  } else if (!isPinged_) {
    isPinged_ = true;
    makeControl(Opcode::ping, nullptr, 0);
  }
}

/** Sends frames as long as the window, the list of what is under way and the connection take them. */
void EdgeLink::pump() {
  if (singleThrough_ > 0 && log_.ackedSeq() >= singleThrough_) singleThrough_ = 0;
  // A control frame that is half written must be finished first.
  while (outLeft_ == 0 && controlLeft_ == 0 && fillFrame()) {
    if (flush()) continue;
    end("the connection broke", 0, false);
    return;
  }
}

/** Makes the next frame of the log's records. @returns false where there is none to send now */
bool EdgeLink::fillFrame() {
  const Span room = {out_.data + kClientHeaderBytes, out_.size - kClientHeaderBytes};
  // The most that a frame full of the smallest records can count.
  const size_t most = windowBytes(room.size, static_cast<uint32_t>(room.size / (kFrameHeaderBytes + 1)));
  const bool isSingle = singleThrough_ > 0 || window_ < most;
  if (isSingle ? !flight_.isEmpty() : !flight_.hasRoom() || flight_.bytes() + most > window_) return false;
  for (;;) {
    const Frames frames = log_.read(cursor_, room, isSingle ? 1 : UINT32_MAX);
    if (frames.records == 0) return false;
    const size_t bytes = flight_.dropRefused(room.data, frames.bytes);
    if (bytes == 0) continue;
    flight_.sent(frames.lastSeq, static_cast<uint32_t>(windowBytes(bytes, frames.records)));
    outAt_ = makeClientFrame(out_.data, bytes, Opcode::binary, random_.next());
    outLeft_ = clientFrameBytes(bytes);
    return true;
  }
}

/** What the edge counts against the window: its own copy of the records. */
size_t EdgeLink::windowBytes(size_t bytes, uint32_t records) const {
  return bytes + records * (kWindowOverheadBytes - kFrameHeaderBytes + strlen(options_.edge.deviceId));
}

/** A control frame goes out behind the frame that is being written; one that still waits is replaced. */
void EdgeLink::makeControl(Opcode opcode, const uint8_t* payload, size_t size) {
  // Unless a part of it is on its way already: then the new one is left out, and asked for again.
  if (controlLeft_ > 0 && outLeft_ == 0) return;
  if (size > 0) memcpy(control_ + kClientHeaderBytes, payload, size);
  controlAt_ = makeClientFrame(control_, size, opcode, random_.next());
  controlLeft_ = clientFrameBytes(size);
}

/** Writes what waits. @returns false where the connection is broken */
bool EdgeLink::flush() {
  return flushPart(outAt_, outLeft_) && (outLeft_ > 0 || flushPart(controlAt_, controlLeft_));
}

bool EdgeLink::flushPart(uint8_t*& at, size_t& left) {
  while (left > 0) {
    const int32_t taken = transport_.write(at, left);
    if (taken < 0) return false;
    if (taken == 0) return true;
    at += taken;
    left -= static_cast<size_t>(taken);
  }
  return true;
}

void EdgeLink::end(const char* reason, uint64_t extraMs, bool isRefused) {
  transport_.close();
  state_ = State::waiting;
  const uint64_t jitterMs =
      isRefused ? kRefusedWaitMs / 2 + random_.next() % (kRefusedWaitMs / 2) : backoff_.next(random_);
  const uint64_t waitMs = (extraMs < kMaxRetryAfterMs ? extraMs : kMaxRetryAfterMs) + jitterMs;
  retryAtMs_ = nowMs_ + waitMs;
  events_.onEnd(reason, waitMs);
}

}  // namespace holdfast
