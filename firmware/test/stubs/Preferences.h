/** See Arduino.h. */
#pragma once
#include <Arduino.h>

class Preferences {
 public:
  bool begin(const char* name, bool readOnly = false, const char* partition = nullptr);
  bool isKey(const char* key);
  bool remove(const char* key);
  size_t putString(const char* key, const char* value);
  size_t getString(const char* key, char* value, size_t maxLength);
  size_t putULong64(const char* key, uint64_t value);
  uint64_t getULong64(const char* key, uint64_t otherwise = 0);
  size_t putBool(const char* key, bool value);
  bool getBool(const char* key, bool otherwise = false);
};
