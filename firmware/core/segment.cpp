#include "segment.h"

#include "crc32.h"

namespace holdfast {

namespace {

constexpr uint32_t kMagic = 0x314c4648;
constexpr char kPrefix[] = "log-";
constexpr size_t kPrefixBytes = 4;

uint32_t recordCrc(uint32_t number, const uint8_t* frame) {
  uint8_t seed[4];
  putU32(seed, number);
  return crc32(crc32(0, seed, sizeof seed), frame, frameBytes(frame));
}

bool readHeader(const uint8_t* at, int32_t size, Segment& segment) {
  if (size < static_cast<int32_t>(kSegmentHeaderBytes)) return false;
  const bool whole = getU32(at) == kMagic && getU32(at + 4) == crc32(0, at + 8, kSegmentHeaderBytes - 8) &&
                     getU32(at + 8) == segment.number;
  if (!whole) return false;
  segment.firstSeq = getSeq(at + 16);
  segment.dropped = static_cast<uint64_t>(getF64(at + 24));
  segment.lastSeq = segment.firstSeq - 1;
  segment.bytes = kSegmentHeaderBytes;
  return segment.firstSeq > 0;
}

void noteRecord(Segment& segment, const uint8_t* frame) {
  const uint64_t seq = frameSeq(frame);
  // Not greater: the second copy of a write that failed half way.
  if (seq <= segment.lastSeq) return;
  if (segment.firstSeq == 0) segment.firstSeq = seq;
  segment.lastSeq = seq;
  segment.lastTimeMs = frameTimeMs(frame);
  segment.records++;
}

/** Takes the records of a chunk that was read at `offset`. @returns the bytes taken; what is left is no whole record */
size_t scanChunk(Segment& segment, uint32_t offset, const uint8_t* chunk, size_t size, size_t maxRecordBytes) {
  size_t at = 0;
  while (at < size) {
    const Found found = examineRecord(chunk + at, size - at, segment.number, maxRecordBytes);
    if (found == Found::unfinished) break;
    segment.clean = found == Found::record;
    if (found == Found::nonsense) break;
    const uint8_t* frame = chunk + at + kRecordCrcBytes;
    at += recordBytes(chunk + at);
    if (found == Found::damaged) {
      segment.damagedRecords++;
    } else {
      noteRecord(segment, frame);
      segment.bytes = offset + static_cast<uint32_t>(at);
    }
  }
  return at;
}

}  // namespace

void segmentName(uint32_t number, char (&name)[kSegmentNameBytes]) {
  memcpy(name, kPrefix, kPrefixBytes);
  for (int i = 0; i < 8; i++) name[kPrefixBytes + i] = "0123456789abcdef"[number >> (28 - 4 * i) & 15];
  name[kSegmentNameBytes - 1] = '\0';
}

uint32_t segmentNumber(const char* name) {
  if (strlen(name) != kSegmentNameBytes - 1 || memcmp(name, kPrefix, kPrefixBytes) != 0) return 0;
  uint32_t number = 0;
  for (const char* at = name + kPrefixBytes; *at != '\0'; at++) {
    const char* digits = "0123456789abcdef";
    const char* digit = strchr(digits, *at);
    if (digit == nullptr) return 0;
    number = number << 4 | static_cast<uint32_t>(digit - digits);
  }
  return number;
}

void putSegmentHeader(uint8_t* at, const Segment& segment) {
  putU32(at, kMagic);
  putU32(at + 8, segment.number);
  putU32(at + 12, 0);
  putF64(at + 16, static_cast<double>(segment.firstSeq));
  putF64(at + 24, static_cast<double>(segment.dropped));
  putU32(at + 4, crc32(0, at + 8, kSegmentHeaderBytes - 8));
}

void sealRecords(uint8_t* at, size_t size, uint32_t number) {
  for (size_t done = 0; done < size; done += recordBytes(at + done)) {
    putU32(at + done, recordCrc(number, at + done + kRecordCrcBytes));
  }
}

Found examineRecord(const uint8_t* at, size_t size, uint32_t number, size_t maxRecordBytes) {
  if (size < kRecordOverheadBytes) return Found::unfinished;
  const uint32_t frameSize = getU32(at + kRecordCrcBytes);
  if (frameSize < kFrameHeaderBytes - kSizeFieldBytes || frameSize > maxRecordBytes) return Found::nonsense;
  const size_t bytes = recordBytes(at);
  if (bytes > maxRecordBytes) return Found::nonsense;
  if (bytes > size) return Found::unfinished;
  const uint8_t* frame = at + kRecordCrcBytes;
  return getU32(at) == recordCrc(number, frame) && frameSeq(frame) > 0 ? Found::record : Found::damaged;
}

Segment scanSegment(FileSystem& files, uint32_t number, Span scratch) {
  Segment segment;
  segment.number = number;
  char name[kSegmentNameBytes];
  segmentName(number, name);
  // Records can be read without a header: their CRCs say which file they belong to.
  const bool whole = readHeader(scratch.data, files.read(name, 0, scratch.data, kSegmentHeaderBytes), segment);
  uint32_t at = kSegmentHeaderBytes;
  for (;;) {
    const int32_t size = files.read(name, at, scratch.data, scratch.size);
    if (size == 0) {
      segment.clean = segment.clean && whole;
      return segment;
    }
    const size_t taken = size < 0 ? 0 : scanChunk(segment, at, scratch.data, static_cast<size_t>(size), scratch.size);
    at += static_cast<uint32_t>(taken);
    if (taken == 0) {
      segment.clean = false;
      return segment;
    }
  }
}

}  // namespace holdfast
