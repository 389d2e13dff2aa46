/**
 * The device's records in flash, until the edge has acked them.
 *
 * Accepted is a record once `append` and a `sync` after it have returned ok: from then on it survives a power cut at
 * any moment. What was appended and not synced may be lost, is never sent, and its seq is given again.
 *
 * Records gather in a page of RAM and go to flash together: at `sync`, or when the page is full. The number of
 * syncs is what wears flash (LittleFS rewrites the last block of a file at each), so call it once for several records.
 *
 * Segments (segment.h) follow each other. A segment goes when all of it is acked; the position
 * (position_log.h) is saved then, and whenever the loop asks for it. The last segment stays: the next seq and the
 * device's idea of the time are read from it. Behind an unreadable end nothing is appended; the next write begins
 * another segment.
 *
 * Flash is bounded: `maxSegments` of `segmentBytes`, and for a moment one more. When they are full, `dropOldest`
 * removes the oldest segment; its unacked records are lost, told through LogEvents before it goes, and counted in the
 * header of the segment that took its place, which is written before the old one goes. `refuseNewest` accepts nothing
 * instead.
 *
 * Seqs rise by one over the life of the device. They are derived from the log; SeqReserve, kept somewhere else (NVS),
 * holds a mark that they have never passed, from which a device goes on whose log was wiped.
 *
 * No heap: the segment table is here, the page is the caller's. The largest record is what fits the page, so a firmware
 * update must not make the page smaller.
 */
#pragma once
#include "position_log.h"
#include "segment.h"

namespace holdfast {

/** Where the mark is kept that no seq has passed. */
class SeqReserve {
 public:
  virtual ~SeqReserve() = default;
  /** 0: there is none. */
  virtual uint64_t load() = 0;
  virtual bool store(uint64_t seq) = 0;
};

class LogEvents {
 public:
  virtual ~LogEvents() = default;
  /** The unacked records from `firstSeq` to `lastSeq` are about to be lost for want of room. */
  virtual void onDropped(uint64_t firstSeq, uint64_t lastSeq) = 0;
};

enum class WhenFull { dropOldest, refuseNewest };

constexpr uint32_t kMaxSegments = 64;

struct LogOptions {
  uint32_t segmentBytes;
  /** 2 to kMaxSegments. */
  uint32_t maxSegments;
  WhenFull whenFull;
};

enum class Append {
  ok,
  /** It does not fit the page, or has no payload: it never will be taken. */
  unfit,
  /** The log is full of unacked records, and the rule is refuseNewest. */
  full,
  /** Flash could not be written. */
  failed,
};

/** Where a reader of the log stands. */
struct LogCursor {
  uint32_t number = 0;
  uint32_t offset = 0;
  /** Records through this seq are passed over. */
  uint64_t afterSeq = 0;
};

/** Frames in a row, as they go on the wire. */
struct Frames {
  size_t bytes;
  uint32_t records;
  uint64_t lastSeq;
};

struct LogCounts {
  uint64_t dropped = 0;
  uint64_t refused = 0;
  uint64_t damaged = 0;
  uint64_t failedWrites = 0;
  uint64_t failedReads = 0;
  uint64_t bytesWritten = 0;
  uint64_t writes = 0;
};

class RecordLog {
 public:
  /** @param page as large as what should be written at a time; 4 KiB on the device */
  RecordLog(FileSystem& files, Span page, const LogOptions& options, SeqReserve& reserve, LogEvents& events);

  /** Reads what is there. @returns false where the options make no sense or the file system does not answer */
  bool open();

  /** Takes a record into the page. @param seq its seq, where it is ok */
  Append append(Kind kind, const uint8_t* payload, size_t size, double timeMs, uint64_t* seq);

  /** Makes everything appended durable. @returns false where it is not; another sync tries again */
  bool sync();

  /** Every record through `seq` is done. Segments go as soon as nothing in them is needed. */
  void acknowledge(uint64_t seq);

  /** Saves the position where it has moved; the loop calls it now and then. */
  bool savePosition() { return position_.save(acked_); }

  LogCursor cursorAt(uint64_t afterSeq) const { return {0, 0, afterSeq}; }

  /**
   * Fills `out` with whole frames of synced records after the cursor, and moves it. At most `maxRecords`, and no more
   * than fit. `out` must have room for the largest record and its CRC. @returns no record at the end of the log
   */
  Frames read(LogCursor& cursor, Span out, uint32_t maxRecords);

  uint64_t ackedSeq() const { return acked_; }
  uint64_t nextSeq() const { return nextSeq_; }
  /** The first seq behind `seq` that the log can hold: there is a gap where a wiped log went on from its reserve. */
  uint64_t oldestSeq(uint64_t seq) const;
  /** The last seq that is in flash. */
  uint64_t syncedSeq() const { return count_ == 0 ? acked_ : active().lastSeq; }
  /** The time of the newest record in flash, ms; 0: there is none. */
  double lastTimeMs() const { return lastTimeMs_; }
  uint32_t segments() const { return count_; }
  uint32_t usedBytes() const;
  LogCounts counts() const;

 private:
  const Segment& active() const { return table_[count_ - 1]; }
  size_t pageRoom() const { return page_.size - kSegmentHeaderBytes; }
  bool findSegments();
  static void noteName(void* context, const char* name);
  void noteNumber(uint32_t number);
  void scanSegments();
  bool trustLast();
  bool reserveSeq();
  bool fitsActive(size_t bytes) const;
  Append makeRoom(size_t bytes);
  bool writePage();
  bool writeToActive();
  bool writeToNew();
  Write tryNew(bool isOver);
  void pageWritten(size_t bytes);
  void removeAcked();
  void giveUp(uint32_t index);
  void dropOldest();
  uint64_t unackedIn(const Segment& segment) const;
  void forget(uint32_t index);
  uint32_t segmentAt(LogCursor& cursor) const;
  size_t takeFrames(uint32_t number, uint8_t* chunk, size_t size, uint32_t maxRecords, Frames& frames);
  bool readFailed(uint32_t index);

  FileSystem& files_;
  Span page_;
  LogOptions options_;
  SeqReserve& reserve_;
  LogEvents& events_;
  PositionLog position_;
  /** One more than allowed: a new segment is there before the oldest goes. */
  Segment table_[kMaxSegments + 1];
  uint32_t count_ = 0;
  /** At open, a segment that did not fit the table; 0: none. */
  uint32_t surplus_ = 0;
  /** Bytes of records in the page, which start behind the room for a header. */
  size_t used_ = 0;
  uint32_t pageRecords_ = 0;
  uint64_t pageFirstSeq_ = 0;
  double pageTimeMs_ = 0;
  uint64_t acked_ = 0;
  uint64_t nextSeq_ = 1;
  uint64_t reserved_ = 0;
  uint32_t nextNumber_ = 1;
  double lastTimeMs_ = 0;
  uint32_t failedReads_ = 0;
  LogCounts counts_;
};

}  // namespace holdfast
