#include "json_members.h"

#include <cstring>

#include "bytes.h"

namespace holdfast {

namespace {

/** Reads on within bounds; 0 is what stands behind the end. */
class Reader {
 public:
  Reader(const char* text, size_t size) : at_(text), end_(text + size) {}

  const char* at() const { return at_; }
  char here() const { return at_ < end_ ? *at_ : '\0'; }

  void skipSpace() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) at_++;
  }

  bool skip(char character) {
    skipSpace();
    if (here() != character || at_ == end_) return false;
    at_++;
    return true;
  }

  Slice string() {
    skipSpace();
    const char* start = at_;
    if (!skip('"')) return {start, 0};
    while (at_ < end_ && *at_ != '"') at_ += *at_ == '\\' && end_ - at_ > 1 ? 2 : 1;
    if (at_ >= end_) return {start, 0};
    at_++;
    return {start, static_cast<size_t>(at_ - start)};
  }

  /** Everything up to the comma or bracket that ends the value. */
  Slice value() {
    skipSpace();
    const char* start = at_;
    int depth = 0;
    while (at_ < end_) {
      const char character = *at_;
      if (character == '"') {
        if (string().size == 0) return {start, 0};
        continue;
      }
      if (depth == 0 && (character == ',' || character == '}' || character == ']')) break;
      if (character == '{' || character == '[') depth++;
      if (character == '}' || character == ']') depth--;
      at_++;
    }
    const char* end = at_;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r')) end--;
    return {start, static_cast<size_t>(end - start)};
  }

 private:
  const char* at_;
  const char* end_;
};

}  // namespace

Slice findMember(const char* text, size_t size, const char* name) {
  Reader reader(text, size);
  const Slice nothing = {text, 0};
  if (!reader.skip('{')) return nothing;
  const size_t length = strlen(name);
  do {
    const Slice key = reader.string();
    if (key.size == 0 || !reader.skip(':')) return nothing;
    const Slice value = reader.value();
    if (value.size == 0) return nothing;
    if (key.size == length + 2 && memcmp(key.text + 1, name, length) == 0) return value;
  } while (reader.skip(','));
  return nothing;
}

bool copyString(Slice value, char* to, size_t size) {
  if (value.size < 2 || value.text[0] != '"' || value.size - 2 >= size) return false;
  const size_t length = value.size - 2;
  if (memchr(value.text + 1, '\\', length) != nullptr) return false;
  memcpy(to, value.text + 1, length);
  to[length] = '\0';
  return true;
}

uint64_t wholeNumber(Slice value, uint64_t otherwise) {
  if (value.size == 0 || value.size > 16) return otherwise;
  uint64_t number = 0;
  for (size_t i = 0; i < value.size; i++) {
    if (value.text[i] < '0' || value.text[i] > '9') return otherwise;
    number = number * 10 + static_cast<uint64_t>(value.text[i] - '0');
  }
  return number <= kMaxSeq ? number : otherwise;
}

}  // namespace holdfast
