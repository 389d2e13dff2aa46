/**
 * A device on the host: the firmware's log and link, with a directory for its flash and TCP for its TLS.
 *
 * It says what happens as a line of JSON each on standard output, written at once, so that whoever reads along still
 * knows after a kill -9 what the log had accepted:
 *
 *   {"start":{"next","acked","dropped"}} {"accepted":[first,last]} {"acked":seq} {"dropped":[first,last]}
 * {"refused":seq}
 *   {"full":records} {"open":true} {"end":reason,"waitMs"} {"delta":{…},"version"} {"command":{…}} {"done":{…}}
 *
 * Like a plain device it reports each delta as done, and answers each command with SUCCEEDED; both go through the log.
 * It ends when there is nothing more to send and all is acked, or at SIGTERM.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cinttypes>

#include "../core/edge_link.h"
#include "../core/json_members.h"
#include "../core/wall_clock.h"
#include "../ports/posix_files.h"
#include "host_ports.h"
#include "options.h"
#include "tcp_transport.h"

using namespace holdfast;

namespace {

uint8_t page[4096];
uint8_t outBuffer[8192];
uint8_t inBuffer[16384];
volatile sig_atomic_t isStopping = 0;

/** Records that were appended since the last sync wait no longer than this. */
constexpr uint64_t kSyncMs = 20;
constexpr uint64_t kPositionMs = 1000;

template <typename... Values>
void say(const char* format, Values... values) {
  // The largest delta fits.
  static char line[sizeof inBuffer + 256];
  const int size = snprintf(line, sizeof line, format, values...);
  // One write, so that a kill leaves whole lines.
  const bool fits = size > 0 && static_cast<size_t>(size) < sizeof line;
  if (!fits || write(STDOUT_FILENO, line, static_cast<size_t>(size)) != size) exit(74);
}

class HostDevice : public LogEvents, public LinkEvents {
 public:
  explicit HostDevice(const HostOptions& options)
      : options_(options),
        token_(getenv("HOLDFAST_TOKEN")),
        files_(options_.directory.c_str()),
        reserve_(options_.directory),
        log_(files_, {page, sizeof page}, options_.log, reserve_, *this),
        link_(log_, transport_, random_, *this, {outBuffer, sizeof outBuffer}, {inBuffer, sizeof inBuffer},
              {{options_.host.c_str(), options_.port, options_.deviceId.c_str(), token_}, 100, options_.maxBackoffMs}) {
  }

  int run() {
    if (!log_.open()) {
      fprintf(stderr, "holdfast-device: the log in %s cannot be opened\n", options_.directory.c_str());
      return 1;
    }
    startMs_ = clockMs(CLOCK_MONOTONIC);
    clock_.set(static_cast<double>(clockMs(CLOCK_REALTIME)), startMs_);
    acceptedSeq_ = log_.syncedSeq();
    say("{\"start\":{\"next\":%" PRIu64 ",\"acked\":%" PRIu64 ",\"dropped\":%" PRIu64 "}}\n", log_.nextSeq(),
        log_.ackedSeq(), log_.counts().dropped);
    while (!isStopping && !isDone()) turn();
    return finish();
  }

  void onDropped(uint64_t first, uint64_t last) override {
    say("{\"dropped\":[%" PRIu64 ",%" PRIu64 "]}\n", first, last);
  }
  void onOpen() override { say("{\"open\":true}\n"); }
  void onEnd(const char* reason, uint64_t waitMs) override {
    say("{\"end\":\"%s\",\"waitMs\":%" PRIu64 "}\n", reason, waitMs);
  }
  void onAck(uint64_t seq) override { say("{\"acked\":%" PRIu64 "}\n", seq); }
  void onRefused(uint64_t seq, const char* error, size_t size) override {
    say("{\"refused\":%" PRIu64 ",\"error\":%.*s}\n", seq, static_cast<int>(size), error);
  }

  void onDelta(uint64_t version, const char* delta, size_t size) override {
    say("{\"version\":%" PRIu64 ",\"delta\":%.*s}\n", version, static_cast<int>(size), delta);
    append(Kind::report, delta, size);
  }

  void onCommand(const char* command, size_t size) override {
    say("{\"command\":%.*s}\n", static_cast<int>(size), command);
    const Slice id = findMember(command, size, "id");
    char result[256];
    const int length =
        snprintf(result, sizeof result, "{\"id\":%.*s,\"status\":\"SUCCEEDED\"}", static_cast<int>(id.size), id.text);
    if (length > 0 && static_cast<size_t>(length) < sizeof result)
      append(Kind::result, result, static_cast<size_t>(length));
  }

 private:
  bool isGenerating() const { return options_.generate > 0; }

  bool isDone() const {
    const bool isAllSaid = isGenerating() ? made_ >= options_.generate : isInputOver_;
    return isAllSaid && unsynced_ == 0 && log_.ackedSeq() >= log_.syncedSeq();
  }

  void turn() {
    const uint64_t nowMs = clockMs(CLOCK_MONOTONIC);
    const bool isBusy = isGenerating() ? generate(nowMs) : readInput();
    if (unsynced_ > 0 && (unsynced_ >= options_.syncEvery || nowMs - unsyncedMs_ >= kSyncMs)) sync();
    if (nowMs - positionMs_ >= kPositionMs) {
      positionMs_ = nowMs;
      if (!log_.savePosition()) fprintf(stderr, "holdfast-device: the position could not be saved\n");
    }
    link_.poll(nowMs);
    if (!isBusy) poll(nullptr, 0, 1);
  }

