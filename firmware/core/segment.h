/**
 * One file of the log, `log-<number, 8 hex digits>`, append-only, little-endian:
 *
 *   header   0 "HFL1"   4 u32 crc of 8..end   8 u32 number   12 u32 0   16 f64 first seq   24 f64 dropped (32 bytes)
 *   record   0 u32 crc of (number, frame)     4 the frame (record.h)
 *
 * `dropped` is how many records the log had dropped for want of room when the file began. The number is in each CRC, so
 * that bytes of another file which turn up in this one are no records of it.
 *
 * A record that fails its CRC is passed over where its size field still leads to a place within the file; behind a size
 * that makes no sense nothing is read. So a torn end costs what was not synced, and a rotten cell costs its record.
 */
#pragma once
#include "file_system.h"
#include "record.h"

namespace holdfast {

constexpr size_t kSegmentHeaderBytes = 32;
constexpr size_t kRecordCrcBytes = 4;
constexpr size_t kRecordOverheadBytes = kRecordCrcBytes + kFrameHeaderBytes;
constexpr size_t kSegmentNameBytes = 13;

/** What is known of a segment without reading it. */
struct Segment {
  uint32_t number = 0;
  /** Bytes up to the end of the last record that can be read; 0: not even the header. */
  uint32_t bytes = 0;
  uint64_t firstSeq = 0;
  /** firstSeq - 1 where it has no record. */
  uint64_t lastSeq = 0;
  uint64_t dropped = 0;
  uint32_t records = 0;
  uint32_t damagedRecords = 0;
  double lastTimeMs = 0;
  /** False where something unreadable is behind its last record: nothing may be appended to it then. */
  bool clean = true;
};

void segmentName(uint32_t number, char (&name)[kSegmentNameBytes]);

/** @returns 0 where the file is no segment's */
uint32_t segmentNumber(const char* name);

void putSegmentHeader(uint8_t* at, const Segment& segment);

/** Writes the CRC before each of the records in `size` bytes. */
void sealRecords(uint8_t* at, size_t size, uint32_t number);

enum class Found { record, damaged, unfinished, nonsense };

/** What stands at `at`, with `size` bytes known from there; `unfinished` means that more bytes are needed to say. */
Found examineRecord(const uint8_t* at, size_t size, uint32_t number, size_t maxRecordBytes);

/** All bytes of the record at `at`, its CRC included; only after `examineRecord` said record or damaged. */
inline size_t recordBytes(const uint8_t* at) {
  return kRecordCrcBytes + frameBytes(at + kRecordCrcBytes);
}

/** Reads a segment through, by way of `scratch`, which must have room for its largest record and the header. */
Segment scanSegment(FileSystem& files, uint32_t number, Span scratch);

}  // namespace holdfast
