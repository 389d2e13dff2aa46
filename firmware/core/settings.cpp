#include "settings.h"

#include <cstring>

#include "base64.h"
#include "handshake.h"

namespace holdfast {

namespace {

bool isPrintable(const char* value) {
  for (; *value != '\0'; value++) {
    if (*value <= ' ' || *value > '~') return false;
  }
  return true;
}

bool isName(const char* value) {
  return *value != '\0';
}

bool isPassword(const char* value) {
  return strlen(value) >= 8;
}

bool isHost(const char* value) {
  return *value != '\0' && isPrintable(value) && strchr(value, '/') == nullptr;
}

uint32_t readPort(const char* value) {
  uint32_t port = 0;
  for (; *value >= '0' && *value <= '9' && port <= 65535; value++)
    port = port * 10 + static_cast<uint32_t>(*value - '0');
  return *value == '\0' && port <= 65535 ? port : 0;
}

bool isPort(const char* value) {
  return readPort(value) > 0;
}

bool isSwitch(const char* value) {
  return strcmp(value, "on") == 0 || strcmp(value, "off") == 0;
}

bool isBase64(const char* value) {
  const char* at = value;
  while (isBase64Character(*at)) at++;
  return at != value && *at == '\0';
}

bool isToken(const char* value) {
  return *value != '\0' && isPrintable(value);
}

template <size_t N>
void loadText(SettingsStore& store, const char* name, char (&value)[N]) {
  if (!store.read(name, value, N)) value[0] = '\0';
}

}  // namespace

const Setting settings[kSettings] = {
    {"wifi.ssid", 32, false, isName, "1 to 32 bytes"},
    {"wifi.password", 63, true, isPassword, "8 to 63 bytes; unset for an open network"},
    {"edge.host", 128, false, isHost, "a name or an address, without a scheme"},
    {"edge.port", 5, false, isPort, "1 to 65535"},
    {"edge.tls", 3, false, isSwitch, "on or off; unset is on"},
    {"edge.ca", kMaxCaBytes, false, isBase64, "the certificate's base64 without its first and last line"},
    {"device.id", 128, false, isDeviceId, "letters, digits and . _ : -"},
    {"device.token", 128, true, isToken, "the token of this device's id"},
};

const Setting* findSetting(const char* name) {
  for (const Setting& setting : settings) {
    if (strcmp(setting.name, name) == 0) return &setting;
  }
  return nullptr;
}

void Settings::load(SettingsStore& store) {
  char text[8];
  loadText(store, "wifi.ssid", ssid);
  loadText(store, "wifi.password", password);
  loadText(store, "edge.host", host);
  loadText(store, "edge.ca", ca);
  loadText(store, "device.id", deviceId);
  loadText(store, "device.token", token);
  loadText(store, "edge.port", text);
  port = static_cast<uint16_t>(readPort(text));
  loadText(store, "edge.tls", text);
  isTls = strcmp(text, "off") != 0;
}

const char* Settings::missing() const {
  if (ssid[0] == '\0') return "wifi.ssid";
  if (host[0] == '\0') return "edge.host";
  if (port == 0) return "edge.port";
  if (deviceId[0] == '\0') return "device.id";
  // Without a certificate nobody knows to whom the token is given.
  if (isTls && ca[0] == '\0') return "edge.ca";
  return nullptr;
}

bool writePem(const char* base64, char* pem, size_t size) {
  constexpr size_t kLine = 64;
  constexpr char kFirst[] = "-----BEGIN CERTIFICATE-----\n";
  constexpr char kLast[] = "-----END CERTIFICATE-----\n";
  const size_t length = strlen(base64);
  if (length + length / kLine + 1 + sizeof kFirst + sizeof kLast > size) return false;
  memcpy(pem, kFirst, sizeof kFirst - 1);
  pem += sizeof kFirst - 1;
  for (size_t at = 0; at < length; at += kLine) {
    const size_t part = length - at < kLine ? length - at : kLine;
    memcpy(pem, base64 + at, part);
    pem += part;
    *pem++ = '\n';
  }
  memcpy(pem, kLast, sizeof kLast);
  return true;
}

}  // namespace holdfast
