// A directory that one process at a time writes to.
#pragma once

#include <string>

namespace mambase {

/// Held until the owner goes or the process ends, however it ends. Where the file system has no
/// locks (some networks' have none), nothing is held and nothing is said.
class DirectoryLock {
  public:
    /// Throws Error{io} where another process holds `path`, or where it cannot be opened.
    explicit DirectoryLock(const std::string& path);
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;
    ~DirectoryLock();

  private:
    int fd_ = -1;
};

}  // namespace mambase
