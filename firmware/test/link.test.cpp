/** What the link promises, against an edge that says what the test wants. */
#include "../core/edge_link.h"
#include "cut_flash.h"
#include "log_model.h"
#include "script_edge.h"

using namespace holdfast;

namespace {

struct SeededRandom : Random {
  Numbers numbers{7};
  uint32_t next() override { return static_cast<uint32_t>(numbers.next()); }
};

/** A device over memory, and everything that it heard. */
struct Bench : LinkEvents, LogEvents {
  CutFlash flash;
  TestReserve reserve;
  uint8_t page[1024];
  uint8_t out[1200];
  uint8_t in[256];
  RecordLog log{flash, {page, sizeof page}, {4096, 16, WhenFull::dropOldest}, reserve, *this};
  ScriptEdge edge;
  SeededRandom random;
  EdgeLink link{
      log, edge, random, *this, {out, sizeof out}, {in, sizeof in}, {{"edge.test", 7300, "d-1", "t0k"}, 500, 60000}};
  uint64_t nowMs = 1000;
  std::vector<uint64_t> refused;
  std::vector<std::string> deltas, commands;
  std::string reason;
  uint64_t waitMs = 0;
  int opens = 0;
  uint64_t acked = 0;

  Bench() { CHECK(log.open()); }

  void onDropped(uint64_t, uint64_t) override {}
  void onOpen() override { opens++; }
  void onEnd(const char* why, uint64_t ms) override {
    reason = why;
    waitMs = ms;
  }
  void onAck(uint64_t seq) override { acked = seq; }
  void onRefused(uint64_t seq, const char*, size_t) override { refused.push_back(seq); }
  void onDelta(uint64_t version, const char* text, size_t size) override {
    deltas.push_back(std::to_string(version) + std::string(text, size));
  }
  void onCommand(const char* text, size_t size) override { commands.emplace_back(text, size); }

  void say(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
      uint64_t seq;
      const std::string payload = "{\"n\":" + std::to_string(log.nextSeq()) + "}";
      CHECK(log.append(Kind::telemetry, reinterpret_cast<const uint8_t*>(payload.data()), payload.size(), 5, &seq) ==
            Append::ok);
    }
    CHECK(log.sync());
  }

  void polls(int count = 20) {
    for (int i = 0; i < count; i++) link.poll(nowMs);
  }

  /** Lets the wait pass and connects again. */
  void again() {
    nowMs += waitMs;
    polls();
  }

  /** What the edge got, in order and once each. */
  void checkRecords(uint64_t first, uint64_t last) {
    CHECK_EQUAL(edge.records.size(), last - first + 1);
    for (const TakenRecord& record : edge.records) {
      CHECK_EQUAL(record.seq, first);
      CHECK(record.payload == "{\"n\":" + std::to_string(first) + "}");
      first++;
    }
  }
};

void sendsABacklogInFramesOfMany() {
  Bench bench;
  bench.say(200);
  bench.polls();
  CHECK(bench.edge.request.find("GET /v1/devices/d-1 HTTP/1.1\r\nHost: edge.test:7300\r\n") == 0);
  CHECK(bench.edge.request.find("Authorization: Bearer t0k\r\n") != std::string::npos);
  CHECK(bench.edge.request.find("Sec-WebSocket-Protocol: holdfast.v1.binary\r\n") != std::string::npos);
  bench.checkRecords(1, 200);
  CHECK(bench.edge.frames.size() <= 10);
  bench.edge.ack(150);
  bench.polls();
  CHECK_EQUAL(bench.log.ackedSeq(), 150u);
  CHECK_EQUAL(bench.acked, 150u);
}

void resumesAtTheFirstUnacked() {
  Bench bench;
  bench.say(50);
  bench.polls();
  bench.edge.ack(20);
  bench.polls();
  bench.edge.cut();
  bench.polls(2);
  CHECK(bench.reason == "the connection broke");
  bench.edge.records.clear();
  bench.again();
  bench.checkRecords(21, 50);
}

void worksInSmallParts() {
  for (const size_t part : {1u, 2u, 7u, 64u}) {
    Bench bench;
    bench.edge.partBytes = part;
    bench.say(60);
    bench.polls(3000);
    bench.checkRecords(1, 60);
    bench.edge.say(9, "are you there?");
    bench.edge.ack(60);
    bench.polls(200);
    CHECK_EQUAL(bench.log.ackedSeq(), 60u);
    CHECK(bench.edge.pongs.size() == 1 && bench.edge.pongs[0] == "are you there?");
  }
}

