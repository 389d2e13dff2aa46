/**
 * A file system in memory whose power can be cut at any byte of any change to it, and which is the worst that
 * FileSystem allows: a change that was cut may have left a part of its bytes, zeros or rubbish in their place, or
 * nothing; a removed file may be back.
 */
#pragma once
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../core/file_system.h"
#include "check.h"

namespace holdfast {

/** What is behind the bytes that still got through. */
enum class Tear { prefix, zeros, rubbish };

class CutFlash : public FileSystem {
 public:
  /** Cuts the power in the change with this number, counted from 0, after so many of its bytes. */
  void cutAt(uint64_t change, size_t bytes, Tear tear) {
    cutChange_ = change;
    cutBytes_ = bytes;
    tear_ = tear;
  }

  /** The power is back: what was cut stays as it is. */
  void restart() {
    isOff_ = false;
    cutChange_ = UINT64_MAX;
  }

  /** Removed files that a power cut brings back, all that were removed since the last append that succeeded. */
  void resurrect() {
    for (auto& [name, bytes] : removed_) files_.emplace(name, bytes);
    removed_.clear();
  }

  bool isOff() const { return isOff_; }
  uint64_t changes() const { return changes_; }
  /** The bytes of each change, 0 of a removal: where it can be cut. */
  const std::vector<size_t>& sizes() const { return sizes_; }
  std::map<std::string, std::vector<uint8_t>>& files() { return files_; }
  void limitBytes(size_t bytes) { limit_ = bytes; }
  /** The next so many appends fail, with a part of their bytes written. */
  void failAppends(uint32_t count) { failing_ = count; }
  void failReads(uint32_t count) { failingReads_ = count; }

  Write append(const char* name, const uint8_t* data, size_t size) override {
    if (isOff_) return Write::failed;
    if (failing_ > 0) {
      failing_--;
      tearInto(name, data, size, size / 2);
      return Write::failed;
    }
    if (usedBytes() + size > limit_) return Write::noSpace;
    if (isCut(size)) {
      tearInto(name, data, size, cutBytes_ < size ? cutBytes_ : size);
      return Write::failed;
    }
    auto& file = files_[name];
    file.insert(file.end(), data, data + size);
    removed_.clear();
    return Write::ok;
  }

  bool sync(const char*) override { return !isOff_; }

  int32_t read(const char* name, uint32_t offset, uint8_t* data, size_t size) override {
    if (isOff_) return -1;
    if (failingReads_ > 0) {
      failingReads_--;
      return -1;
    }
    const auto found = files_.find(name);
    if (found == files_.end()) return -1;
    const auto& bytes = found->second;
    if (offset >= bytes.size()) return 0;
    const size_t count = bytes.size() - offset < size ? bytes.size() - offset : size;
    memcpy(data, bytes.data() + offset, count);
    return static_cast<int32_t>(count);
  }

  bool remove(const char* name) override {
    if (isOff_) return false;
    const auto found = files_.find(name);
    if (found == files_.end()) return true;
    // Cut at byte 0 it was not removed, at byte 1 it was.
    const bool cut = isCut(1);
    if (cut && cutBytes_ == 0) return false;
    removed_[name] = found->second;
    files_.erase(found);
    return !cut;
  }

  bool list(void (*visit)(void* context, const char* name), void* context) override {
    if (isOff_) return false;
    for (auto& [name, bytes] : files_) visit(context, name.c_str());
    return true;
  }

  size_t usedBytes() const {
    size_t bytes = 0;
    for (auto& [name, content] : files_) bytes += content.size();
    return bytes;
  }

 private:
  bool isCut(size_t size) {
    sizes_.push_back(size);
    if (changes_++ != cutChange_) return false;
    isOff_ = true;
    return true;
  }

  void tearInto(const char* name, const uint8_t* data, size_t size, size_t through) {
    auto& file = files_[name];
    file.insert(file.end(), data, data + through);
    if (tear_ == Tear::prefix) return;
    for (size_t i = through; i < size; i++) {
      file.push_back(tear_ == Tear::zeros ? 0 : static_cast<uint8_t>(rubbish_.next()));
    }
  }

  std::map<std::string, std::vector<uint8_t>> files_;
  std::map<std::string, std::vector<uint8_t>> removed_;
  std::vector<size_t> sizes_;
  uint64_t changes_ = 0;
  uint64_t cutChange_ = UINT64_MAX;
  size_t cutBytes_ = 0;
  Tear tear_ = Tear::prefix;
  bool isOff_ = false;
  size_t limit_ = SIZE_MAX;
  uint32_t failing_ = 0;
  uint32_t failingReads_ = 0;
  Numbers rubbish_{1};
};

}  // namespace holdfast
