/** The command line of holdfast-device. */
#pragma once
#include <cstdint>
#include <string>

#include "../core/record_log.h"

namespace holdfast {

struct HostOptions {
  std::string directory;
  std::string host = "127.0.0.1";
  uint16_t port = 7300;
  std::string deviceId;
  /** Records to make; 0: they come as lines on standard input. */
  uint64_t generate = 0;
  /** Records a second; 0: as fast as the log takes them. */
  uint32_t rate = 0;
  /** Records that share a sync. */
  uint32_t syncEvery = 8;
  uint32_t maxBackoffMs = 60000;
  LogOptions log = {16 * 1024, kMaxSegments, WhenFull::dropOldest};
};

/** Reads the command line; on a wrong one it says what is wrong and ends the process with 64. */
HostOptions readOptions(int count, char** words);

}  // namespace holdfast
