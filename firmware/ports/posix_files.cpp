#include "posix_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast {

namespace {

Write writeAll(int file, const uint8_t* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(file, data, size);
    if (written < 0 && errno == EINTR) continue;
    // A write of nothing would go on for ever.
    if (written <= 0) return written == 0 || errno == ENOSPC ? Write::noSpace : Write::failed;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return Write::ok;
}

}  // namespace

bool PosixFiles::pathOf(const char* name, Path& path) const {
  const int length = snprintf(path, sizeof path, "%s/%s", directory_, name);
  return length > 0 && static_cast<size_t>(length) < sizeof path;
}

Write PosixFiles::append(const char* name, const uint8_t* data, size_t size) {
  Path path;
  if (!pathOf(name, path)) return Write::failed;
  struct stat status;
  const bool isNew = stat(path, &status) != 0;
  const int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (file < 0) return errno == ENOSPC ? Write::noSpace : Write::failed;
  Write written = writeAll(file, data, size);
  // LittleFS may find out here, or at the end of the file, that it has no block left.
  if (written == Write::ok && fsync(file) != 0) written = errno == ENOSPC ? Write::noSpace : Write::failed;
  if (close(file) != 0 && written == Write::ok) written = Write::failed;
  return written == Write::ok && isNew && !syncDirectory() ? Write::failed : written;
}

bool PosixFiles::sync(const char* name) {
  Path path;
  if (!pathOf(name, path)) return false;
  const int file = open(path, O_WRONLY | O_APPEND);
  if (file < 0) return false;
  const bool synced = fsync(file) == 0;
  return close(file) == 0 && synced && syncDirectory();
}

bool PosixFiles::syncDirectory() const {
#ifdef ESP_PLATFORM
  return true;
#else
  const int directory = open(directory_, O_RDONLY | O_DIRECTORY);
  if (directory < 0) return false;
  const bool synced = fsync(directory) == 0;
  return close(directory) == 0 && synced;
#endif
}

int32_t PosixFiles::read(const char* name, uint32_t offset, uint8_t* data, size_t size) {
  Path path;
  if (!pathOf(name, path)) return -1;
  const int file = open(path, O_RDONLY);
  if (file < 0) return -1;
  int32_t total = lseek(file, static_cast<off_t>(offset), SEEK_SET) < 0 ? -1 : 0;
  while (total >= 0 && static_cast<size_t>(total) < size) {
    const ssize_t got = ::read(file, data + total, size - static_cast<size_t>(total));
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) break;
    total = got < 0 ? -1 : total + static_cast<int32_t>(got);
  }
  close(file);
  return total;
}

bool PosixFiles::remove(const char* name) {
  Path path;
  return pathOf(name, path) && (unlink(path) == 0 || errno == ENOENT);
}

bool PosixFiles::list(void (*visit)(void* context, const char* name), void* context) {
  DIR* directory = opendir(directory_);
  if (directory == nullptr) return false;
  while (const dirent* entry = readdir(directory)) visit(context, entry->d_name);
  closedir(directory);
  return true;
}

}  // namespace holdfast
