/**
 * What a record costs the flash, in bytes handed to the file system: measured for the README, and held to its numbers.
 * A day of a device that says 100 bytes a second, synced each time or ten at a time, with its edge there all the while.
 */
#include <memory>

#include "cut_flash.h"
#include "log_model.h"

using namespace holdfast;

namespace {

constexpr uint32_t kRecords = 86400;
constexpr size_t kPayloadBytes = 100;

struct NoEvents : LogEvents {
  void onDropped(uint64_t, uint64_t) override { CHECK(false); }
};

struct Cost {
  double bytes;
  double writes;
};

Cost costOf(uint32_t syncEvery, uint32_t saveEvery) {
  static uint8_t page[4096];
  CutFlash flash;
  TestReserve reserve;
  NoEvents events;
  RecordLog log(flash, {page, sizeof page}, {16384, 56, WhenFull::dropOldest}, reserve, events);
  CHECK(log.open());
  const uint8_t payload[kPayloadBytes] = {'1'};
  for (uint32_t i = 1; i <= kRecords; i++) {
    uint64_t seq;
    CHECK(log.append(Kind::telemetry, payload, sizeof payload, i, &seq) == Append::ok);
    if (i % syncEvery != 0) continue;
    CHECK(log.sync());
    log.acknowledge(log.syncedSeq());
    if (i % saveEvery == 0) CHECK(log.savePosition());
  }
  uint64_t appends = 0;
  for (const size_t size : flash.sizes()) appends += size > 1 ? 1 : 0;
  return {static_cast<double>(log.counts().bytesWritten) / kRecords, static_cast<double>(appends) / kRecords};
}

void show(const char* what, Cost cost, double maxBytes, double maxWrites) {
  printf("%s: %.1f bytes and %.3f writes a record of %zu bytes\n", what, cost.bytes, cost.writes, kPayloadBytes);
  CHECK(cost.bytes <= maxBytes && cost.writes <= maxWrites);
}

}  // namespace

int main() {
  show("a sync for each", costOf(1, 10), 131, 1.12);
  show("a sync for ten ", costOf(10, 10), 131, 0.21);
  show("a sync for thirty", costOf(30, 30), 131, 0.08);
}
