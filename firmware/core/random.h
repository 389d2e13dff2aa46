/** Where randomness comes from: the hardware's on the device, the kernel's on the host. */
#pragma once
#include <cstdint>

namespace holdfast {

class Random {
 public:
  virtual ~Random() = default;
  virtual uint32_t next() = 0;
};

}  // namespace holdfast
