/** A connection to the edge: TLS on the device, TCP on the host. Nothing but `connect` waits. */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

class Transport {
 public:
  virtual ~Transport() = default;
  /** Connects, TLS included; may take seconds, but not more than ten. */
  virtual bool connect(const char* host, uint16_t port) = 0;
  /** @returns the bytes read; 0: none now; -1: the connection is over */
  virtual int32_t read(uint8_t* data, size_t size) = 0;
  /** @returns the bytes taken, which may be 0; -1: the connection is over */
  virtual int32_t write(const uint8_t* data, size_t size) = 0;
  virtual void close() = 0;
};

}  // namespace holdfast
