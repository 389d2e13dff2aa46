/** The log's reading side: from a cursor to frames as they go on the wire. */
#include "record_log.h"

namespace holdfast {

namespace {

/** A place in flash that cannot be read so many times in a row is given up, so that what follows it gets through. */
constexpr uint32_t kReadAttempts = 8;

}  // namespace

Frames RecordLog::read(LogCursor& cursor, Span out, uint32_t maxRecords) {
  Frames frames = {0, 0, cursor.afterSeq};
  for (;;) {
    const uint32_t index = segmentAt(cursor);
    if (index == count_) return frames;
    const Segment& segment = table_[index];
    const size_t left = segment.bytes - cursor.offset;
    char name[kSegmentNameBytes];
    segmentName(segment.number, name);
    const int32_t got = files_.read(name, cursor.offset, out.data, left < out.size ? left : out.size);
    if (got <= 0) {
      if (readFailed(index)) continue;
      return frames;
    }
    failedReads_ = 0;
    cursor.offset +=
        static_cast<uint32_t>(takeFrames(segment.number, out.data, static_cast<size_t>(got), maxRecords, frames));
    cursor.afterSeq = frames.lastSeq;
    if (frames.records > 0) return frames;
  }
}

/** The segment that holds what comes next, with the cursor in it; `count_`: there is none. */
uint32_t RecordLog::segmentAt(LogCursor& cursor) const {
  uint32_t index = 0;
  while (index < count_) {
    const Segment& segment = table_[index];
    const bool isBehind = segment.number < cursor.number || segment.lastSeq <= cursor.afterSeq;
    const bool isRead = segment.number == cursor.number && cursor.offset >= segment.bytes;
    if (!isBehind && !isRead) break;
    index++;
  }
  if (index < count_ && table_[index].number != cursor.number) {
    cursor.number = table_[index].number;
    cursor.offset = kSegmentHeaderBytes;
  }
  return index;
}

/** Moves the frames of new records in a chunk to its beginning. @returns the bytes of the chunk that are done with */
size_t RecordLog::takeFrames(uint32_t number, uint8_t* chunk, size_t size, uint32_t maxRecords, Frames& frames) {
  size_t at = 0;
  while (at < size && frames.records < maxRecords) {
    const Found found = examineRecord(chunk + at, size - at, number, size > pageRoom() ? size : pageRoom());
    if (found == Found::unfinished && at > 0) break;
    // What was readable at open is not any more: the rest of this chunk is lost.
    if (found == Found::unfinished || found == Found::nonsense) return size;
    const uint8_t* frame = chunk + at + kRecordCrcBytes;
    const size_t bytes = frameBytes(frame);
    const uint64_t seq = frameSeq(frame);
    at += kRecordCrcBytes + bytes;
    if (found == Found::damaged || seq <= frames.lastSeq) continue;
    memmove(chunk + frames.bytes, frame, bytes);
    frames.bytes += bytes;
    frames.records++;
    frames.lastSeq = seq;
  }
  return at;
}

/** @returns true where the segment was given up and reading goes on behind it */
bool RecordLog::readFailed(uint32_t index) {
  counts_.failedReads++;
  if (++failedReads_ < kReadAttempts || index + 1 == count_) return false;
  failedReads_ = 0;
  counts_.damaged += unackedIn(table_[index]);
  giveUp(index);
  return true;
}

}  // namespace holdfast
