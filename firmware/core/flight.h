/**
 * What is under way on one connection, and which records were refused before their turn.
 *
 * Acks are cumulative and name the last record; a refusal names one record. A refused record that is not the oldest
 * waits here until an ack passes over it, and is not sent again meanwhile. The list is short: records are refused for
 * bugs.
 */
#pragma once
#include "record.h"

namespace holdfast {

class Flight {
 public:
  /** The connection is over: nothing is under way. What was refused stays so. */
  void clear() { count_ = bytes_ = 0; }

  bool hasRoom() const { return count_ < kFrames; }
  uint32_t bytes() const { return bytes_; }
  bool isEmpty() const { return count_ == 0; }
  /** The last seq under way; 0: none. */
  uint64_t lastSeq() const { return count_ == 0 ? 0 : frames_[(first_ + count_ - 1) % kFrames].lastSeq; }

  void sent(uint64_t lastSeq, uint32_t bytes) {
    frames_[(first_ + count_++) % kFrames] = {lastSeq, bytes};
    bytes_ += bytes;
  }

  /** Every record through `seq` is done. */
  void acked(uint64_t seq) {
    while (count_ > 0 && frames_[first_].lastSeq <= seq) {
      bytes_ -= frames_[first_].bytes;
      first_ = (first_ + 1) % kFrames;
      count_--;
    }
    for (uint32_t i = 0; i < refusedCount_;) {
      if (refused_[i] <= seq)
        refused_[i] = refused_[--refusedCount_];
      else
        i++;
    }
  }

  /** @returns false where it was known, or the list is full: it is sent again then, and refused again */
  bool refuse(uint64_t seq) {
    if (isRefused(seq) || refusedCount_ == kRefused) return false;
    refused_[refusedCount_++] = seq;
    return true;
  }

  bool isRefused(uint64_t seq) const {
    for (uint32_t i = 0; i < refusedCount_; i++) {
      if (refused_[i] == seq) return true;
    }
    return false;
  }

  /** Removes refused records from frames in a row. @returns the bytes that are left */
  size_t dropRefused(uint8_t* frames, size_t size) const {
    size_t kept = 0;
    for (size_t at = 0; at < size && refusedCount_ > 0;) {
      const size_t bytes = frameBytes(frames + at);
      if (!isRefused(frameSeq(frames + at))) {
        memmove(frames + kept, frames + at, bytes);
        kept += bytes;
      }
      at += bytes;
    }
    return refusedCount_ > 0 ? kept : size;
  }

 private:
  static constexpr uint32_t kFrames = 32;
  static constexpr uint32_t kRefused = 32;

  struct Frame {
    uint64_t lastSeq;
    uint32_t bytes;
  };

  Frame frames_[kFrames] = {};
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  uint32_t bytes_ = 0;
  uint64_t refused_[kRefused] = {};
  uint32_t refusedCount_ = 0;
};

}  // namespace holdfast