void aFrameHalfWrittenIsNotBrokenByAPong() {
  Bench bench;
  bench.polls();
  bench.edge.takes = 100;
  bench.say(30);
  bench.polls();
  bench.edge.say(9, "x");
  bench.polls();
  CHECK(bench.edge.pongs.empty());
  bench.edge.takes = SIZE_MAX;
  bench.polls();
  bench.checkRecords(1, 30);
  CHECK_EQUAL(bench.edge.pongs.size(), 1u);
  Bench slow;
  slow.polls();
  slow.edge.stutters = true;
  slow.edge.partBytes = 50;
  slow.say(30);
  slow.polls(1);
  slow.edge.say(9, "x");
  slow.polls(100);
  slow.checkRecords(1, 30);
  CHECK_EQUAL(slow.edge.pongs.size(), 1u);
}

void keepsToTheWindow() {
  Bench bench;
  bench.edge.hello = "{\"device\":\"d-1\",\"window\":3000}";
  bench.say(200);
  bench.polls();
  uint64_t acked = 0;
  while (acked < 200) {
    uint64_t bytes = 0;
    for (const TakenRecord& record : bench.edge.records)
      bytes += record.seq > acked ? 32 + 3 + record.payload.size() : 0;
    CHECK(bytes > 0 && bytes <= 3000);
    acked = bench.edge.records.back().seq;
    bench.edge.ack(acked);
    bench.polls();
  }
  bench.checkRecords(1, 200);
}

void aRefusedRecordIsDoneAndToldOnce() {
  Bench bench;
  bench.say(10);
  bench.polls();
  bench.edge.sayDown(2, 4, "{\"code\":\"bad_json\",\"message\":\"…\"}");
  bench.polls();
  CHECK(bench.refused == std::vector<uint64_t>{4});
  bench.edge.cut();
  bench.polls(2);
  bench.edge.records.clear();
  bench.again();
  CHECK_EQUAL(bench.edge.records.size(), 9u);
  for (const TakenRecord& record : bench.edge.records) CHECK(record.seq != 4);
  for (uint64_t seq = 1; seq <= 10; seq++) bench.edge.sayDown(2, seq, "{}");
  bench.polls();
  CHECK_EQUAL(bench.refused.size(), 10u);
  CHECK_EQUAL(bench.log.ackedSeq(), 10u);
}

void anErrorWithoutASeqLosesNothing() {
  Bench bench;
  bench.say(20);
  bench.polls();
  bench.edge.sayDown(2, 0, "{\"code\":\"too_large\"}");
  // The ack that would pass over what was not stored.
  bench.edge.ack(20);
  bench.polls();
  CHECK_EQUAL(bench.log.ackedSeq(), 0u);
  bench.edge.records.clear();
  bench.again();
  for (uint64_t seq = 1; seq <= 20; seq++) {
    CHECK_EQUAL(bench.edge.records.back().seq, seq);
    if (seq == 7) {
      bench.edge.sayDown(2, 0, "{\"code\":\"too_large\"}");
      bench.polls(2);
      bench.again();
      continue;
    }
    bench.edge.ack(seq);
    bench.polls();
  }
  CHECK(bench.refused == std::vector<uint64_t>{7});
  CHECK_EQUAL(bench.log.ackedSeq(), 20u);
  bench.say(50);
  bench.polls();
  CHECK(bench.edge.frames.back() > 10);
}

void anAckOfWhatWasNotSentTakesNothing() {
  Bench bench;
  bench.say(5);
  bench.polls();
  bench.say(5);
  bench.edge.ack(10);
  // It comes before the second five are sent.
  bench.polls(1);
  CHECK_EQUAL(bench.log.ackedSeq(), 5u);
  Bench early;
  early.say(5);
  early.edge.hello.clear();
  early.polls();
  early.edge.ack(5);
  early.polls(1);
  CHECK_EQUAL(early.log.ackedSeq(), 0u);
  CHECK(early.reason == "the edge did not say hello");
}

