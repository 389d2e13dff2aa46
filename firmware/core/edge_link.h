/**
 * The device's link to its edge: sends what the log holds, and hears what the edge says. Driven by `poll`, without
 * threads.
 *
 *   waiting → connect, handshake → opening → hello → open → waiting
 *
 * Every session begins behind the last acked record, sends frames of as many records as fit the buffer, and has no more
 * bytes under way than the edge's window. A wait has full jitter; to it comes what the edge asked for (close 1013
 * `retry-after:<ms>`, Retry-After of 429 and 503). An edge that refuses this device for good (any other 4xx), or serves
 * it elsewhere (4409), is asked again minutes later only.
 *
 * An error that names a record means that it is done and not stored; it is told and counted. One that names none (a
 * frame over the edge's limit, say) may stand for any record under way, and the next ack would pass over it: the
 * session is cut, and what was under way is sent again one record at a time, which shows whose fault it is.
 */
#pragma once
#include "backoff.h"
#include "command_memory.h"
#include "flight.h"
#include "handshake.h"
#include "record_log.h"
#include "transport.h"
#include "websocket.h"

namespace holdfast {

/** What the edge said. Texts are JSON, not NUL-terminated, and valid during the call only. */
class LinkEvents {
 public:
  virtual ~LinkEvents() = default;
  virtual void onOpen() {}
  /** The session or the attempt is over. @param reason for people @param waitMs until the next attempt */
  virtual void onEnd(const char* reason, uint64_t waitMs) { (void)reason, (void)waitMs; }
  virtual void onAck(uint64_t seq) { (void)seq; }
  /** The record is done and is not stored. @param error `{"code", "message"}` */
  virtual void onRefused(uint64_t seq, const char* error, size_t size) { (void)seq, (void)error, (void)size; }
  virtual void onDelta(uint64_t version, const char* delta, size_t size) { (void)version, (void)delta, (void)size; }
  /** A command, once: answer with a record of kind result, `{"id", "status", "data"}`. */
  virtual void onCommand(const char* command, size_t size) { (void)command, (void)size; }
};

struct LinkOptions {
  EdgeAddress edge;
  uint32_t minBackoffMs;
  uint32_t maxBackoffMs;
};

struct LinkCounts {
  uint32_t sessions = 0;
  uint64_t refused = 0;
  /** Messages of the edge that did not fit the buffer. */
  uint32_t tooLarge = 0;
};

class EdgeLink {
 public:
  /**
   * @param out room for a frame: kClientHeaderBytes, and more than the log's largest record; less than 64 KiB
   * @param in room for the largest delta or command that this device takes
   */
  EdgeLink(RecordLog& log, Transport& transport, Random& random, LinkEvents& events, Span out, Span in,
           const LinkOptions& options);

  /** Does what can be done now, and returns soon; connecting may take seconds. */
  void poll(uint64_t nowMs);

  bool isOpen() const { return state_ == State::open; }
  const LinkCounts& counts() const { return counts_; }

 private:
  enum class State { waiting, answer, hello, open };

  void connect();
  void readAnswer(const uint8_t* data, size_t size);
  void judgeAnswer();
  void receive();
  void takeIncoming(const uint8_t* data, size_t size);
  bool takeEvent(Incoming incoming);
  void takeMessage();
  void takeHello();
  void takeAck(uint64_t seq);
  void takeError(uint64_t seq);
  void refuse(uint64_t seq, const char* error, size_t size);
  void doubt();
  void takeCommand(const char* text, size_t size);
  void closed();
  void checkAlive();
  void pump();
  bool fillFrame();
  size_t windowBytes(size_t bytes, uint32_t records) const;
  void makeControl(Opcode opcode, const uint8_t* payload, size_t size);
  bool flush();
  bool flushPart(uint8_t*& at, size_t& left);
  void end(const char* reason, uint64_t extraMs, bool isRefused);

  RecordLog& log_;
  Transport& transport_;
  Random& random_;
  LinkEvents& events_;
  Span out_;
  LinkOptions options_;
  Backoff backoff_;
  WebSocketReader reader_;
  HttpResponse response_;
  Handshake handshake_;
  Flight flight_;
  CommandMemory commands_;
  LogCursor cursor_;
  LinkCounts counts_;
  State state_ = State::waiting;
  uint64_t nowMs_ = 0;
  uint64_t retryAtMs_ = 0;
  uint64_t openedMs_ = 0;
  uint64_t heardMs_ = 0;
  bool isPinged_ = false;
  uint64_t window_ = 0;
  /** While records up to this one are not done, each travels alone. */
  uint64_t singleThrough_ = 0;
  /** The frame that is being written, and how much of it is left. */
  uint8_t* outAt_ = nullptr;
  size_t outLeft_ = 0;
  uint8_t control_[kClientHeaderBytes + kMaxControlBytes] = {};
  uint8_t* controlAt_ = nullptr;
  size_t controlLeft_ = 0;
};

}  // namespace holdfast
