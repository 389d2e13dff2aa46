/**
 * The device: wires the core to the chip. Says the chip's temperature once a second; put your sensors into `sample`,
 * and what your device does into `onDelta` and `onCommand`.
 *
 * Everything is static: nothing here asks for memory after `setup`. (The TLS stack, LittleFS and Wi-Fi do, as they are
 * made.)
 */
#include <Arduino.h>
#include <LittleFS.h>
#include <WiFi.h>
#include <esp_timer.h>
#include <sys/time.h>

#include "../core/edge_link.h"
#include "../core/json_members.h"
#include "../core/wall_clock.h"
#include "../ports/posix_files.h"
#include "arduino_ports.h"

using namespace holdfast;

namespace {

constexpr const char* kMount = "/littlefs";
constexpr const char* kPartition = "littlefs";
/** At most so many ms of records are not in flash. Longer is less wear: see README.md. */
constexpr uint64_t kSyncMs = 10000;
constexpr uint64_t kPositionMs = 60000;
constexpr uint64_t kSampleMs = 1000;
/** Before this the chip's clock was not set by NTP: November 2023. */
constexpr time_t kEarliestTime = 1700000000;
/** 1 MiB of the partition's 1.9: LittleFS wants room to level wear. */
constexpr LogOptions kLogOptions = {16 * 1024, kMaxSegments, WhenFull::dropOldest};

uint8_t page[4096];
uint8_t outBuffer[8192];
uint8_t inBuffer[4096];
char pem[kMaxCaBytes + 160];

uint64_t uptimeMs() {
  return static_cast<uint64_t>(esp_timer_get_time()) / 1000;
}

class Device : public LogEvents, public LinkEvents {
 public:
  void begin();
  void turn();

  void onDropped(uint64_t first, uint64_t last) override {
    Serial.printf("dropped %llu to %llu\n", static_cast<unsigned long long>(first),
                  static_cast<unsigned long long>(last));
  }
  void onOpen() override { Serial.println("connected"); }
  void onEnd(const char* reason, uint64_t waitMs) override {
    Serial.printf("%s; again in %llu ms\n", reason, static_cast<unsigned long long>(waitMs));
  }
  void onRefused(uint64_t seq, const char* error, size_t size) override {
    Serial.printf("record %llu was refused: %.*s\n", static_cast<unsigned long long>(seq), static_cast<int>(size),
                  error);
  }
  void onDelta(uint64_t version, const char* delta, size_t size) override;
  void onCommand(const char* command, size_t size) override;

 private:
  bool mount();
  void connect();
  void sample();
  void say(Kind kind, const char* payload, size_t size);
  void sync();
  void setClock();
  void listen();
  void status();
  void format();