void honoursRetryAfter() {
  Bench bench;
  bench.polls();
  bench.edge.sayClose(1013, "retry-after:7300");
  bench.polls(2);
  CHECK(bench.waitMs >= 7300 && bench.waitMs <= 7300 + 60000);
  CHECK_EQUAL(bench.edge.closes, 1);
  for (const char* status : {"429 Too Many Requests", "503 Service Unavailable"}) {
    Bench refused;
    refused.edge.refusal = std::string("HTTP/1.1 ") + status + "\r\nRetry-After: 11\r\n\r\n";
    refused.polls(3);
    CHECK(refused.waitMs >= 11000 && refused.waitMs <= 11500);
  }
  Bench denied;
  denied.edge.refusal = "HTTP/1.1 403 Forbidden\r\n\r\n";
  denied.polls(3);
  CHECK(denied.waitMs >= 150000 && denied.waitMs <= 300000);
  Bench taken;
  taken.polls();
  taken.edge.sayClose(4409, "the device has opened another session");
  taken.polls(2);
  CHECK(taken.waitMs >= 150000);
}

void backsOffWithFullJitter() {
  Bench bench;
  bench.edge.isReachable = false;
  uint64_t bound = 500, most = 0;
  for (int i = 0; i < 40; i++) {
    bench.polls(1);
    CHECK(bench.waitMs <= bound);
    if (bench.waitMs > most) most = bench.waitMs;
    bench.nowMs += bench.waitMs;
    bound = bound * 2 > 60000 ? 60000 : bound * 2;
  }
  CHECK(most > 30000);
  CHECK(bench.edge.connects >= 40);
}

void pingsASilentEdgeAndLeavesADeadOne() {
  Bench bench;
  bench.polls();
  bench.nowMs += 16000;
  bench.polls();
  CHECK_EQUAL(bench.edge.pings, 1);
  bench.edge.say(10, "");
  bench.polls();
  bench.nowMs += 16000;
  bench.polls();
  CHECK_EQUAL(bench.edge.pings, 2);
  bench.nowMs += 16000;
  bench.polls(1);
  CHECK(bench.reason == "the edge is silent");
}

void handsDeltasAndCommandsOver() {
  Bench bench;
  bench.polls();
  bench.edge.sayDown(3, 7, "{\"valve\":\"closed\"}");
  bench.edge.sayDown(4, 0, "{\"id\":\"c-1\",\"name\":\"reboot\",\"data\":{}}");
  bench.edge.sayDown(4, 0, "{\"id\":\"c-1\",\"name\":\"reboot\",\"data\":{}}");
  bench.edge.sayDown(3, 8, std::string(400, ' '));
  bench.edge.sayDown(3, 9, "{}");
  bench.polls();
  CHECK((bench.deltas == std::vector<std::string>{"7{\"valve\":\"closed\"}", "9{}"}));
  CHECK_EQUAL(bench.commands.size(), 1u);
  CHECK_EQUAL(bench.link.counts().tooLarge, 1u);
}

void believesNoWrongAnswer() {
  const char* answers[] = {
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nSec-WebSocket-Protocol: holdfast.v1.binary\r\n\r\n",
      "HTTP/1.1 200 OK\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 101 x\r\nno colon\r\n\r\n"};
  for (const char* answer : answers) {
    Bench bench;
    bench.edge.refusal = answer;
    bench.polls(3);
    CHECK(!bench.link.isOpen() && !bench.reason.empty());
  }
  Bench masked;
  masked.polls();
  masked.edge.sayRaw(std::string("\x82\x81\x01\x02\x03\x04\x05", 7));
  masked.polls(2);
  CHECK(masked.reason == "the edge sent what is no frame");
}

}  // namespace

int main() {
  sendsABacklogInFramesOfMany();
  resumesAtTheFirstUnacked();
  worksInSmallParts();
  aFrameHalfWrittenIsNotBrokenByAPong();
  keepsToTheWindow();
  aRefusedRecordIsDoneAndToldOnce();
  anErrorWithoutASeqLosesNothing();
  anAckOfWhatWasNotSentTakesNothing();
  honoursRetryAfter();
  backsOffWithFullJitter();
  pingsASilentEdgeAndLeavesADeadOne();
  handsDeltasAndCommandsOver();
  believesNoWrongAnswer();
}
