/**
 * The Arduino names that the device layer uses, with nothing behind them: what its compile check on the host needs.
 * Written from the public documentation of the ESP32's Arduino core 2.0; a signature that is wrong here is wrong on the
 * device.
 */
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

class HardwareSerial {
 public:
  void begin(unsigned long baud);
  int available();
  int read();
  size_t print(const char* text);
  size_t println(const char* text);
  size_t printf(const char* format, ...) __attribute__((format(printf, 2, 3)));
};
extern HardwareSerial Serial;

class EspClass {
 public:
  void restart();
};
extern EspClass ESP;

float temperatureRead();
void delay(uint32_t ms);
uint32_t esp_random();
void configTime(long gmtOffsetSeconds, int daylightOffsetSeconds, const char* server1, const char* server2 = nullptr,
                const char* server3 = nullptr);
void setup();
void loop();
