/** Bytes that nobody meant: each parser takes random and damaged input under the sanitizers, and stays within its
 * bounds. */
#include <string>

#include "../core/edge_link.h"
#include "../core/json_members.h"
#include "../core/provisioning.h"
#include "cut_flash.h"
#include "log_model.h"
#include "script_edge.h"

using namespace holdfast;

namespace {

/** Cut, joined, flipped: mostly right, so that it gets past the first check. */
std::string damaged(const std::string& sample, Numbers& numbers) {
  std::string bytes = sample;
  const uint32_t times = numbers.below(4);
  for (uint32_t i = 0; i < times && !bytes.empty(); i++) {
    const size_t at = numbers.below(static_cast<uint32_t>(bytes.size()));
    switch (numbers.below(4)) {
      case 0:
        bytes[at] = static_cast<char>(numbers.next());
        break;
      case 1:
        bytes.erase(at, 1 + numbers.below(8));
        break;
      case 2:
        bytes.insert(at, std::string(numbers.below(20), static_cast<char>(numbers.next())));
        break;
      default:
        bytes.insert(at, bytes.substr(0, numbers.below(200)));
    }
  }
  return bytes;
}

std::string noise(Numbers& numbers) {
  std::string bytes(numbers.below(300), ' ');
  for (char& each : bytes) each = static_cast<char>(numbers.next());
  return bytes;
}

/** A copy on the heap, so that a read behind its end is seen. */
template <typename Use>
void exactly(const std::string& bytes, Use use) {
  auto* copy = new char[bytes.size()];
  memcpy(copy, bytes.data(), bytes.size());
  use(copy, bytes.size());
  delete[] copy;
}

void fuzzMembers(Numbers& numbers) {
  const std::string sample = "{\"a\":{\"b\":[1,\"x\\\"\"]},\"window\":1048576,\"id\":\"c-1\"}";
  exactly(numbers.below(4) == 0 ? noise(numbers) : damaged(sample, numbers), [](const char* text, size_t size) {
    for (const char* name : {"window", "id", ""}) {
      const Slice value = findMember(text, size, name);
      CHECK(value.text >= text && value.text + value.size <= text + size);
      char copy[8];
      copyString(value, copy, sizeof copy);
      wholeNumber(value, 0);
    }
  });
}

void fuzzResponse(Numbers& numbers) {
  const std::string sample =
      "HTTP/1.1 503 x\r\nRetry-After: 17\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: abc\r\nX: " +
      std::string(300, 'y') + "\r\n\r\n";
  HttpResponse response;
  for (const char each : numbers.below(4) == 0 ? noise(numbers) : damaged(sample, numbers))
    response.take(static_cast<uint8_t>(each));
  CHECK(response.retryAfterSeconds() >= -1);
}

struct NoStore : SettingsStore {
  bool read(const char*, char* value, size_t) override {
    *value = '\0';
    return true;
  }
  bool write(const char*, const char* value) override { return strlen(value) <= kMaxCaBytes; }
  bool erase(const char*) override { return true; }
};

struct NoPrinter : Printer {
  void print(const char* text) override { CHECK(strlen(text) < 5000); }
};

void fuzzProvisioning(Numbers& numbers) {
  static NoStore store;
  static NoPrinter printer;
  static Provisioning provisioning(store, printer);
  const char* samples[] = {"set edge.port 443\n", "add edge.ca AAAA\nshow\n", "unset x\n", "set  \n",
                           "status\nrestart\r\n"};
  for (const char each : numbers.below(4) == 0 ? noise(numbers) : damaged(samples[numbers.below(5)], numbers)) {
    provisioning.take(static_cast<uint8_t>(each));
  }
}

struct SeededRandom : Random {
  Numbers numbers{7};
  uint32_t next() override { return static_cast<uint32_t>(numbers.next()); }
};

struct NoEvents : LogEvents, LinkEvents {
  void onDropped(uint64_t, uint64_t) override {}
};

/** A link whose edge says anything at all: no record is ever done that was not sent. */
void fuzzLink(Numbers& numbers) {
  CutFlash flash;
  TestReserve reserve;
  NoEvents events;
  SeededRandom random;
  ScriptEdge edge;
  uint8_t page[512], out[700], in[128];
  RecordLog log(flash, {page, sizeof page}, {1024, 4, WhenFull::dropOldest}, reserve, events);
  CHECK(log.open());
  EdgeLink link(log, edge, random, events, {out, sizeof out}, {in, sizeof in}, {{"h", 1, "d", ""}, 1, 2});
  uint64_t nowMs = 0;
  for (int turn = 0; turn < 40; turn++) {
    uint64_t seq;
    log.append(Kind::telemetry, page, 1 + numbers.below(50), 1, &seq);
    log.sync();
    for (int i = 0; i < 3; i++) link.poll(nowMs += numbers.below(3));
    ScriptEdge said;
    switch (numbers.below(6)) {
      case 0:
        edge.sayRaw(noise(numbers));
        break;
      case 1:
        edge.sayDown(static_cast<uint8_t>(numbers.below(8)), numbers.below(60), noise(numbers));
        break;
      case 2:
        edge.sayDown(4, 0, damaged("{\"id\":\"c\",\"name\":\"n\"}", numbers));
        break;
      case 3:
        edge.say(8, damaged(std::string("\x03\xf5retry-after:100"), numbers).substr(0, 125));
        break;
      case 4:
        edge.say(static_cast<uint8_t>(numbers.below(16)), noise(numbers));
        break;
      default:
        edge.ack(numbers.below(100));
    }
    link.poll(nowMs);
    CHECK(log.ackedSeq() <= log.syncedSeq());
  }
}

/** A log over files that hold anything. */
void fuzzFiles(Numbers& numbers) {
  CutFlash flash;
  LogModel model(flash, {400, 5, WhenFull::dropOldest}, 200);
  model.open();
  for (int i = 0; i < 30; i++) randomStep(model, numbers, 30);
  model.sync();
  for (auto& [name, bytes] : flash.files()) {
    const std::string mangled = damaged(std::string(bytes.begin(), bytes.end()), numbers);
    bytes.assign(mangled.begin(), mangled.end());
  }
  NoEvents events;
  uint8_t page[200], out[300];
  RecordLog log(flash, {page, sizeof page}, {400, 5, WhenFull::dropOldest}, model.reserve(), events);
  CHECK(log.open());
  LogCursor cursor = log.cursorAt(0);
  int reads = 0;
  while (log.read(cursor, {out, sizeof out}, UINT32_MAX).records > 0) CHECK(++reads < 1000);
  uint64_t seq;
  CHECK(log.append(Kind::telemetry, page, 5, 1, &seq) == Append::ok);
  CHECK(log.sync());
}

}  // namespace

int main(int count, char** words) {
  Numbers numbers(seedOf(count, words));
  for (int i = 0; i < 20000; i++) {
    fuzzMembers(numbers);
    fuzzResponse(numbers);
    fuzzProvisioning(numbers);
  }
  for (int i = 0; i < 1500; i++) fuzzLink(numbers);
  for (int i = 0; i < 1500; i++) fuzzFiles(numbers);
}
