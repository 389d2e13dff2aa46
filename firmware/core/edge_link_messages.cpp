/** What the edge says, and what the link does about it. */
#include <cstdio>

#include "edge_link.h"
#include "json_members.h"

namespace holdfast {

namespace {

constexpr size_t kDownHeaderBytes = 16;

enum class Down : uint8_t { ack = 1, error = 2, delta = 3, command = 4, hello = 5 };

constexpr uint32_t kTakenOver = 4409;
constexpr uint32_t kTryAgainLater = 1013;

}  // namespace

void EdgeLink::takeMessage() {
  const uint8_t* bytes = reader_.payload();
  if (reader_.isText() || reader_.payloadBytes() < kDownHeaderBytes) {
    end("the edge sent what is no message of the protocol", 0, false);
    return;
  }
  const char* text = reinterpret_cast<const char*>(bytes) + kDownHeaderBytes;
  const size_t size = reader_.payloadBytes() - kDownHeaderBytes;
  const uint64_t number = getSeq(bytes + 8);
  const auto type = static_cast<Down>(bytes[0]);
  if (state_ == State::hello && type != Down::hello) {
    end("the edge did not say hello", 0, false);
    return;
  }
  switch (type) {
    case Down::ack:
      takeAck(number);
      break;
    case Down::error:
      takeError(number);
      break;
    case Down::delta:
      events_.onDelta(number, text, size);
      break;
    case Down::command:
      takeCommand(text, size);
      break;
    case Down::hello:
      takeHello();
      break;
    default:
      // A later edge may say more than this device knows.
      break;
  }
}

void EdgeLink::takeHello() {
  if (state_ != State::hello) return;
  const char* text = reinterpret_cast<const char*>(reader_.payload()) + kDownHeaderBytes;
  window_ = wholeNumber(findMember(text, reader_.payloadBytes() - kDownHeaderBytes, "window"), 0);
  if (window_ == 0) {
    end("the edge's hello has no window", 0, false);
    return;
  }
  cursor_ = log_.cursorAt(log_.ackedSeq());
  state_ = State::open;
  counts_.sessions++;
  events_.onOpen();
}

void EdgeLink::takeAck(uint64_t seq) {
  // An ack of what was not sent on this connection would take records off that nobody holds.
  const uint64_t through = seq < cursor_.afterSeq ? seq : cursor_.afterSeq;
  flight_.acked(through);
  if (through <= log_.ackedSeq()) return;
  backoff_.reset();
  log_.acknowledge(through);
  events_.onAck(through);
}

void EdgeLink::takeError(uint64_t seq) {
  const char* text = reinterpret_cast<const char*>(reader_.payload()) + kDownHeaderBytes;
  const size_t size = reader_.payloadBytes() - kDownHeaderBytes;
  const bool isAlone = singleThrough_ > 0 && !flight_.isEmpty();
  if (seq > 0) {
    refuse(seq, text, size);
  } else if (isAlone) {
    refuse(flight_.lastSeq(), text, size);
    // Whether it was alone on an ack's way is not known: the next session shows.
    end("the edge has refused a record", 0, false);
  } else if (!flight_.isEmpty()) {
    doubt();
  }
}

void EdgeLink::refuse(uint64_t seq, const char* error, size_t size) {
  if (seq <= log_.ackedSeq() || seq > cursor_.afterSeq || !flight_.refuse(seq)) return;
  counts_.refused++;
  events_.onRefused(seq, error, size);
  // Where it is the oldest, or the oldest were refused before it, they are done.
  uint64_t done = log_.ackedSeq();
  while (flight_.isRefused(log_.oldestSeq(done))) done = log_.oldestSeq(done);
  if (done == log_.ackedSeq()) return;
  flight_.acked(done);
  log_.acknowledge(done);
}

/** Nobody knows which records under way an error was about. */
void EdgeLink::doubt() {
  singleThrough_ = flight_.lastSeq();
  end("the edge has refused a frame; its records are sent one by one", 0, false);
}

void EdgeLink::takeCommand(const char* text, size_t size) {
  const Slice id = findMember(text, size, "id");
  if (id.size > 0 && commands_.note(id.text, id.size)) events_.onCommand(text, size);
}

void EdgeLink::closed() {
  const uint8_t* bytes = reader_.payload();
  const size_t size = reader_.payloadBytes();
  const uint32_t code = size < 2 ? 1005 : static_cast<uint32_t>(bytes[0] << 8 | bytes[1]);
  constexpr char kRetryAfter[] = "retry-after:";
  constexpr size_t kPrefix = sizeof kRetryAfter - 1;
  uint64_t waitMs = 0;
  if (code == kTryAgainLater && size > 2 + kPrefix && memcmp(bytes + 2, kRetryAfter, kPrefix) == 0) {
    waitMs = wholeNumber({reinterpret_cast<const char*>(bytes) + 2 + kPrefix, size - 2 - kPrefix}, 0);
  }
  char reason[40];
  snprintf(reason, sizeof reason, "the edge closed with %u", static_cast<unsigned>(code));
  makeControl(Opcode::close, bytes, size < 2 ? 0 : 2);
  // The answer is a courtesy, and goes out where nothing stands before it.
  flush();
  end(reason, waitMs, code == kTakenOver);
}

}  // namespace holdfast
