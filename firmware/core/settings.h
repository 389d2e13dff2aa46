/** What a device is told once, over its serial line: the network, the edge, who it is. Kept in NVS; none of it is in
 * the source. */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

/** Texts by a short name; on the device the Preferences library, whose names have at most 15 characters. */
class SettingsStore {
 public:
  virtual ~SettingsStore() = default;
  /** Reads a text with its NUL. @returns false where it is not there or does not fit */
  virtual bool read(const char* name, char* value, size_t size) = 0;
  virtual bool write(const char* name, const char* value) = 0;
  virtual bool erase(const char* name) = 0;
};

/** One setting, and what may be its value. */
struct Setting {
  const char* name;
  /** Bytes without the NUL. */
  size_t maxBytes;
  /** Never shown again. */
  bool isSecret;
  bool (*isValid)(const char* value);
  const char* allowed;
};

constexpr size_t kSettings = 8;
extern const Setting settings[kSettings];

/** nullptr: there is none of this name. */
const Setting* findSetting(const char* name);

constexpr size_t kMaxCaBytes = 3000;

/** All of them, as the device uses them; an unset one is empty. */
struct Settings {
  char ssid[33];
  char password[64];
  char host[129];
  uint16_t port;
  bool isTls;
  char ca[kMaxCaBytes + 1];
  char deviceId[129];
  char token[129];

  void load(SettingsStore& store);
  /** @returns the first one that is missing; nullptr: the device can connect */
  const char* missing() const;
};

/** Makes a PEM certificate of one line of base64. @returns false where it does not fit */
bool writePem(const char* base64, char* pem, size_t size);

}  // namespace holdfast
