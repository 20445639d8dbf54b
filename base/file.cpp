#include "base/file.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mambase {

namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 18;

Error system_error(std::string_view doing, const std::string& path) {
    const int number = errno;
    const ErrorCode code =
        number == ENOENT || number == ENOTDIR ? ErrorCode::not_found : ErrorCode::io;
    Error error(code, concat("cannot ", doing, ": ", std::generic_category().message(number)));
    error.at(path);
    return error;
}

std::string host_name() {
    char name[256] = {};
    if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') {
        return "localhost";
    }
    return name;
}

void write_all(int fd, const std::string& path, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw system_error("write", path);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
}

}  // namespace

File::File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

File File::open_read(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        throw system_error("open", path);
    }
    File file(fd, path);
    struct stat status {};
    if (::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        throw Error(ErrorCode::io, "is a directory, a file is expected").at(path);
    }
    return file;
}

File File::temporary() {
    std::string path = temporary_directory() + "/mambase.XXXXXX";
    const int fd = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd < 0) {
        throw system_error("create a temporary file (TMPDIR chooses where)", path);
    }
    ::unlink(path.c_str());
    return {fd, path};
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(path_, other.path_);
    return *this;
}

File::~File() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

std::int64_t File::size() const {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) {
        throw system_error("stat", path_);
    }
    return status.st_size;
}

void File::read_at(std::span<std::byte> out, std::int64_t offset) const {
    while (!out.empty()) {
        const ssize_t n = ::pread(fd_, out.data(), out.size(), offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            throw system_error("read", path_);
        }
        if (n == 0) {
            throw Error(ErrorCode::io, "the file ends early").at(path_).offset(offset, "byte");
        }
        out = out.subspan(static_cast<std::size_t>(n));
        offset += n;
    }
}

void File::write_at(std::span<const std::byte> bytes, std::int64_t offset) {
    while (!bytes.empty()) {
        const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw system_error("write", path_).offset(offset, "byte");
        }
        bytes = bytes.subspan(static_cast<std::size_t>(n));
        offset += n;
    }
}

void File::sync() {
    if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) {
        throw system_error("sync", path_);
    }
}

void File::close() {
    const int fd = std::exchange(fd_, -1);
    if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) {
        throw system_error("close", path_);
    }
}

namespace {

bool is_standard_output(const std::string& path) {
    return path == "-" || path == "/dev/stdout";
}

/// A device or a pipe: to rename a file over it would take it away.
bool is_special(const std::string& path) {
    std::error_code ignored;
    const std::filesystem::file_status status = std::filesystem::status(path, ignored);
    return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
           !std::filesystem::is_directory(status);
}

bool is_stream(const std::string& path) {
    return is_standard_output(path) || is_special(path);
}

}  // namespace

OutputPath::OutputPath(std::string path) : path_(std::move(path)) {
    if (is_directory(path_)) {
        throw Error(ErrorCode::io, "is a directory, the name of an output file is expected")
            .at(path_);
    }
    temporary_ = temporary_name(path_);
    const int fd = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        const std::string name = std::exchange(temporary_, {});
        throw system_error("create the output", name);
    }
    file_ = File(fd, path_);
}

OutputPath::OutputPath(OutputPath&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      file_(std::move(other.file_)) {}

OutputPath::~OutputPath() {
    if (!temporary_.empty()) {
        ::unlink(temporary_.c_str());
    }
}

void OutputPath::commit() {
    file_.sync();
    file_.close();
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
        throw system_error("rename the finished output", path_);
    }
    temporary_.clear();
    sync_directory(parent_directory(path_));
}

OutputFile::OutputFile(std::string path)
    : path_(std::move(path)), place_(is_stream(path_) ? OutputPath() : OutputPath(path_)) {
    buffer_.reserve(kBufferBytes);
    if (is_standard_output(path_)) {
        const int fd = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        if (fd < 0) {
            throw system_error("write to standard output", "-");
        }
        stream_ = File(fd, "standard output");
    } else if (is_special(path_)) {
        const int fd = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
        if (fd < 0) {
            throw system_error("open the output", path_);
        }
        stream_ = File(fd, path_);
    }
}

void OutputFile::write(std::span<const std::byte> bytes) {
    position_ += static_cast<std::int64_t>(bytes.size());
    if (buffer_.size() + bytes.size() > kBufferBytes) {
        flush();
    }
    if (bytes.size() >= kBufferBytes) {
        write_all(file().fd(), file().path(), bytes);
        return;
    }
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void OutputFile::write(std::string_view text) {
    write(std::as_bytes(std::span(text.data(), text.size())));
}

void OutputFile::write_at(std::span<const std::byte> bytes, std::int64_t offset) {
    MAMBASE_REQUIRE(!stream_.is_open(), ErrorCode::unsupported,
                    "this output needs a file, not standard output, a pipe or a device");
    file().write_at(bytes, offset);
}

void OutputFile::flush() {
    write_all(file().fd(), file().path(), std::as_bytes(std::span(buffer_.data(), buffer_.size())));
    buffer_.clear();
}

void OutputFile::commit() {
    flush();
    if (stream_.is_open()) {
        stream_.close();
        return;
    }
    place_.commit();
}

MappedFile::MappedFile(const std::string& path) {
    const File file = File::open_read(path);
    size_ = static_cast<std::size_t>(file.size());
    if (size_ == 0) {
        return;
    }
    void* const data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
    if (data == MAP_FAILED) {
        throw system_error("map", path);
    }
    data_ = static_cast<const std::byte*>(data);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
    if (data_ != nullptr) {
        ::munmap(const_cast<std::byte*>(data_), size_);
    }
}

std::string read_text(const std::string& path) {
    const File file = File::open_read(path);
    std::string text;
    char piece[1 << 14];
    for (;;) {  // not by size: /dev/stdin and the like have none
        const ssize_t n = ::read(file.fd(), piece, sizeof piece);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            throw system_error("read", path);
        }
        if (n == 0) {
            return text;
        }
        text.append(piece, static_cast<std::size_t>(n));
    }
}

void write_text(const std::string& path, std::string_view text) {
    OutputFile out(path);
    out.write(text);
    out.commit();
}

bool exists(const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
}

bool is_directory(const std::string& path) {
    std::error_code ignored;
    return std::filesystem::is_directory(path, ignored);
}

void make_directories(const std::string& path) {
    std::error_code code;
    std::filesystem::create_directories(path, code);
    if (code || !is_directory(path)) {
        throw Error(ErrorCode::io,
                    concat("cannot create the directory: ",
                           code ? code.message() : std::string("a file of that name is there")))
            .at(path);
    }
}

std::int64_t free_space(const std::string& path) {
    const std::string where = is_directory(path) ? path : parent_directory(path);
    struct statvfs status {};
    if (::statvfs(where.c_str(), &status) != 0) {
        throw system_error("ask for the free space", where);
    }
    return static_cast<std::int64_t>(status.f_bavail) * static_cast<std::int64_t>(status.f_frsize);
}

std::string parent_directory(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) {
        return ".";
    }
    return slash == 0 ? "/" : path.substr(0, slash);
}

std::string temporary_name(const std::string& path) {
    return concat(path, ".tmp.", host_name(), ".", static_cast<std::int64_t>(::getpid()));
}

void sync_directory(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return;  // a directory that can be written but not read: the rename itself has succeeded
    }
    ::fsync(fd);
    ::close(fd);
}

std::string temporary_directory() {
    const char* const set = std::getenv("TMPDIR");
    return set != nullptr && *set != '\0' ? set : "/tmp";
}

}  // namespace mambase
