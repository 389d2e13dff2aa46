/**
 * The log on littlefs itself, on a flash in memory: the wear that README.md states, and power cuts inside littlefs' own
 * writes. Only built with -DLITTLEFS=<a checkout>, which is not a part of this project.
 */
#include <lfs.h>

#include "log_model.h"

using namespace holdfast;

namespace {

constexpr uint32_t kBlockBytes = 4096;
/** The device's partition. */
constexpr uint32_t kBlocks = 496;

/** NOR flash: counts, and loses its power in the middle of an operation. */
struct Flash {
  std::vector<uint8_t> bytes = std::vector<uint8_t>(kBlockBytes * kBlocks, 0xff);
  uint64_t programmed = 0;
  uint64_t erases = 0;
  uint64_t operations = 0;
  uint64_t cutAt = UINT64_MAX;
  bool isOff = false;

  /** @returns how many of `size` bytes are changed; less than all where the power goes */
  size_t change(size_t size) {
    if (isOff) return 0;
    isOff = operations++ == cutAt;
    return isOff ? size / 2 : size;
  }
};

Flash& flashOf(const lfs_config* config) {
  return *static_cast<Flash*>(config->context);
}

int readBlock(const lfs_config* config, lfs_block_t block, lfs_off_t offset, void* to, lfs_size_t size) {
  Flash& flash = flashOf(config);
  if (flash.isOff) return LFS_ERR_IO;
  memcpy(to, &flash.bytes[block * kBlockBytes + offset], size);
  return 0;
}

int programBlock(const lfs_config* config, lfs_block_t block, lfs_off_t offset, const void* from, lfs_size_t size) {
  Flash& flash = flashOf(config);
  memcpy(&flash.bytes[block * kBlockBytes + offset], from, flash.change(size));
  flash.programmed += size;
  return flash.isOff ? LFS_ERR_IO : 0;
}

int eraseBlock(const lfs_config* config, lfs_block_t block) {
  Flash& flash = flashOf(config);
  memset(&flash.bytes[block * kBlockBytes], 0xff, flash.change(kBlockBytes));
  flash.erases++;
  return flash.isOff ? LFS_ERR_IO : 0;
}

int syncFlash(const lfs_config*) {
  return 0;
}

Write answerTo(int error) {
  return error == 0 ? Write::ok : error == LFS_ERR_NOSPC ? Write::noSpace : Write::failed;
}

class LittleFiles : public FileSystem {
 public:
  LittleFiles() {
    config_.context = &flash;
    config_.read = readBlock;
    config_.prog = programBlock;
    config_.erase = eraseBlock;
    config_.sync = syncFlash;
    // What the ESP32's port of littlefs takes where it is told nothing else.
    config_.read_size = config_.prog_size = config_.lookahead_size = 128;
    config_.cache_size = config_.block_cycles = 512;
    config_.block_size = kBlockBytes;
    config_.block_count = kBlocks;
    CHECK(lfs_format(&files_, &config_) == 0 && lfs_mount(&files_, &config_) == 0);
  }

  ~LittleFiles() override { lfs_unmount(&files_); }

  void restart() {
    lfs_unmount(&files_);
    flash.isOff = false;
    flash.cutAt = UINT64_MAX;
    CHECK(lfs_mount(&files_, &config_) == 0);
  }

  Write append(const char* name, const uint8_t* data, size_t size) override {
    lfs_file_t file;
    int error = lfs_file_open(&files_, &file, name, LFS_O_WRONLY | LFS_O_CREAT | LFS_O_APPEND);
    if (error != 0) return answerTo(error);
    const lfs_ssize_t written = lfs_file_write(&files_, &file, data, static_cast<lfs_size_t>(size));
    error = written < 0 ? written : lfs_file_sync(&files_, &file);
    const int closed = lfs_file_close(&files_, &file);
    return answerTo(error != 0 ? error : closed);
  }

  bool sync(const char*) override { return !flash.isOff; }

  int32_t read(const char* name, uint32_t offset, uint8_t* data, size_t size) override {
    lfs_file_t file;
    if (lfs_file_open(&files_, &file, name, LFS_O_RDONLY) != 0) return -1;
    int32_t got = lfs_file_seek(&files_, &file, static_cast<lfs_soff_t>(offset), LFS_SEEK_SET);
    if (got >= 0) got = lfs_file_read(&files_, &file, data, static_cast<lfs_size_t>(size));
    lfs_file_close(&files_, &file);
    return got < 0 ? -1 : got;
  }

  bool remove(const char* name) override {
    const int error = lfs_remove(&files_, name);
    return error == 0 || error == LFS_ERR_NOENT;
  }

  bool list(void (*visit)(void* context, const char* name), void* context) override {
    lfs_dir_t directory;
    if (lfs_dir_open(&files_, &directory, "/") != 0) return false;
    lfs_info entry;
    while (lfs_dir_read(&files_, &directory, &entry) > 0) visit(context, entry.name);
    return lfs_dir_close(&files_, &directory) == 0;
  }

  Flash flash;

 private:
  lfs_t files_ = {};
  lfs_config config_ = {};
};

struct NoEvents : LogEvents {
  void onDropped(uint64_t, uint64_t) override { CHECK(false); }
};

void showWear(uint32_t syncEvery, double maxErases) {
  constexpr uint32_t kRecords = 20000;
  static uint8_t page[4096];
  const uint8_t payload[100] = {'1'};
  LittleFiles files;
  TestReserve reserve;
  NoEvents events;
  RecordLog log(files, {page, sizeof page}, {16384, 64, WhenFull::dropOldest}, reserve, events);
  CHECK(log.open());
  files.flash.programmed = files.flash.erases = 0;
  for (uint32_t i = 1; i <= kRecords; i++) {
    uint64_t seq;
    CHECK(log.append(Kind::telemetry, payload, sizeof payload, i, &seq) == Append::ok);
    if (i % syncEvery == 0) CHECK(log.sync());
    log.acknowledge(log.syncedSeq());
    if (i % 60 == 0) CHECK(log.savePosition());
  }
  const double erases = static_cast<double>(files.flash.erases) / kRecords;
  printf("a sync for %u: %.0f bytes programmed and %.3f erases a record; %.1f years of a record a second\n", syncEvery,
         static_cast<double>(files.flash.programmed) / kRecords, erases, 1e5 * kBlocks / erases / 86400 / 365);
  CHECK(erases <= maxErases);
}

void survivesCutsWithinLittlefs(uint64_t seed) {
  Numbers numbers(seed);
  LittleFiles files;
  LogModel model(files, {2048, 6, WhenFull::dropOldest}, 600);
  model.open();
  for (int life = 0; life < 8; life++) {
    files.flash.cutAt = files.flash.operations + numbers.below(120);
    for (int i = 0; i < 400 && !files.flash.isOff; i++) CHECK(randomStep(model, numbers, 200) || files.flash.isOff);
    files.restart();
    model.forgetPage();
    model.open();
    CHECK(model.isOpen());
    model.check();
  }
}

}  // namespace

int main(int count, char** words) {
  const uint64_t seed = seedOf(count, words);
  showWear(1, 1.1);
  showWear(10, 0.15);
  showWear(30, 0.08);
  for (uint64_t i = 0; i < 100; i++) survivesCutsWithinLittlefs(seed + i);
}
