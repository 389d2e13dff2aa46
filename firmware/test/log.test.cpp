/** The log against its model, by random steps: with writes that fail, a flash that others fill, cells that rot, and a
 * wipe. */
#include "cut_flash.h"
#include "log_model.h"

using namespace holdfast;

namespace {

constexpr size_t kMaxPayload = 60;

void agreesWithTheModel(uint64_t seed, WhenFull whenFull) {
  Numbers numbers(seed);
  CutFlash flash;
  const uint32_t pageBytes = 128 + numbers.below(300);
  LogModel model(flash, {pageBytes + numbers.below(800), 2 + numbers.below(8), whenFull}, pageBytes);
  model.open();
  CHECK(model.isOpen());
  for (int step = 0; step < 400; step++) {
    CHECK(randomStep(model, numbers, kMaxPayload));
    if (numbers.below(60) > 0) continue;
    // A process that is killed leaves everything that it wrote, and nothing of its page.
    model.forgetPage();
    model.open();
    model.check();
  }
  CHECK(model.sync());
  model.check();
  if (whenFull == WhenFull::refuseNewest) CHECK(model.dropped().empty());
}

void survivesFailingWrites(uint64_t seed) {
  Numbers numbers(seed);
  CutFlash flash;
  LogModel model(flash, {700, 6, WhenFull::dropOldest}, 256);
  model.open();
  for (int step = 0; step < 300; step++) {
    if (numbers.below(10) == 0) flash.failAppends(1 + numbers.below(4));
    randomStep(model, numbers, kMaxPayload);
  }
  flash.failAppends(0);
  CHECK(model.sync());
  model.check();
  model.open();
  model.check();
}

/** @returns how many records were dropped */
size_t dropsByTheRuleWhenOthersFillTheFlash(uint64_t seed) {
  Numbers numbers(seed);
  CutFlash flash;
  flash.limitBytes(3000);
  LogModel model(flash, {700, 6, WhenFull::dropOldest}, 256);
  model.open();
  for (int step = 0; step < 300; step++) {
    // Only the position may find no room.
    randomStep(model, numbers, kMaxPayload);
    CHECK(model.say(Kind::report, "{}") == Append::ok && model.sync());
  }
  model.check();
  return model.dropped().size();
}

void countsWhatItDrops() {
  CutFlash flash;
  LogModel model(flash, {512, 3, WhenFull::dropOldest}, 256);
  model.open();
  for (int i = 0; i < 100; i++) {
    CHECK(model.say(Kind::telemetry, "{\"n\":1}") == Append::ok);
    CHECK(model.sync());
  }
  CHECK_EQUAL(model.log().counts().dropped, model.dropped().size());
  CHECK(model.dropped().size() > 50);
  const uint64_t dropped = model.log().counts().dropped;
  model.open();
  CHECK_EQUAL(model.log().counts().dropped, dropped);
  model.check();
}

void refusesTheNewestWhereThatIsTheRule() {
  CutFlash flash;
  LogModel model(flash, {512, 3, WhenFull::refuseNewest}, 256);
  model.open();
  int taken = 0;
  while (model.say(Kind::telemetry, "{\"n\":1}") == Append::ok) CHECK(model.sync() && ++taken < 1000);
  CHECK(model.say(Kind::telemetry, "{\"n\":1}") == Append::full);
  CHECK_EQUAL(model.log().counts().refused, 2u);
  model.check();
  model.acknowledge(model.log().syncedSeq());
  CHECK(model.say(Kind::telemetry, "{\"n\":1}") == Append::ok);
  CHECK(model.say(Kind::telemetry, "") == Append::unfit);
  CHECK(model.say(Kind::telemetry, std::string(300, 'x')) == Append::unfit);
}

/** A flipped bit costs the record that it is in, or, in a size field, what is behind it in the segment; and never more.
 */
void aRottenCellCostsItsRecord(uint64_t seed) {
  Numbers numbers(seed);
  CutFlash flash;
  LogModel model(flash, {512, 8, WhenFull::dropOldest}, 256);
  model.open();
  for (int i = 0; i < 60; i++) {
    CHECK(model.say(Kind::telemetry, "{\"n\":12}") == Append::ok);
    if (i % 3 == 0) CHECK(model.sync());
  }
  CHECK(model.sync());
  auto file = flash.files().begin();
  std::advance(file, numbers.below(static_cast<uint32_t>(flash.files().size())));
  file->second[numbers.below(static_cast<uint32_t>(file->second.size()))] ^=
      static_cast<uint8_t>(1 << numbers.below(8));
  RecordLog& log = (model.open(), model.log());
  CHECK(model.isOpen());
  uint8_t out[400];
  LogCursor cursor = log.cursorAt(0);
  uint32_t records = 0;
  for (Frames frames; (frames = log.read(cursor, {out, sizeof out}, UINT32_MAX)).records > 0;)
    records += frames.records;
  CHECK(records <= 60 && records >= 60 - 512 / 36);
  CHECK_EQUAL(log.nextSeq() > 60 - 512 / 36, true);
}

void aPlaceThatCannotBeReadIsGivenUpAtLast() {
  CutFlash flash;
  LogModel model(flash, {512, 8, WhenFull::dropOldest}, 256);
  model.open();
  for (int i = 0; i < 40; i++) CHECK(model.say(Kind::telemetry, "{\"n\":12}") == Append::ok);
  CHECK(model.sync());
  uint8_t out[400];
  LogCursor cursor = model.log().cursorAt(0);
  flash.failReads(7);
  for (int i = 0; i < 7; i++) CHECK_EQUAL(model.log().read(cursor, {out, sizeof out}, 1).records, 0u);
  CHECK_EQUAL(model.log().read(cursor, {out, sizeof out}, 1).lastSeq, 1u);
  CHECK(model.dropped().empty());
  flash.failReads(8);
  for (int i = 0; i < 7; i++) model.log().read(cursor, {out, sizeof out}, 1);
  CHECK(model.log().read(cursor, {out, sizeof out}, 1).lastSeq > 10);
  CHECK(!model.dropped().empty());
  model.check();
}

void goesOnFromTheReserveAfterAWipe() {
  CutFlash flash;
  LogModel model(flash, {512, 4, WhenFull::dropOldest}, 256);
  model.open();
  for (int i = 0; i < 40; i++) CHECK(model.say(Kind::telemetry, "{\"n\":1}") == Append::ok);
  CHECK(model.sync());
  const uint64_t last = model.log().syncedSeq();
  flash.files().clear();
  model.open();
  CHECK(model.isOpen());
  CHECK(model.log().nextSeq() > last);
  CHECK_EQUAL(model.log().nextSeq(), model.reserve().seq + 1);
}

void removedFilesThatComeBackAreNoMoreThanFiles(uint64_t seed) {
  Numbers numbers(seed);
  CutFlash flash;
  LogModel model(flash, {300, 3, WhenFull::dropOldest}, 200);
  model.open();
  std::map<std::string, std::vector<uint8_t>> all;
  for (int i = 0; i < 600; i++) {
    CHECK(randomStep(model, numbers, kMaxPayload));
    for (auto& [name, bytes] : flash.files()) all[name] = bytes;
  }
  CHECK(model.sync());
  for (auto& [name, bytes] : all) flash.files().emplace(name, bytes);
  CHECK(flash.files().size() > kMaxSegments + 2);
  const uint64_t last = model.log().syncedSeq();
  model.open();
  CHECK(model.isOpen());
  CHECK_EQUAL(model.log().syncedSeq(), last);
  model.check();
}

}  // namespace

int main(int count, char** words) {
  const uint64_t seed = seedOf(count, words);
  size_t dropped = 0;
  for (uint64_t i = 0; i < 300; i++) {
    agreesWithTheModel(seed + i, i % 2 == 0 ? WhenFull::dropOldest : WhenFull::refuseNewest);
    survivesFailingWrites(seed + i);
    dropped += dropsByTheRuleWhenOthersFillTheFlash(seed + i);
    aRottenCellCostsItsRecord(seed + i);
  }
  CHECK(dropped > 100);
  removedFilesThatComeBackAreNoMoreThanFiles(seed);
  countsWhatItDrops();
  refusesTheNewestWhereThatIsTheRule();
  aPlaceThatCannotBeReadIsGivenUpAtLast();
  goesOnFromTheReserveAfterAWipe();
}
