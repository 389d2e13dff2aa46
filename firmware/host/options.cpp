#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/handshake.h"

namespace holdfast {

namespace {

constexpr const char* kUsage =
    "holdfast-device --log DIRECTORY --id DEVICE [--edge HOST:PORT] [--generate RECORDS] [--rate PER_SECOND]\n"
    "                [--sync-every RECORDS] [--segment-bytes BYTES] [--segments COUNT] [--when-full oldest|newest]\n"
    "                [--max-backoff-ms MS]\n"
    "The device's token comes in HOLDFAST_TOKEN. Without --generate, records are lines on standard input:\n"
    "{\"data\": …}, {\"report\": …} or {\"result\": …}.\n";

[[noreturn]] void fail(const std::string& problem) {
  fprintf(stderr, "holdfast-device: %s\n%s", problem.c_str(), kUsage);
  exit(64);
}

uint64_t readNumber(const std::string& name, const char* text, uint64_t max) {
  char* end = nullptr;
  const uint64_t number = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || number > max)
    fail(name + " " + text + " is no number up to " + std::to_string(max));
  return number;
}

void readEdge(HostOptions& options, const std::string& value) {
  const size_t colon = value.rfind(':');
  if (colon == std::string::npos || colon == 0) fail("--edge is HOST:PORT");
  options.host = value.substr(0, colon);
  options.port = static_cast<uint16_t>(readNumber("the port", value.c_str() + colon + 1, 65535));
}

void readOption(HostOptions& options, const std::string& name, const char* value) {
  if (name == "--log")
    options.directory = value;
  else if (name == "--id")
    options.deviceId = value;
  else if (name == "--edge")
    readEdge(options, value);
  else if (name == "--generate")
    options.generate = readNumber(name, value, kMaxSeq);
  else if (name == "--rate")
    options.rate = static_cast<uint32_t>(readNumber(name, value, 1000000));
  else if (name == "--sync-every")
    options.syncEvery = static_cast<uint32_t>(readNumber(name, value, 1000));
  else if (name == "--segment-bytes")
    options.log.segmentBytes = static_cast<uint32_t>(readNumber(name, value, 1 << 30));
  else if (name == "--segments")
    options.log.maxSegments = static_cast<uint32_t>(readNumber(name, value, kMaxSegments));
  else if (name == "--max-backoff-ms")
    options.maxBackoffMs = static_cast<uint32_t>(readNumber(name, value, 3600000));
  else if (name == "--when-full" && strcmp(value, "newest") == 0)
    options.log.whenFull = WhenFull::refuseNewest;
  else if (name == "--when-full" && strcmp(value, "oldest") == 0)
    options.log.whenFull = WhenFull::dropOldest;
  else
    fail(name + " " + value + " is not known");
}

}  // namespace

HostOptions readOptions(int count, char** words) {
  HostOptions options;
  for (int i = 1; i < count; i += 2) {
    if (i + 1 == count) fail(std::string(words[i]) + " has no value");
    readOption(options, words[i], words[i + 1]);
  }
  if (options.directory.empty()) fail("--log is missing");
  if (!isDeviceId(options.deviceId.c_str())) fail("--id is missing, or no id of a device");
  if (options.syncEvery == 0) fail("--sync-every is at least 1");
  return options;
}

}  // namespace holdfast
