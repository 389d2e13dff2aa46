#include "arduino_ports.h"

namespace holdfast {

namespace {
constexpr int32_t kConnectTimeoutMs = 5000;
constexpr unsigned long kHandshakeTimeoutSeconds = 5;
}  // namespace

void WiFiTransport::begin(const char* pem) {
  if (pem == nullptr) return;
  secure_.setCACert(pem);
  secure_.setHandshakeTimeout(kHandshakeTimeoutSeconds);
  client_ = &secure_;
}

bool WiFiTransport::connect(const char* host, uint16_t port) {
  if (WiFi.status() != WL_CONNECTED) return false;
  // Not by client_: the base class has no virtual connect with a timeout.
  if (client_ == &secure_) return secure_.connect(host, port, kConnectTimeoutMs) == 1;
  return plain_.connect(host, port, kConnectTimeoutMs) == 1;
}

int32_t WiFiTransport::read(uint8_t* data, size_t size) {
  // read() answers -1 both to "nothing yet" and to "over".
  if (client_->available() <= 0) return client_->connected() ? 0 : -1;
  const int got = client_->read(data, size);
  return got > 0 ? got : 0;
}

int32_t WiFiTransport::write(const uint8_t* data, size_t size) {
  const size_t taken = client_->write(data, size);
  if (taken > 0) return static_cast<int32_t>(taken);
  return client_->connected() ? 0 : -1;
}

void WiFiTransport::close() {
  client_->stop();
}

bool Nvs::read(const char* name, char* value, size_t size) {
  return preferences_.isKey(name) && preferences_.getString(name, value, size) > 0;
}

bool Nvs::write(const char* name, const char* value) {
  return preferences_.putString(name, value) == strlen(value);
}

bool Nvs::erase(const char* name) {
  return !preferences_.isKey(name) || preferences_.remove(name);
}

}  // namespace holdfast
