/**
 * The promise of the log: a power cut at every change of the flash and at every byte of it, with each kind of damage
 * that is allowed, loses nothing that was accepted, changes no order, invents nothing and gives no seq twice that was
 * sent.
 */
#include "cut_flash.h"
#include "log_model.h"

using namespace holdfast;

namespace {

constexpr size_t kPageBytes = 160;
constexpr size_t kMaxPayload = 40;

struct Script {
  uint64_t seed;
  WhenFull whenFull;
  uint32_t steps;
};

LogOptions optionsOf(const Script& script) {
  return {400, 4, script.whenFull};
}

/** Runs the script until it is over or the power is gone. */
void run(LogModel& model, CutFlash& flash, const Script& script) {
  Numbers numbers(script.seed);
  for (uint32_t i = 0; i < script.steps && !flash.isOff(); i++)
    CHECK(randomStep(model, numbers, kMaxPayload) || flash.isOff());
}

/** After the cut: reopens, checks, goes on for a while and checks again. */
void recover(LogModel& model, CutFlash& flash, uint64_t seed) {
  flash.restart();
  model.forgetPage();
  model.open();
  CHECK(model.isOpen());
  model.check();
  Numbers numbers(seed);
  for (int i = 0; i < 12; i++) CHECK(randomStep(model, numbers, kMaxPayload));
  CHECK(model.sync());
  model.check();
}

void cutOnce(const Script& script, uint64_t change, size_t bytes, Tear tear, bool resurrect) {
  CutFlash flash;
  LogModel model(flash, optionsOf(script), kPageBytes);
  flash.cutAt(change, bytes, tear);
  model.open();
  run(model, flash, script);
  CHECK(flash.isOff());
  if (resurrect) flash.resurrect();
  recover(model, flash, script.seed ^ change);
}

/** How often each change of the script can be cut. */
std::vector<size_t> changesOf(const Script& script) {
  CutFlash flash;
  LogModel model(flash, optionsOf(script), kPageBytes);
  model.open();
  run(model, flash, script);
  model.check();
  return flash.sizes();
}

uint64_t cutEverywhere(const Script& script) {
  const std::vector<size_t> sizes = changesOf(script);
  uint64_t cuts = 0;
  for (uint64_t change = 0; change < sizes.size(); change++) {
    for (size_t bytes = 0; bytes <= sizes[change]; bytes++) {
      for (const Tear tear : {Tear::prefix, Tear::zeros, Tear::rubbish}) {
        cutOnce(script, change, bytes, tear, (bytes & 1) != 0);
        cuts++;
      }
    }
  }
  return cuts;
}

/** Cut after cut on the same flash, at places that a seed chooses. */
void cutAgainAndAgain(uint64_t seed) {
  Numbers numbers(seed);
  CutFlash flash;
  LogModel model(flash, {400, 4, WhenFull::dropOldest}, kPageBytes);
  for (int life = 0; life < 30; life++) {
    flash.restart();
    model.forgetPage();
    flash.cutAt(flash.changes() + numbers.below(30), numbers.below(200), static_cast<Tear>(numbers.below(3)));
    model.open();
    if (model.isOpen()) run(model, flash, {numbers.next(), WhenFull::dropOldest, 200});
    if (numbers.below(2) == 0) flash.resurrect();
  }
  recover(model, flash, seed);
}

}  // namespace

int main(int count, char** words) {
  const uint64_t seed = seedOf(count, words);
  uint64_t cuts = 0;
  for (const WhenFull whenFull : {WhenFull::dropOldest, WhenFull::refuseNewest}) {
    for (uint64_t i = 0; i < 2; i++) cuts += cutEverywhere({seed + i, whenFull, 110});
  }
  for (uint64_t i = 0; i < 300; i++) cutAgainAndAgain(seed + i);
  printf("%llu cuts, and 300 devices cut 30 times\n", static_cast<unsigned long long>(cuts));
  CHECK(cuts > 10000);
}
