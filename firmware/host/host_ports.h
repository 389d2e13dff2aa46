/** The kernel's random numbers and clocks, and a file for the reserved seqs: what NVS and the chip are on the device.
 */
#pragma once
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "../core/random.h"
#include "../core/record_log.h"

namespace holdfast {

class KernelRandom : public Random {
 public:
  uint32_t next() override {
    uint32_t number = 0;
    // Of so few bytes it never gives a part.
    if (getrandom(&number, sizeof number, 0) != sizeof number) abort();
    return number;
  }
};

/** A number in a file that is replaced whole. */
class ReserveFile : public SeqReserve {
 public:
  explicit ReserveFile(const std::string& directory) : path_(directory + "/reserve"), fresh_(path_ + ".new") {}

  uint64_t load() override {
    unsigned long long seq = 0;
    FILE* file = fopen(path_.c_str(), "r");
    if (file == nullptr) return 0;
    const bool isRead = fscanf(file, "%llu", &seq) == 1;
    fclose(file);
    return isRead ? seq : 0;
  }

  bool store(uint64_t seq) override {
    char text[24];
    const int size = snprintf(text, sizeof text, "%llu\n", static_cast<unsigned long long>(seq));
    const int file = open(fresh_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0) return false;
    const bool isWritten = write(file, text, static_cast<size_t>(size)) == size && fsync(file) == 0;
    return close(file) == 0 && isWritten && rename(fresh_.c_str(), path_.c_str()) == 0;
  }

 private:
  std::string path_;
  std::string fresh_;
};

inline uint64_t clockMs(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

}  // namespace holdfast
