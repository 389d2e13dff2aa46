/**
 * The commands that this device was handed since its start, so that it does each once: the edge sends a command on
 * every new connection until its result is applied. A hash of the id is kept, of the last 16. After a reboot a command
 * whose result did not arrive comes again.
 */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

class CommandMemory {
 public:
  /** @returns false where this id was seen before */
  bool note(const char* id, size_t size) {
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < size; i++) hash = (hash ^ static_cast<uint8_t>(id[i])) * 0x100000001b3;
    for (const uint64_t known : hashes_) {
      if (known == hash) return false;
    }
    hashes_[next_++ % kCommands] = hash;
    return true;
  }

 private:
  static constexpr uint32_t kCommands = 16;
  uint64_t hashes_[kCommands] = {};
  uint32_t next_ = 0;
};

}  // namespace holdfast