  /** Makes the records that are due, up to a sync's worth. */
  bool generate(uint64_t nowMs) {
    const uint64_t due = options_.rate == 0 ? options_.generate : (nowMs - startMs_) * options_.rate / 1000;
    const uint64_t through = due < options_.generate ? due : options_.generate;
    bool isBusy = false;
    for (uint32_t i = 0; i < options_.syncEvery && made_ < through; i++, made_++) {
      char payload[320];
      const uint64_t seq = log_.nextSeq();
      const int filler = static_cast<int>(seq % 90);
      char text[96];
      memset(text, 'x', sizeof text);
      const int size = snprintf(payload, sizeof payload, "{\"device\":\"%s\",\"n\":%" PRIu64 ",\"filler\":\"%.*s\"}",
                                options_.deviceId.c_str(), seq, filler, text);
      append(Kind::telemetry, payload, static_cast<size_t>(size));
      isBusy = true;
    }
    return isBusy;
  }

  bool readInput() {
    pollfd waiting = {STDIN_FILENO, POLLIN, 0};
    if (isInputOver_ || poll(&waiting, 1, 0) <= 0) return false;
    const ssize_t got = read(STDIN_FILENO, line_ + lineBytes_, sizeof line_ - lineBytes_);
    if (got <= 0) {
      isInputOver_ = got == 0 || errno != EINTR;
      return false;
    }
    lineBytes_ += static_cast<size_t>(got);
    takeLines();
    return true;
  }

  void takeLines() {
    size_t at = 0;
    while (const char* end = static_cast<const char*>(memchr(line_ + at, '\n', lineBytes_ - at))) {
      takeLine(line_ + at, static_cast<size_t>(end - line_) - at);
      at = static_cast<size_t>(end - line_) + 1;
    }
    if (at == 0 && lineBytes_ == sizeof line_) {
      fprintf(stderr, "holdfast-device: a line of more than %zu bytes is left out\n", sizeof line_);
      at = lineBytes_;
    }
    memmove(line_, line_ + at, lineBytes_ - at);
    lineBytes_ -= at;
  }

  void takeLine(const char* line, size_t size) {
    constexpr struct {
      const char* name;
      Kind kind;
    } kKinds[] = {{"data", Kind::telemetry}, {"report", Kind::report}, {"result", Kind::result}};
    for (const auto& each : kKinds) {
      const Slice value = findMember(line, size, each.name);
      if (value.size == 0) continue;
      append(each.kind, value.text, value.size);
      return;
    }
    fprintf(stderr, "holdfast-device: a line without data, report or result is left out: %.*s\n",
            static_cast<int>(size < 80 ? size : 80), line);
  }

  void append(Kind kind, const char* payload, size_t size) {
    uint64_t seq = 0;
    const uint64_t nowMs = clockMs(CLOCK_MONOTONIC);
    switch (log_.append(kind, reinterpret_cast<const uint8_t*>(payload), size, clock_.now(nowMs), &seq)) {
      case Append::ok:
        if (unsynced_++ == 0) unsyncedMs_ = nowMs;
        break;
      case Append::full:
        say("{\"full\":1}\n");
        break;
      case Append::unfit:
        fprintf(stderr, "holdfast-device: a record of %zu bytes does not fit and is left out\n", size);
        break;
      case Append::failed:
        fprintf(stderr, "holdfast-device: the log cannot be written\n");
        exit(74);
    }
  }

  void sync() {
    if (!log_.sync()) {
      fprintf(stderr, "holdfast-device: the log cannot be synced\n");
      exit(74);
    }
    unsynced_ = 0;
    const uint64_t last = log_.syncedSeq();
    if (last > acceptedSeq_) say("{\"accepted\":[%" PRIu64 ",%" PRIu64 "]}\n", acceptedSeq_ + 1, last);
    acceptedSeq_ = last;
  }

  int finish() {
    if (unsynced_ > 0) sync();
    const bool isSaved = log_.savePosition();
    const LogCounts counts = log_.counts();
    say("{\"done\":{\"acked\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"bytesWritten\":%" PRIu64
        ",\"writes\":%" PRIu64 ",\"sessions\":%u}}\n",
        log_.ackedSeq(), counts.dropped, link_.counts().refused, counts.bytesWritten, counts.writes,
        link_.counts().sessions);
    return isSaved ? 0 : 1;
  }

  const HostOptions options_;
  const char* token_;
  PosixFiles files_;
  ReserveFile reserve_;
  KernelRandom random_;
  TcpTransport transport_;
  WallClock clock_;
  RecordLog log_;
  EdgeLink link_;
  uint64_t startMs_ = 0;
  uint64_t made_ = 0;
  uint64_t acceptedSeq_ = 0;
  uint32_t unsynced_ = 0;
  uint64_t unsyncedMs_ = 0;
  uint64_t positionMs_ = 0;
  bool isInputOver_ = false;
  char line_[8192] = {};
  size_t lineBytes_ = 0;
};

}  // namespace

int main(int count, char** words) {
  const HostOptions options = readOptions(count, words);
  signal(SIGTERM, [](int) { isStopping = 1; });
  signal(SIGINT, [](int) { isStopping = 1; });
  signal(SIGPIPE, SIG_IGN);
  if (mkdir(options.directory.c_str(), 0755) != 0 && errno != EEXIST) {
    fprintf(stderr, "holdfast-device: %s cannot be made: %s\n", options.directory.c_str(), strerror(errno));
    return 1;
  }
  static HostDevice device(options);
  return device.run();
}
