/** The POSIX port does what FileSystem says, on a real directory, and the log runs on it over a restart. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../ports/posix_files.h"
#include "log_model.h"

using namespace holdfast;

namespace {

void keepsToTheInterface(PosixFiles& files) {
  uint8_t bytes[8];
  CHECK_EQUAL(files.read("a", 0, bytes, sizeof bytes), -1);
  const uint8_t text[] = "hello";
  CHECK(files.append("a", text, 3) == Write::ok && files.append("a", text + 3, 2) == Write::ok);
  CHECK_EQUAL(files.read("a", 0, bytes, sizeof bytes), 5);
  CHECK(memcmp(bytes, "hello", 5) == 0);
  CHECK_EQUAL(files.read("a", 4, bytes, sizeof bytes), 1);
  CHECK_EQUAL(files.read("a", 9, bytes, sizeof bytes), 0);
  CHECK(files.sync("a") && !files.sync("b"));
  CHECK(files.remove("a") && files.remove("a"));
  PosixFiles nowhere("/nowhere/at/all");
  CHECK(nowhere.append("a", text, 1) == Write::failed);
  CHECK(!nowhere.list([](void*, const char*) {}, nullptr));
}

void aFullDiskIsNoSpace() {
  PosixFiles full("/dev");
  const uint8_t byte[1] = {0};
  // The device that is always full, on every Linux.
  CHECK(full.append("full", byte, 1) == Write::noSpace);
}

void carriesALogOverRestarts(PosixFiles& files, uint64_t seed) {
  Numbers numbers(seed);
  LogModel model(files, {600, 4, WhenFull::dropOldest}, 256);
  for (int life = 0; life < 10; life++) {
    model.forgetPage();
    model.open();
    CHECK(model.isOpen());
    model.check();
    for (int i = 0; i < 40; i++) CHECK(randomStep(model, numbers, 40));
  }
}

}  // namespace

int main(int count, char** words) {
  char directory[] = "/tmp/holdfast-files-XXXXXX";
  CHECK(mkdtemp(directory) != nullptr);
  PosixFiles files(directory);
  keepsToTheInterface(files);
  aFullDiskIsNoSpace();
  carriesALogOverRestarts(files, seedOf(count, words));
  files.list(
      [](void* context, const char* name) {
        if (name[0] != '.') static_cast<PosixFiles*>(context)->remove(name);
      },
      &files);
  CHECK(rmdir(directory) == 0);
}