  Nvs nvs_;
  SerialPrinter printer_;
  Settings settings_ = {};
  Provisioning provisioning_{nvs_, printer_};
  PosixFiles files_{kMount};
  ChipRandom random_;
  WiFiTransport transport_;
  WallClock clock_;
  RecordLog log_{files_, {page, sizeof page}, kLogOptions, nvs_, *this};
  EdgeLink* link_ = nullptr;
  bool isLogOpen_ = false;
  uint64_t sampledMs_ = 0;
  uint64_t syncedMs_ = 0;
  uint64_t savedMs_ = 0;
};

void Device::begin() {
  if (!nvs_.begin()) Serial.println("error: NVS cannot be opened");
  settings_.load(nvs_);
  isLogOpen_ = mount() && log_.open();
  if (!isLogOpen_)
    Serial.println("error: the log cannot be opened; `format` erases it, with every record that is not acked");
  clock_.start(log_.lastTimeMs(), uptimeMs());
  const char* missing = settings_.missing();
  if (missing != nullptr)
    Serial.printf("not provisioned: set %s\n", missing);
  else
    connect();
}

/** Formats a new chip's flash, and no other: what cannot be read may hold records. */
bool Device::mount() {
  if (LittleFS.begin(false, kMount, 4, kPartition)) return true;
  if (nvs_.wasFormatted()) return false;
  return LittleFS.begin(true, kMount, 4, kPartition) && nvs_.noteFormatted();
}

void Device::connect() {
  if (settings_.isTls && !writePem(settings_.ca, pem, sizeof pem)) {
    Serial.println("error: edge.ca is too long");
    return;
  }
  transport_.begin(settings_.isTls ? pem : nullptr);
  WiFi.mode(WIFI_STA);
  WiFi.setAutoReconnect(true);
  WiFi.begin(settings_.ssid, settings_.password[0] == '\0' ? nullptr : settings_.password);
  configTime(0, 0, "pool.ntp.org", "time.google.com");
  static EdgeLink link(log_, transport_, random_, *this, {outBuffer, sizeof outBuffer}, {inBuffer, sizeof inBuffer},
                       {{settings_.host, settings_.port, settings_.deviceId, settings_.token}, 500, 60000});
  link_ = &link;
}

void Device::turn() {
  listen();
  if (!isLogOpen_) return;
  setClock();
  const uint64_t nowMs = uptimeMs();
  if (nowMs - sampledMs_ >= kSampleMs) {
    sampledMs_ = nowMs;
    sample();
  }
  if (nowMs - syncedMs_ >= kSyncMs) sync();
  if (nowMs - savedMs_ >= kPositionMs) {
    savedMs_ = nowMs;
    if (!log_.savePosition()) Serial.println("error: the position cannot be saved");
  }
  if (link_ != nullptr) link_->poll(nowMs);
}

void Device::sample() {
  char payload[96];
  const int size = snprintf(payload, sizeof payload, "{\"temperature\":%d,\"clock\":\"%s\"}",
                            static_cast<int>(temperatureRead()), clock_.isEstimated() ? "estimated" : "ntp");
  say(Kind::telemetry, payload, static_cast<size_t>(size));
}

void Device::say(Kind kind, const char* payload, size_t size) {
  uint64_t seq = 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(payload);
  const Append answer = log_.append(kind, bytes, size, clock_.now(uptimeMs()), &seq);
  if (answer == Append::full) Serial.println("error: the log is full");
  if (answer == Append::unfit) Serial.println("error: a record does not fit the page");
  if (answer == Append::failed) Serial.println("error: the log cannot be written");
}

void Device::sync() {
  syncedMs_ = uptimeMs();
  if (!log_.sync()) Serial.println("error: the log cannot be synced");
}

void Device::setClock() {
  timeval now;
  gettimeofday(&now, nullptr);
  if (!clock_.isEstimated() || now.tv_sec < kEarliestTime) return;
  clock_.set(static_cast<double>(now.tv_sec) * 1000 + static_cast<double>(now.tv_usec / 1000), uptimeMs());
}

/** Applies what is desired, and reports it. The log takes it with the next sync. */
void Device::onDelta(uint64_t, const char* delta, size_t size) {
  say(Kind::report, delta, size);
}

/** Does a command, and answers it: the result must be in flash before anything that could restart the chip. */
void Device::onCommand(const char* command, size_t size) {
  const Slice id = findMember(command, size, "id");
  char result[256];
  const int length =
      snprintf(result, sizeof result, "{\"id\":%.*s,\"status\":\"SUCCEEDED\"}", static_cast<int>(id.size), id.text);
  if (length <= 0 || static_cast<size_t>(length) >= sizeof result) return;
  say(Kind::result, result, static_cast<size_t>(length));
  sync();
}

void Device::listen() {
  while (Serial.available() > 0) {
    switch (provisioning_.take(static_cast<uint8_t>(Serial.read()))) {
      case Request::status:
        status();
        break;
      case Request::restart:
        if (isLogOpen_ && !(log_.sync() && log_.savePosition())) Serial.println("error: the log cannot be synced");
        ESP.restart();
        break;
      case Request::format:
        format();
        break;
      case Request::none:
        break;
    }
  }
}

void Device::status() {
  const LogCounts counts = log_.counts();
  Serial.printf("next %llu acked %llu dropped %llu damaged %llu failed writes %llu segments %u bytes %u\n",
                static_cast<unsigned long long>(log_.nextSeq()), static_cast<unsigned long long>(log_.ackedSeq()),
                static_cast<unsigned long long>(counts.dropped), static_cast<unsigned long long>(counts.damaged),
                static_cast<unsigned long long>(counts.failedWrites), static_cast<unsigned>(log_.segments()),
                static_cast<unsigned>(log_.usedBytes()));
  Serial.printf("wifi %s edge %s clock %s\nok\n", WiFi.status() == WL_CONNECTED ? "connected" : "away",
                link_ != nullptr && link_->isOpen() ? "connected" : "away", clock_.isEstimated() ? "estimated" : "ntp");
}

void Device::format() {
  if (!LittleFS.format()) {
    Serial.println("error: the flash cannot be formatted");
    return;
  }
  nvs_.noteFormatted();
  Serial.println("ok");
  ESP.restart();
}

Device device;

}  // namespace

void setup() {
  Serial.begin(115200);
  device.begin();
}

void loop() {
  device.turn();
  delay(1);
}
