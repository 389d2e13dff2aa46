/**
 * How long to stay away after a connection has ended: full jitter, a random time up to a bound that doubles with each
 * failure, so that a fleet which lost its edge at one moment does not come back at one moment.
 */
#pragma once
#include "random.h"

namespace holdfast {

class Backoff {
 public:
  Backoff(uint32_t minMs, uint32_t maxMs) : minMs_(minMs), maxMs_(maxMs), boundMs_(minMs) {}

  /** The edge is there: the next wait begins small. */
  void reset() { boundMs_ = minMs_; }

  /** Takes note of a failure. @returns how long to wait, ms */
  uint32_t next(Random& random) {
    const uint32_t waitMs = static_cast<uint32_t>(static_cast<uint64_t>(random.next()) * (boundMs_ + 1ULL) >> 32);
    boundMs_ = boundMs_ < maxMs_ / 2 ? boundMs_ * 2 : maxMs_;
    return waitMs;
  }

 private:
  uint32_t minMs_;
  uint32_t maxMs_;
  uint32_t boundMs_;
};

}  // namespace holdfast
