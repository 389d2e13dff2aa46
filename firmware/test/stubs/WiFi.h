/** See Arduino.h. */
#pragma once
#include <Arduino.h>

enum wl_status_t { WL_IDLE_STATUS = 0, WL_CONNECTED = 3, WL_DISCONNECTED = 6 };
enum wifi_mode_t { WIFI_OFF = 0, WIFI_STA = 1 };

class WiFiClient {
 public:
  virtual ~WiFiClient() = default;
  int connect(const char* host, uint16_t port, int32_t timeoutMs);
  virtual size_t write(const uint8_t* data, size_t size);
  virtual int available();
  virtual int read(uint8_t* data, size_t size);
  virtual void stop();
  virtual uint8_t connected();
};

class WiFiClass {
 public:
  bool mode(wifi_mode_t mode);
  bool setAutoReconnect(bool on);
  wl_status_t begin(const char* ssid, const char* passphrase = nullptr);
  wl_status_t status();
};
extern WiFiClass WiFi;
