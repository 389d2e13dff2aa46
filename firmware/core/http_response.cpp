#include "http_response.h"

#include <cstring>

namespace holdfast {

namespace {

/** Far more than any edge says; a peer that goes on is no edge. */
constexpr uint32_t kMaxBytes = 8192;

char lower(char character) {
  return character >= 'A' && character <= 'Z' ? static_cast<char>(character + 32) : character;
}

bool isSame(const char* text, const char* wanted) {
  for (; *text != '\0' && lower(*text) == *wanted; text++) wanted++;
  return *text == *wanted;
}

/** Whether a list as `keep-alive, Upgrade` names a word. */
bool hasWord(const char* list, const char* word) {
  const size_t length = strlen(word);
  for (const char* at = list; *at != '\0'; at++) {
    size_t same = 0;
    while (same < length && lower(at[same]) == word[same]) same++;
    if (same == length) return true;
  }
  return false;
}

int32_t readSeconds(const char* text) {
  int32_t seconds = 0;
  if (*text == '\0') return -1;
  for (; *text != '\0'; text++) {
    // Nobody is sent away for longer than a week; what is no number is no wait.
    if (*text < '0' || *text > '9' || seconds > 604800) return -1;
    seconds = seconds * 10 + (*text - '0');
  }
  return seconds;
}

template <size_t N>
void copy(char (&to)[N], const char* from) {
  const size_t length = strlen(from);
  // One that does not fit is not what is expected either.
  if (length < N) memcpy(to, from, length + 1);
}

}  // namespace

HttpResponse::State HttpResponse::take(uint8_t byte) {
  if (state_ != State::reading) return state_;
  if (++bytes_ > kMaxBytes || byte == 0) return state_ = State::malformed;
  if (byte != '\n') {
    if (length_ < sizeof line_ - 1) line_[length_++] = static_cast<char>(byte);
    return state_;
  }
  if (length_ > 0 && line_[length_ - 1] == '\r') length_--;
  line_[length_] = '\0';
  state_ = takeLine();
  length_ = 0;
  return state_;
}

HttpResponse::State HttpResponse::takeLine() {
  if (status_ == 0) return takeStatus();
  return length_ == 0 ? State::done : takeHeader();
}

HttpResponse::State HttpResponse::takeStatus() {
  if (strncmp(line_, "HTTP/1.1 ", 9) != 0 || length_ < 12) return State::malformed;
  for (int i = 9; i < 12; i++) {
    if (line_[i] < '0' || line_[i] > '9') return State::malformed;
    status_ = status_ * 10 + (line_[i] - '0');
  }
  return status_ >= 100 ? State::reading : State::malformed;
}

HttpResponse::State HttpResponse::takeHeader() {
  char* colon = strchr(line_, ':');
  if (colon == nullptr) return State::malformed;
  *colon = '\0';
  char* value = colon + 1;
  while (*value == ' ' || *value == '\t') value++;
  char* end = line_ + length_;
  while (end > value && (end[-1] == ' ' || end[-1] == '\t')) *--end = '\0';
  if (isSame(line_, "upgrade")) upgrade_ = isSame(value, "websocket");
  if (isSame(line_, "connection")) connection_ = connection_ || hasWord(value, "upgrade");
  if (isSame(line_, "sec-websocket-accept")) copy(accept_, value);
  if (isSame(line_, "sec-websocket-protocol")) copy(protocol_, value);
  if (isSame(line_, "sec-websocket-extensions")) extensions_ = true;
  if (isSame(line_, "retry-after")) retryAfterSeconds_ = readSeconds(value);
  return State::reading;
}

}  // namespace holdfast
