/**
 * A directory by the POSIX calls: of the host's disk, or, on the device, of LittleFS where ESP-IDF's VFS has mounted
 * it. Each call opens and closes its file; one that is made is durable once its directory is synced too (LittleFS does
 * that by itself and cannot open a directory).
 */
#pragma once
#include "../core/file_system.h"

namespace holdfast {

class PosixFiles : public FileSystem {
 public:
  /** @param directory is there, and its text stays the caller's */
  explicit PosixFiles(const char* directory) : directory_(directory) {}

  Write append(const char* name, const uint8_t* data, size_t size) override;
  bool sync(const char* name) override;
  int32_t read(const char* name, uint32_t offset, uint8_t* data, size_t size) override;
  bool remove(const char* name) override;
  bool list(void (*visit)(void* context, const char* name), void* context) override;

 private:
  static constexpr size_t kPathBytes = 512;
  using Path = char[kPathBytes];

  bool pathOf(const char* name, Path& path) const;
  bool syncDirectory() const;

  const char* directory_;
};

}  // namespace holdfast
