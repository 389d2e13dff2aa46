/** A TCP connection by POSIX sockets: the host's stand-in for the device's TLS. */
#pragma once
#include "../core/transport.h"

namespace holdfast {

class TcpTransport : public Transport {
 public:
  ~TcpTransport() override { close(); }
  bool connect(const char* host, uint16_t port) override;
  int32_t read(uint8_t* data, size_t size) override;
  int32_t write(const uint8_t* data, size_t size) override;
  void close() override;

 private:
  int socket_ = -1;
};

}  // namespace holdfast
