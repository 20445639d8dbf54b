// A library to be preloaded that lets calls fail, for tests/faults/run_faults. Files alone whose
// path begins with FAULT_UNDER count. FAULT is one of
//   short             every read and write transfers at most seven bytes
//   interrupted       every other read and write is interrupted before it begins (EINTR)
//   read:N, sync:N, rename:N   the N-th such call (from 1) fails with EIO
//   write:N           the N-th write and all after it fail with ENOSPC
//   new:N             the N-th operator new throws std::bad_alloc; counted from the first read on,
//   for
//                     CLI11, which comes before, ends the process where it has no memory
// FAULT_COUNTS names a file that gets the number of calls: reads writes syncs renames news.
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <new>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace {

enum Call { reads, writes, syncs, renames, news, kCalls };
constexpr const char* kNames[kCalls] = {"read:", "write:", "sync:", "rename:", "new:"};

std::atomic<long> counts[kCalls];

const char* fault() {
    static const char* const text = std::getenv("FAULT");
    return text == nullptr ? "" : text;
}

/// The number after the name of a call; 0 where another fault is asked for.
long asked(Call call) {
    const std::size_t n = std::strlen(kNames[call]);
    return std::strncmp(fault(), kNames[call], n) == 0 ? std::atol(fault() + n) : 0;
}

bool is_ours(int fd) {
    static const char* const under = std::getenv("FAULT_UNDER");
    char link[64];
    char path[PATH_MAX];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = syscall(SYS_readlink, link, path, sizeof path);
    return under != nullptr && n > 0 && std::strlen(under) <= static_cast<std::size_t>(n) &&
           std::memcmp(path, under, std::strlen(under)) == 0;
}

/// Counts a call, and says whether it is to fail.
bool fails(Call call) {
    const long number = ++counts[call];
    const long wanted = asked(call);
    return wanted > 0 && (call == writes ? number >= wanted : number == wanted);
}

/// What becomes of a transfer of `n` bytes: how many of them; -1 with errno.
ssize_t transfer(Call call, int fd, std::size_t n) {
    if (!is_ours(fd)) {
        return static_cast<ssize_t>(n);
    }
    if (fails(call)) {
        errno = call == writes ? ENOSPC : EIO;
        return -1;
    }
    if (std::strcmp(fault(), "interrupted") == 0 && counts[call] % 2 == 1) {
        errno = EINTR;
        return -1;
    }
    constexpr std::size_t few = 7;
    return static_cast<ssize_t>(std::strcmp(fault(), "short") == 0 && n > few ? few : n);
}

void* allocate(std::size_t bytes, std::size_t alignment) {
    if (counts[reads] > 0 && fails(news)) {
        throw std::bad_alloc();
    }
    void* const memory =
        alignment > alignof(std::max_align_t)
            ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
            : std::malloc(bytes == 0 ? 1 : bytes);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

template <class Function>
Function* next(const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

struct Counter {
    ~Counter() {
        const char* const path = std::getenv("FAULT_COUNTS");
        std::FILE* const file = path == nullptr ? nullptr : std::fopen(path, "w");
        if (file != nullptr) {
            std::fprintf(file, "%ld %ld %ld %ld %ld\n", counts[reads].load(), counts[writes].load(),
                         counts[syncs].load(), counts[renames].load(), counts[news].load());
            std::fclose(file);
        }
    }
} counter;

}  // namespace

extern "C" {

ssize_t read(int fd, void* data, std::size_t n) {
    const ssize_t some = transfer(reads, fd, n);
    return some < 0 ? some : syscall(SYS_read, fd, data, some);
}
ssize_t __read_chk(int fd, void* data, std::size_t n, std::size_t) {
    return read(fd, data, n);
}
ssize_t pread(int fd, void* data, std::size_t n, off_t at) {
    const ssize_t some = transfer(reads, fd, n);
    return some < 0 ? some : syscall(SYS_pread64, fd, data, some, at);
}
ssize_t pread64(int fd, void* data, std::size_t n, off64_t at) {
    return pread(fd, data, n, at);
}
ssize_t write(int fd, const void* data, std::size_t n) {
    const ssize_t some = transfer(writes, fd, n);
    return some < 0 ? some : syscall(SYS_write, fd, data, some);
}
ssize_t pwrite(int fd, const void* data, std::size_t n, off_t at) {
    const ssize_t some = transfer(writes, fd, n);
    return some < 0 ? some : syscall(SYS_pwrite64, fd, data, some, at);
}
ssize_t pwrite64(int fd, const void* data, std::size_t n, off64_t at) {
    return pwrite(fd, data, n, at);
}
int fsync(int fd) {
    if (is_ours(fd) && fails(syncs)) {
        errno = EIO;
        return -1;
    }
    return static_cast<int>(syscall(SYS_fsync, fd));
}
int rename(const char* from, const char* to) noexcept {
    if (fails(renames)) {
        errno = EIO;
        return -1;
    }
    static auto* const real = next<int(const char*, const char*)>("rename");
    return real(from, to);
}

}  // extern "C"

void* operator new(std::size_t bytes) {
    return allocate(bytes, 1);
}
void* operator new[](std::size_t bytes) {
    return allocate(bytes, 1);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
    return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
    std::free(memory);
}
