/**
 * The time of records. A record's time is fixed when it is appended and is sent with it each time: it is a part of
 * the key (device, time, seq) by which a record that comes twice is stored once. So a record never carries time 0,
 * which would let the edge's clock decide, differently each time.
 *
 * Before NTP has answered the time is estimated: it goes on from the last time that the log knows by what has passed
 * since the start. Such times are behind the true ones by as long as the device was off, and never ahead. `isEstimated`
 * says so; the wire has no place for it, so an application that has to know puts it into its payload, or waits.
 */
#pragma once
#include <cstdint>

namespace holdfast {

class WallClock {
 public:
  /** @param lastKnownMs the time of the newest record in the log; 0: unknown */
  void start(double lastKnownMs, uint64_t uptimeMs) {
    // 1 and not 0 for a device that has never known the time.
    offsetMs_ = (lastKnownMs < 1 ? 1 : lastKnownMs) - static_cast<double>(uptimeMs);
    isEstimated_ = true;
  }

  /** NTP has answered. */
  void set(double nowMs, uint64_t uptimeMs) {
    offsetMs_ = nowMs - static_cast<double>(uptimeMs);
    isEstimated_ = false;
  }

  /** Whole ms since 1970. */
  double now(uint64_t uptimeMs) const { return offsetMs_ + static_cast<double>(uptimeMs); }
  bool isEstimated() const { return isEstimated_; }

 private:
  double offsetMs_ = 1;
  bool isEstimated_ = true;
};

}  // namespace holdfast
