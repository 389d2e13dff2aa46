#include "provisioning.h"

#include <cstring>

namespace holdfast {

namespace {

/** Cuts the first word off. @returns what follows it */
char* cutWord(char* text) {
  char* space = strchr(text, ' ');
  if (space == nullptr) return text + strlen(text);
  *space = '\0';
  return space + 1;
}

}  // namespace

Request Provisioning::take(uint8_t byte) {
  if (byte == '\r') return Request::none;
  if (byte != '\n') {
    isBad_ = isBad_ || byte < ' ' || byte == 127 || length_ == kLineBytes - 1;
    if (!isBad_) line_[length_++] = static_cast<char>(byte);
    return Request::none;
  }
  line_[length_] = '\0';
  const bool isBad = isBad_;
  const bool isEmpty = length_ == 0;
  length_ = 0;
  isBad_ = false;
  if (isBad) fail("the line is too long or has control characters", "");
  return isBad || isEmpty ? Request::none : takeLine();
}

Request Provisioning::takeLine() {
  char* rest = cutWord(line_);
  if (strcmp(line_, "set") == 0)
    change(rest, false);
  else if (strcmp(line_, "add") == 0)
    change(rest, true);
  else if (strcmp(line_, "unset") == 0)
    unset(rest);
  else if (strcmp(line_, "show") == 0)
    show();
  else if (strcmp(line_, "status") == 0)
    return Request::status;
  else if (strcmp(line_, "restart") == 0)
    return Request::restart;
  else if (strcmp(line_, "format") == 0)
    return Request::format;
  else
    fail("set, add, unset, show, status, restart or format, not ", line_);
  return Request::none;
}

void Provisioning::change(char* words, bool isMore) {
  const char* value = cutWord(words);
  const Setting* setting = findSetting(words);
  if (setting == nullptr)
    fail("there is no setting ", words);
  else
    write(*setting, value, isMore);
}

void Provisioning::write(const Setting& setting, const char* value, bool isMore) {
  if (!isMore || !store_.read(setting.name, value_, sizeof value_)) value_[0] = '\0';
  const size_t length = strlen(value_);
  const size_t more = strlen(value);
  if (length + more > setting.maxBytes) {
    fail("too long: ", setting.allowed);
    return;
  }
  memcpy(value_ + length, value, more + 1);
  if (!setting.isValid(value_))
    fail("not allowed: ", setting.allowed);
  else if (!store_.write(setting.name, value_))
    fail("could not be written: ", setting.name);
  else
    printer_.print("ok\n");
}

void Provisioning::unset(const char* name) {
  if (findSetting(name) == nullptr)
    fail("there is no setting ", name);
  else if (!store_.erase(name))
    fail("could not be erased: ", name);
  else
    printer_.print("ok\n");
}

void Provisioning::show() {
  for (const Setting& setting : settings) {
    const bool isSet = store_.read(setting.name, value_, sizeof value_);
    printer_.print(setting.name);
    printer_.print(" ");
    printer_.print(!isSet ? "(unset)" : setting.isSecret ? "(set)" : value_);
    printer_.print("\n");
  }
  printer_.print("ok\n");
}

void Provisioning::fail(const char* what, const char* name) {
  printer_.print("error: ");
  printer_.print(what);
  printer_.print(name);
  printer_.print("\n");
}

}  // namespace holdfast
