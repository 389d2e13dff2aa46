/**
 * The acked position on flash: every record through it is done.
 *
 * Entries of 16 bytes, `u32 crc of the rest | u32 magic "HFP1" | f64 seq`, are appended to one of two files, so that an
 * ack costs an entry and no rewrite. A file of 32 entries (512 bytes) is what LittleFS keeps inside the directory's own
 * block: an append is one small commit there. A full file, or one with a torn end, is succeeded by the other: the entry
 * is written there first and the full one removed after. The greatest valid seq of both files counts, so it does not
 * matter where the power fails: a position never goes back behind one that was saved.
 */
#pragma once
#include "file_system.h"

namespace holdfast {

class PositionLog {
 public:
  explicit PositionLog(FileSystem& files) : files_(files) {}

  /** Reads what is there. @returns false where the file system does not answer */
  bool load();

  /** The greatest seq saved; 0: none. */
  uint64_t seq() const { return seq_; }

  /** Makes `seq` durable; one that is not greater is saved already. */
  bool save(uint64_t seq);

  uint64_t bytesWritten() const { return bytesWritten_; }

 private:
  struct Found {
    uint64_t seq;
    uint32_t entries;
    bool clean;
  };

  Found readFile(int which);
  bool append(int which, uint64_t seq);
  bool succeed(uint64_t seq);

  FileSystem& files_;
  uint64_t seq_ = 0;
  int active_ = 0;
  uint32_t entries_ = 0;
  bool clean_ = true;
  uint64_t bytesWritten_ = 0;
};

}  // namespace holdfast
