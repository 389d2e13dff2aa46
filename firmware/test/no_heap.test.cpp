/** After the start the core asks for no memory: everything that a device does in its life, with malloc counted. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/edge_link.h"
#include "../core/provisioning.h"
#include "../core/sha1.h"
#include "../core/wall_clock.h"
#include "../host/host_ports.h"
#include "../ports/posix_files.h"
#include "check.h"

using namespace holdfast;

namespace {
bool isCounting = false;
uint64_t allocations = 0;
}  // namespace

// glibc's own names for what stands behind malloc; operator new comes this way too.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);

void* malloc(size_t size) {
  if (isCounting) allocations++;
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  if (isCounting) allocations++;
  return __libc_calloc(count, size);
}

void* realloc(void* memory, size_t size) {
  if (isCounting) allocations++;
  return __libc_realloc(memory, size);
}
}

namespace {

struct FixedReserve : SeqReserve {
  uint64_t seq = 0;
  uint64_t load() override { return seq; }
  bool store(uint64_t value) override {
    seq = value;
    return true;
  }
};

struct NoSettings : SettingsStore {
  char value[kMaxCaBytes + 1] = {};
  bool read(const char*, char* to, size_t size) override {
    if (strlen(value) >= size) return false;
    memcpy(to, value, strlen(value) + 1);
    return true;
  }
  bool write(const char*, const char* text) override {
    memcpy(value, text, strlen(text) + 1);
    return true;
  }
  bool erase(const char*) override { return true; }
};

struct Silent : Printer, LogEvents, LinkEvents {
  uint64_t acked = 0;
  uint64_t dropped = 0;
  void print(const char*) override {}
  void onAck(uint64_t seq) override { acked = seq; }
  void onDropped(uint64_t first, uint64_t last) override { dropped += last - first + 1; }
};

/** An edge without memory of its own: upgrades, says hello, and acks what it is sent. */
class FixedEdge : public Transport {
 public:
  bool connect(const char*, uint16_t) override {
    outBytes_ = inBytes_ = 0;
    isUpgraded_ = false;
    return true;
  }

  int32_t read(uint8_t* data, size_t size) override {
    const size_t part = outBytes_ < size ? outBytes_ : size;
    memcpy(data, out_, part);
    memmove(out_, out_ + part, outBytes_ -= part);
    return static_cast<int32_t>(part);
  }

  int32_t write(const uint8_t* data, size_t size) override {
    const size_t part = size < sizeof in_ - inBytes_ ? size : sizeof in_ - inBytes_;
    memcpy(in_ + inBytes_, data, part);
    inBytes_ += part;
    if (isUpgraded_)
      takeFrame();
    else
      upgrade();
    return static_cast<int32_t>(part);
  }

  void close() override {}

 private:
  void upgrade() {
    const char* key = static_cast<const char*>(memmem(in_, inBytes_, "Sec-WebSocket-Key: ", 19));
    CHECK(key != nullptr);
    uint8_t text[60];
    memcpy(text, key + 19, 24);
    memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    uint8_t digest[kSha1Bytes];
    char accept[base64Length(kSha1Bytes) + 1];
    CHECK(sha1(text, sizeof text, digest));
    encodeBase64(digest, sizeof digest, accept);
    outBytes_ = static_cast<size_t>(
        snprintf(reinterpret_cast<char*>(out_), sizeof out_,
                 "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
                 "Sec-WebSocket-Protocol: holdfast.v1.binary\r\n\r\n",
                 accept));
    say(5, 0, "{\"window\":1048576}");
    inBytes_ = 0;
    isUpgraded_ = true;
  }

  void say(uint8_t type, uint64_t number, const char* json) {
    uint8_t* at = out_ + outBytes_;
    const size_t length = strlen(json);
    memset(at, 0, 18);
    at[0] = 0x82;
    at[1] = static_cast<uint8_t>(16 + length);
    at[2] = type;
    putF64(at + 10, static_cast<double>(number));
    memcpy(at + 18, json, length);
    outBytes_ += 18 + length;
  }

  void takeFrame() {
    const bool isLong = (in_[1] & 127) == 126;
    const size_t length = isLong ? static_cast<size_t>(in_[2] << 8 | in_[3]) : in_[1] & 127;
    const size_t header = isLong ? 8 : 6;
    if (inBytes_ < header + length) return;
    for (size_t i = 0; i < length; i++) in_[header + i] ^= in_[header - 4 + (i & 3)];
    uint64_t last = 0;
    for (size_t at = header; at < header + length; at += frameBytes(in_ + at)) last = frameSeq(in_ + at);
    say(1, last, "");
    inBytes_ = 0;
  }

  uint8_t in_[10000] = {};
  size_t inBytes_ = 0;
  uint8_t out_[1000] = {};
  size_t outBytes_ = 0;
  bool isUpgraded_ = false;
};

uint8_t page[2048];
uint8_t out[4096];
uint8_t in[512];

}  // namespace

int main() {
  char directory[] = "/tmp/holdfast-heap-XXXXXX";
  CHECK(mkdtemp(directory) != nullptr);
  static PosixFiles files(directory);
  static FixedReserve reserve;
  static Silent silent;
  static KernelRandom random;
  static FixedEdge edge;
  static NoSettings store;
  static RecordLog log(files, {page, sizeof page}, {8192, 4, WhenFull::dropOldest}, reserve, silent);
  static EdgeLink link(log, edge, random, silent, {out, sizeof out}, {in, sizeof in}, {{"h", 1, "d", "t"}, 10, 20});
  static Provisioning provisioning(store, silent);
  WallClock clock;
  CHECK(log.open());
  // The tripwire works.
  isCounting = true;
  free(malloc(1));
  CHECK_EQUAL(allocations, 1u);
  allocations = 0;
  clock.start(log.lastTimeMs(), 0);
  for (uint64_t turn = 0; turn < 3000; turn++) {
    uint64_t seq;
    const uint8_t payload[] = "{\"temperature\":20.5,\"filler\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}";
    CHECK(log.append(Kind::telemetry, payload, sizeof payload - 1, clock.now(turn), &seq) == Append::ok);
    if (turn % 8 == 0) CHECK(log.sync());
    // For a while there is no edge, so that the log drops.
    if (turn < 500 || turn > 1500) link.poll(turn * 10);
    if (turn % 64 == 0) CHECK(log.savePosition());
    for (const char* at = "set edge.host somewhere\nshow\nnonsense\n"; *at != '\0'; at++)
      provisioning.take(static_cast<uint8_t>(*at));
  }
  isCounting = false;
  CHECK(silent.acked > 1000 && silent.dropped > 100);
  CHECK_EQUAL(allocations, 0u);
  CHECK(files.list(
      [](void* context, const char* name) {
        if (name[0] != '.') static_cast<PosixFiles*>(context)->remove(name);
      },
      &files));
  CHECK(rmdir(directory) == 0);
}
