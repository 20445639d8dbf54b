#include "base/directory_lock.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>

namespace mambase {

DirectoryLock::DirectoryLock(const std::string& path)
    : fd_(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0) {
        throw Error(ErrorCode::io, concat("cannot open: ", std::generic_category().message(errno)))
            .at(path);
    }
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        ::close(fd_);
        throw Error(ErrorCode::io,
                    "another run writes to this directory; wait until it has ended, or stop it")
            .at(path);
    }
}

DirectoryLock::~DirectoryLock() {
    ::close(fd_);
}

}  // namespace mambase
