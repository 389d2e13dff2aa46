#include "record_log.h"

namespace holdfast {

namespace {

/** The mark moves on by so many seqs at a time: one write to NVS for as many records. */
constexpr uint64_t kReserve = 1024;

}  // namespace

RecordLog::RecordLog(FileSystem& files, Span page, const LogOptions& options, SeqReserve& reserve, LogEvents& events)
    : files_(files), page_(page), options_(options), reserve_(reserve), events_(events), position_(files) {}

bool RecordLog::open() {
  if (page_.size <= kSegmentHeaderBytes + kRecordOverheadBytes || options_.segmentBytes < page_.size) return false;
  if (options_.maxSegments < 2 || options_.maxSegments > kMaxSegments) return false;
  if (!findSegments() || !position_.load()) return false;
  acked_ = position_.seq();
  nextSeq_ = acked_ + 1;
  reserved_ = reserve_.load();
  scanSegments();
  const bool isNew = count_ == 0 && acked_ == 0;
  if (isNew) nextSeq_ = reserved_ + 1;
  return trustLast();
}

/** Fills the table with the numbers that are there, in order. */
bool RecordLog::findSegments() {
  do {
    count_ = 0;
    surplus_ = 0;
    if (!files_.list(noteName, this)) return false;
    if (surplus_ == 0) break;
    // More than this log ever keeps: removed files that a power cut has brought back.
    char name[kSegmentNameBytes];
    segmentName(surplus_, name);
    if (!files_.remove(name)) return false;
  } while (true);
  if (count_ > 0) nextNumber_ = active().number + 1;
  return true;
}

void RecordLog::noteName(void* context, const char* name) {
  const uint32_t number = segmentNumber(name);
  if (number > 0) static_cast<RecordLog*>(context)->noteNumber(number);
}

void RecordLog::noteNumber(uint32_t number) {
  if (count_ > kMaxSegments) {
    if (surplus_ == 0 || number < surplus_) surplus_ = number < table_[0].number ? number : table_[0].number;
    return;
  }
  uint32_t at = count_++;
  for (; at > 0 && table_[at - 1].number > number; at--) table_[at] = table_[at - 1];
  table_[at] = Segment();
  table_[at].number = number;
}

/** Reads every segment, and removes those in which nothing is. */
void RecordLog::scanSegments() {
  for (uint32_t i = 0; i < count_;) {
    table_[i] = scanSegment(files_, table_[i].number, page_);
    const Segment& segment = table_[i];
    counts_.damaged += segment.damagedRecords;
    if (segment.dropped > counts_.dropped) counts_.dropped = segment.dropped;
    if (segment.lastSeq >= nextSeq_) nextSeq_ = segment.lastSeq + 1;
    if (segment.records > 0) lastTimeMs_ = segment.lastTimeMs;
    if (segment.bytes == 0)
      forget(i);
    else
      i++;
  }
  removeAcked();
  // The power went between a new segment, whose header counts these as dropped, and the end of the oldest.
  while (count_ > options_.maxSegments) giveUp(0);
}

/** What a killed process wrote and did not sync counts from here on, so it is synced now. */
bool RecordLog::trustLast() {
  if (count_ == 0) return true;
  char name[kSegmentNameBytes];
  segmentName(active().number, name);
  return files_.sync(name);
}

Append RecordLog::append(Kind kind, const uint8_t* payload, size_t size, double timeMs, uint64_t* seq) {
  const size_t bytes = kRecordOverheadBytes + size;
  if (size == 0 || bytes > pageRoom()) return Append::unfit;
  const Append room = makeRoom(bytes);
  if (room == Append::full) counts_.refused++;
  if (room != Append::ok) return room;
  if (!reserveSeq()) return Append::failed;
  uint8_t* at = page_.data + kSegmentHeaderBytes + used_ + kRecordCrcBytes;
  putFrameHeader(at, kind, nextSeq_, timeMs, size);
  memcpy(at + kFrameHeaderBytes, payload, size);
  if (used_ == 0) pageFirstSeq_ = nextSeq_;
  used_ += bytes;
  pageRecords_++;
  pageTimeMs_ = timeMs;
  *seq = nextSeq_++;
  return Append::ok;
}

bool RecordLog::reserveSeq() {
  if (nextSeq_ <= reserved_) return true;
  if (!reserve_.store(nextSeq_ + kReserve - 1)) return false;
  reserved_ = nextSeq_ + kReserve - 1;
  return true;
}

bool RecordLog::fitsActive(size_t bytes) const {
  return count_ > 0 && active().clean && active().bytes + bytes <= options_.segmentBytes;
}

/** Makes room in the page, and, where nothing may be dropped, makes sure that the page will find room in flash. */
Append RecordLog::makeRoom(size_t bytes) {
  const bool fitsPage = used_ + bytes <= pageRoom();
  if (fitsPage && fitsActive(used_ + bytes)) return Append::ok;
  // The page fills up the active segment, or itself; the record comes behind it.
  if (used_ > 0 && (!fitsPage || fitsActive(used_)) && !writePage()) return Append::failed;
  if (options_.whenFull == WhenFull::dropOldest || fitsActive(used_ + bytes)) return Append::ok;
  removeAcked();
  return count_ < options_.maxSegments ? Append::ok : Append::full;
}

bool RecordLog::sync() {
  return used_ == 0 || writePage();
}

bool RecordLog::writePage() {
  return (fitsActive(used_) && writeToActive()) || writeToNew();
}

bool RecordLog::writeToActive() {
  Segment& segment = table_[count_ - 1];
  char name[kSegmentNameBytes];
  segmentName(segment.number, name);
  uint8_t* records = page_.data + kSegmentHeaderBytes;
  sealRecords(records, used_, segment.number);
  if (files_.append(name, records, used_) != Write::ok) {
    // Nobody knows what it ends with now.
    segment.clean = false;
    counts_.failedWrites++;
    return false;
  }
  pageWritten(used_);
  return true;
}

bool RecordLog::writeToNew() {
  removeAcked();
  const bool isOver = count_ >= options_.maxSegments;
  if (isOver && options_.whenFull == WhenFull::refuseNewest) return false;
  const Write written = tryNew(isOver);
  if (written == Write::ok) {
    if (isOver) dropOldest();
    return true;
  }
  // Something else takes the flash that this log was promised: the rule for a full log holds here too.
  if (written == Write::failed || options_.whenFull == WhenFull::refuseNewest || count_ < 2) return false;
  dropOldest();
  return tryNew(false) == Write::ok;
}

/** Begins a segment with the page. @param isOver whether the oldest is dropped for it, which its header counts */
Write RecordLog::tryNew(bool isOver) {
  Segment fresh;
  fresh.number = nextNumber_++;
  fresh.firstSeq = pageFirstSeq_;
  fresh.lastSeq = pageFirstSeq_ - 1;
  fresh.dropped = counts_.dropped + (isOver ? unackedIn(table_[0]) : 0);
  char name[kSegmentNameBytes];
  segmentName(fresh.number, name);
  putSegmentHeader(page_.data, fresh);
  sealRecords(page_.data + kSegmentHeaderBytes, used_, fresh.number);
  const Write written = files_.append(name, page_.data, kSegmentHeaderBytes + used_);
  if (written != Write::ok) {
    counts_.failedWrites++;
    // Where it stays all the same, its records are second copies, which readers pass over.
    files_.remove(name);
    return written;
  }
  table_[count_++] = fresh;
  pageWritten(kSegmentHeaderBytes + used_);
  return written;
}

void RecordLog::pageWritten(size_t bytes) {
  Segment& segment = table_[count_ - 1];
  segment.bytes += static_cast<uint32_t>(bytes);
  segment.lastSeq = nextSeq_ - 1;
  segment.records += pageRecords_;
  lastTimeMs_ = pageTimeMs_;
  counts_.bytesWritten += bytes;
  counts_.writes++;
  used_ = 0;
  pageRecords_ = 0;
}

void RecordLog::acknowledge(uint64_t seq) {
  const uint64_t through = seq < syncedSeq() ? seq : syncedSeq();
  if (through <= acked_) return;
  acked_ = through;
  removeAcked();
}

void RecordLog::removeAcked() {
  while (count_ > 1 && table_[0].lastSeq <= acked_) {
    // On a full flash it may fail, and nothing hangs on it: what stays in the log begins behind these records.
    savePosition();
    forget(0);
  }
}

uint64_t RecordLog::unackedIn(const Segment& segment) const {
  if (segment.lastSeq <= acked_) return 0;
  const uint64_t left = segment.lastSeq - acked_;
  return left < segment.records ? left : segment.records;
}

void RecordLog::dropOldest() {
  counts_.dropped += unackedIn(table_[0]);
  giveUp(0);
}

/** The unacked records of a segment are lost. */
void RecordLog::giveUp(uint32_t index) {
  const Segment& segment = table_[index];
  if (unackedIn(segment) > 0) {
    events_.onDropped(segment.firstSeq > acked_ ? segment.firstSeq : acked_ + 1, segment.lastSeq);
    if (index == 0) acked_ = segment.lastSeq;
  }
  forget(index);
}

void RecordLog::forget(uint32_t index) {
  char name[kSegmentNameBytes];
  segmentName(table_[index].number, name);
  // Where that fails it is found again at the next open: its records are sent again, and are stored once all the same.
  files_.remove(name);
  count_--;
  for (uint32_t i = index; i < count_; i++) table_[i] = table_[i + 1];
}

uint64_t RecordLog::oldestSeq(uint64_t seq) const {
  const bool isBefore = count_ > 0 && seq < table_[0].firstSeq;
  return isBefore ? table_[0].firstSeq : seq + 1;
}

uint32_t RecordLog::usedBytes() const {
  uint32_t bytes = 0;
  for (uint32_t i = 0; i < count_; i++) bytes += table_[i].bytes;
  return bytes;
}

LogCounts RecordLog::counts() const {
  LogCounts counts = counts_;
  counts.bytesWritten += position_.bytesWritten();
  return counts;
}

}  // namespace holdfast
