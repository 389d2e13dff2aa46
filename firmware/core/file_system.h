/**
 * What the log asks of a file system. No file stays open between calls: the log's state is then the files alone,
 * whatever fails in between, and LittleFS shows a file that was open before an append as it was then.
 *
 * On the device this is LittleFS behind the POSIX calls of ESP-IDF's VFS, not Arduino's File: its flush() returns
 * nothing, and a log must hear that a sync has failed.
 */
#pragma once
#include <cstddef>
#include <cstdint>

namespace holdfast {

enum class Write { ok, noSpace, failed };

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  /**
   * Appends to a file, which is made where it is missing. @returns ok once bytes and file are durable. After anything
   * else, or a power cut, any of the bytes may be there, or others of the same number.
   */
  virtual Write append(const char* name, const uint8_t* data, size_t size) = 0;

  /** Makes durable what an earlier append may have left in a cache. */
  virtual bool sync(const char* name) = 0;

  /** @returns the bytes read, fewer at the end of the file; -1 where it cannot be read or is not there */
  virtual int32_t read(const char* name, uint32_t offset, uint8_t* data, size_t size) = 0;

  /** A file that is not there counts as removed; one that is may come back by a power cut. */
  virtual bool remove(const char* name) = 0;

  /** Calls `visit` for every file of the log's directory. */
  virtual bool list(void (*visit)(void* context, const char* name), void* context) = 0;
};

}  // namespace holdfast
