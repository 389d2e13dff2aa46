#include "position_log.h"

#include "bytes.h"
#include "crc32.h"

namespace holdfast {

namespace {

constexpr uint32_t kMagic = 0x31504648;
constexpr size_t kEntryBytes = 16;
constexpr uint32_t kEntries = 32;
constexpr const char* kNames[2] = {"position-0", "position-1"};

uint64_t readEntry(const uint8_t* at) {
  if (getU32(at) != crc32(0, at + 4, kEntryBytes - 4) || getU32(at + 4) != kMagic) return 0;
  return getSeq(at + 8);
}

}  // namespace

bool PositionLog::load() {
  const Found found[2] = {readFile(0), readFile(1)};
  active_ = found[1].seq > found[0].seq ? 1 : 0;
  seq_ = found[active_].seq;
  entries_ = found[active_].entries;
  clean_ = found[active_].clean;
  // What counts from here on must not be in a cache only: segments are removed because of it.
  return seq_ == 0 || files_.sync(kNames[active_]);
}

PositionLog::Found PositionLog::readFile(int which) {
  // One byte more than a full file has: whether there is more shows that it is not clean.
  uint8_t bytes[kEntries * kEntryBytes + 1];
  const int32_t size = files_.read(kNames[which], 0, bytes, sizeof bytes);
  Found found = {0, 0, true};
  for (int32_t at = 0; at < size; at += kEntryBytes) {
    const bool whole = at + static_cast<int32_t>(kEntryBytes) <= size;
    const uint64_t seq = whole ? readEntry(bytes + at) : 0;
    if (seq == 0) found.clean = false;
    if (seq > found.seq) found.seq = seq;
    found.entries++;
  }
  return found;
}

bool PositionLog::save(uint64_t seq) {
  if (seq <= seq_) return true;
  const bool saved = clean_ && entries_ < kEntries ? append(active_, seq) : succeed(seq);
  if (saved) seq_ = seq;
  return saved;
}

bool PositionLog::append(int which, uint64_t seq) {
  uint8_t entry[kEntryBytes];
  putU32(entry + 4, kMagic);
  putF64(entry + 8, static_cast<double>(seq));
  putU32(entry, crc32(0, entry + 4, kEntryBytes - 4));
  // Until it has succeeded nobody knows what the file ends with.
  clean_ = false;
  if (files_.append(kNames[which], entry, kEntryBytes) != Write::ok) return false;
  clean_ = true;
  entries_++;
  bytesWritten_ += kEntryBytes;
  return true;
}

bool PositionLog::succeed(uint64_t seq) {
  const int next = 1 - active_;
  if (!files_.remove(kNames[next]) || !append(next, seq)) return false;
  // Where this fails the file stays until the next turn; its entries are smaller and harmless.
  files_.remove(kNames[active_]);
  active_ = next;
  entries_ = 1;
  return true;
}

}  // namespace holdfast
