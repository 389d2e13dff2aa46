/**
 * What a log must hold, kept beside it: a run of random appends, syncs, acks, position saves and readings, each checked
 * against the model, and the check after a reopen. "Accepted" is what an append and a sync after it have answered ok.
 */
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "../core/record_log.h"
#include "check.h"

namespace holdfast {

/** NVS as the tests need it: a number that survives whatever happens to the files. */
struct TestReserve : SeqReserve {
  uint64_t seq = 0;
  uint64_t load() override { return seq; }
  bool store(uint64_t value) override {
    seq = value;
    return true;
  }
};

struct Said {
  std::string payload;
  double timeMs;
};

class LogModel : public LogEvents {
 public:
  LogModel(FileSystem& files, const LogOptions& options, size_t pageBytes)
      : files_(files), options_(options), page_(pageBytes), out_(pageBytes + 64) {}

  RecordLog& log() { return *log_; }

  void open() {
    log_ = std::make_unique<RecordLog>(files_, Span{page_.data(), page_.size()}, options_, reserve_, *this);
    isOpen_ = log_->open();
    // A position that was saved never goes back.
    if (isOpen_) CHECK(log_->ackedSeq() >= saved_);
  }

  bool isOpen() const { return isOpen_; }

  /** Everything in the page is gone; what was said and not accepted may be there or not. */
  void forgetPage() { pending_.clear(); }

  void onDropped(uint64_t first, uint64_t last) override {
    for (uint64_t seq = first; seq <= last; seq++) {
      accepted_.erase(seq);
      dropped_.insert(seq);
    }
  }

  Append say(Kind kind, const std::string& payload) {
    uint64_t seq = 0;
    const double timeMs = 1000.0 + static_cast<double>(++clock_);
    const auto* bytes = reinterpret_cast<const uint8_t*>(payload.data());
    const uint64_t before = log_->nextSeq();
    const Append answer = log_->append(kind, bytes, payload.size(), timeMs, &seq);
    // The page may have gone out to make room.
    noteSynced();
    if (answer != Append::ok) {
      CHECK_EQUAL(log_->nextSeq(), before);
      return answer;
    }
    CHECK_EQUAL(seq, before);
    // No seq that the edge may have seen is given twice.
    CHECK(said_.count(seq) == 0 || sent_.count(seq) == 0);
    said_[seq] = {payload, timeMs};
    pending_.insert(seq);
    return answer;
  }

  bool sync() {
    const bool ok = log_->sync();
    noteSynced();
    if (ok) CHECK(pending_.empty());
    return ok;
  }

  void acknowledge(uint64_t seq) {
    log_->acknowledge(seq);
    while (!accepted_.empty() && *accepted_.begin() <= log_->ackedSeq()) accepted_.erase(accepted_.begin());
  }

  bool save() {
    const uint64_t seq = log_->ackedSeq();
    if (!log_->savePosition()) return false;
    saved_ = seq;
    return true;
  }

  /** Everything accepted and neither acked nor dropped is there, in order and as it was said, and nothing invented. */
  void check() {
    LogCursor cursor = log_->cursorAt(log_->ackedSeq());
    uint64_t last = log_->ackedSeq();
    std::set<uint64_t> found;
    for (;;) {
      const Frames frames = log_->read(cursor, Span{out_.data(), out_.size()}, UINT32_MAX);
      if (frames.records == 0) break;
      last = checkFrames(frames, last, found);
    }
    for (const uint64_t seq : accepted_) CHECK(found.count(seq) == 1);
    CHECK(log_->nextSeq() > last);
    CHECK(log_->segments() <= options_.maxSegments);
  }

  const std::set<uint64_t>& accepted() const { return accepted_; }
  const std::set<uint64_t>& dropped() const { return dropped_; }
  TestReserve& reserve() { return reserve_; }

 private:
  void noteSynced() {
    while (!pending_.empty() && *pending_.begin() <= log_->syncedSeq()) {
      if (dropped_.count(*pending_.begin()) == 0) accepted_.insert(*pending_.begin());
      pending_.erase(pending_.begin());
    }
  }

  uint64_t checkFrames(const Frames& frames, uint64_t last, std::set<uint64_t>& found) {
    uint32_t records = 0;
    for (size_t at = 0; at < frames.bytes; at += frameBytes(out_.data() + at)) {
      const uint8_t* frame = out_.data() + at;
      const uint64_t seq = frameSeq(frame);
      CHECK(seq > last);
      last = seq;
      const auto& said = said_.at(seq);
      CHECK(frameBytes(frame) == kFrameHeaderBytes + said.payload.size());
      CHECK(memcmp(frame + kFrameHeaderBytes, said.payload.data(), said.payload.size()) == 0);
      CHECK(frameTimeMs(frame) == said.timeMs);
      found.insert(seq);
      sent_.insert(seq);
      records++;
    }
    CHECK_EQUAL(records, frames.records);
    CHECK_EQUAL(last, frames.lastSeq);
    return last;
  }

  FileSystem& files_;
  LogOptions options_;
  TestReserve reserve_;
  std::vector<uint8_t> page_;
  std::vector<uint8_t> out_;
  std::unique_ptr<RecordLog> log_;
  bool isOpen_ = false;
  uint64_t clock_ = 0;
  uint64_t saved_ = 0;
  std::map<uint64_t, Said> said_;
  std::set<uint64_t> pending_;
  std::set<uint64_t> accepted_;
  std::set<uint64_t> dropped_;
  std::set<uint64_t> sent_;
};

/** One random step. @returns false where the log did not answer, as after a power cut */
inline bool randomStep(LogModel& model, Numbers& numbers, size_t maxPayload) {
  const uint32_t dice = numbers.below(100);
  if (dice < 60) {
    const std::string payload(1 + numbers.below(static_cast<uint32_t>(maxPayload)),
                              static_cast<char>('a' + numbers.below(26)));
    const Append answer = model.say(static_cast<Kind>(1 + numbers.below(3)), payload);
    return answer == Append::ok || answer == Append::full;
  }
  if (dice < 80) return model.sync();
  if (dice < 92) {
    const uint64_t synced = model.log().syncedSeq();
    const uint64_t acked = model.log().ackedSeq();
    if (synced > acked) model.acknowledge(acked + 1 + numbers.below(static_cast<uint32_t>(synced - acked)));
    return true;
  }
  return dice < 97 ? model.save() : (model.check(), true);
}

}  // namespace holdfast
