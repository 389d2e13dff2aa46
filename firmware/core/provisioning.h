/**
 * Settings over a serial line, a command a line, an answer of `ok` or `error: …` to each:
 *
 *   set <name> <value>    the value goes to the end of the line, spaces and all
 *   add <name> <more>     appends to the value, for what is longer than a line takes (edge.ca)
 *   unset <name>
 *   show                  every setting; of a secret only whether it is set
 *   status, restart, format    are for the device, and handed on
 *
 * A line has at most 511 bytes. A longer one, or one with control characters, is refused whole: a value that was cut
 * would be a wrong one.
 */
#pragma once
#include "settings.h"

namespace holdfast {

class Printer {
 public:
  virtual ~Printer() = default;
  virtual void print(const char* text) = 0;
};

/** What a line asks of the device itself. */
enum class Request { none, status, restart, format };

class Provisioning {
 public:
  Provisioning(SettingsStore& store, Printer& printer) : store_(store), printer_(printer) {}

  /** Takes a byte of the serial line. @returns what the device is asked for by the line that this byte has ended */
  Request take(uint8_t byte);

 private:
  static constexpr size_t kLineBytes = 512;

  Request takeLine();
  void change(char* words, bool isMore);
  void write(const Setting& setting, const char* value, bool isMore);
  void unset(const char* name);
  void show();
  void fail(const char* what, const char* name);

  SettingsStore& store_;
  Printer& printer_;
  char line_[kLineBytes] = {};
  size_t length_ = 0;
  bool isBad_ = false;
  /** For a value that is longer than a line. */
  char value_[kMaxCaBytes + 1] = {};
};

}  // namespace holdfast
