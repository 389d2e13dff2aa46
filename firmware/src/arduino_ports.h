/** What the core asks for, by the Arduino core of the ESP32: TLS, hardware randomness, NVS, the serial line. Nothing
 * else is here. */
#pragma once
#include <Arduino.h>
#include <Preferences.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>

#include "../core/provisioning.h"
#include "../core/random.h"
#include "../core/record_log.h"
#include "../core/transport.h"

namespace holdfast {

/** TLS, or bare TCP where the device was told so (`edge.tls off`, for a bench). */
class WiFiTransport : public Transport {
 public:
  /** @param pem the certificate that the edge's must lead to; it stays the caller's. nullptr: no TLS */
  void begin(const char* pem);
  bool connect(const char* host, uint16_t port) override;
  int32_t read(uint8_t* data, size_t size) override;
  int32_t write(const uint8_t* data, size_t size) override;
  void close() override;

 private:
  WiFiClient plain_;
  WiFiClientSecure secure_;
  WiFiClient* client_ = &plain_;
};

class ChipRandom : public Random {
 public:
  uint32_t next() override { return esp_random(); }
};

/** Settings and the reserved seqs, in NVS. */
class Nvs : public SettingsStore, public SeqReserve {
 public:
  bool begin() { return preferences_.begin("holdfast", false); }
  bool read(const char* name, char* value, size_t size) override;
  bool write(const char* name, const char* value) override;
  bool erase(const char* name) override;
  uint64_t load() override { return preferences_.getULong64("seq", 0); }
  bool store(uint64_t seq) override { return preferences_.putULong64("seq", seq) == sizeof seq; }
  /** Whether this chip's flash was formatted once: after that an unreadable file system is a fault, and not a new
   * device. */
  bool wasFormatted() { return preferences_.getBool("formatted", false); }
  bool noteFormatted() { return preferences_.putBool("formatted", true) == 1; }

 private:
  Preferences preferences_;
};

class SerialPrinter : public Printer {
 public:
  void print(const char* text) override { Serial.print(text); }
};

}  // namespace holdfast
