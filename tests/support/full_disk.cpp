// A disk that fills up, for LD_PRELOAD: once FULL_DISK_AFTER bytes were written to regular files,
// write(2) and pwrite(2) fail with ENOSPC, the last one that fits in part being short. The standard
// streams are spared.
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

long long left() {
    const char* const text = std::getenv("FULL_DISK_AFTER");
    return text != nullptr ? std::atoll(text) : 0;
}

/// How many of `count` bytes still fit; −1 with errno set where none does.
ssize_t room_for(int fd, std::size_t count) {
    static long long room = left();
    struct stat status {};
    if (fd <= 2 || count == 0 || ::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        return static_cast<ssize_t>(count);
    }
    if (room <= 0) {
        errno = ENOSPC;
        return -1;
    }
    const long long fits =
        room < static_cast<long long>(count) ? room : static_cast<long long>(count);
    room -= fits;
    return static_cast<ssize_t>(fits);
}

template <class Function>
Function next(const char* name) {
    return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" ssize_t write(int fd, const void* bytes, std::size_t count) {
    static const auto real = next<ssize_t (*)(int, const void*, std::size_t)>("write");
    const ssize_t fits = room_for(fd, count);
    return fits < 0 ? fits : real(fd, bytes, static_cast<std::size_t>(fits));
}

extern "C" ssize_t pwrite(int fd, const void* bytes, std::size_t count, off_t offset) {
    static const auto real = next<ssize_t (*)(int, const void*, std::size_t, off_t)>("pwrite");
    const ssize_t fits = room_for(fd, count);
    return fits < 0 ? fits : real(fd, bytes, static_cast<std::size_t>(fits), offset);
}
