// Files: owners of descriptors, whole outputs that appear by rename, temporary spools, mappings.
//
// Every function throws Error{io} (not_found where the file is missing) with the path and the
// system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mambase {

/// Owner of a file descriptor. Short transfers and EINTR are carried on; anything else throws.
class File {
  public:
    File() = default;
    static File open_read(const std::string& path);
    /// A new file with no name, in TMPDIR (else /tmp); its space is given back when the owner goes.
    static File temporary();
    File(File&& other) noexcept;
    File& operator=(File&& other) noexcept;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File();

    bool is_open() const noexcept { return fd_ >= 0; }
    int fd() const noexcept { return fd_; }
    const std::string& path() const noexcept { return path_; }

    std::int64_t size() const;
    /// Reads exactly `out.size()` bytes at `offset`; a shorter file is an error.
    void read_at(std::span<std::byte> out, std::int64_t offset) const;
    void write_at(std::span<const std::byte> bytes, std::int64_t offset);
    void sync();
    /// Errors of close(2) are reported here; the destructor cannot.
    void close();

  private:
    friend class OutputFile;
    friend class OutputPath;
    File(int fd, std::string path);
    int fd_ = -1;
    std::string path_;
};

/// The name that an output has until it is whole, for what writes files itself: an empty file
/// `<final>.tmp.<host>.<pid>` in the same directory, opened with O_EXCL. commit(), when all is
/// written and closed, syncs it, renames it and syncs the directory; without commit() the
/// destructor removes it.
class OutputPath {
  public:
    /// Nothing: no file.
    OutputPath() = default;
    explicit OutputPath(std::string path);
    OutputPath(OutputPath&&) noexcept;
    OutputPath& operator=(OutputPath&&) = delete;
    OutputPath(const OutputPath&) = delete;
    OutputPath& operator=(const OutputPath&) = delete;
    ~OutputPath();

    const std::string& path() const noexcept { return path_; }
    const std::string& temporary() const noexcept { return temporary_; }
    /// Of the temporary name, open for reading and writing.
    File& file() noexcept { return file_; }
    void commit();

  private:
    std::string path_;
    std::string temporary_;
    File file_;
};

/// An output that exists under its final name only when it is whole: see OutputPath. The path "-"
/// (and /dev/stdout) is standard output: appended as it comes, commit() only flushes, write_at() is
/// refused. So are pipes and devices (/dev/null) that are there already.
class OutputFile {
  public:
    explicit OutputFile(std::string path);
    OutputFile(OutputFile&&) noexcept = default;
    OutputFile& operator=(OutputFile&&) = delete;
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    ~OutputFile() = default;

    const std::string& path() const noexcept { return path_; }
    /// Appends through a buffer.
    void write(std::span<const std::byte> bytes);
    void write(std::string_view text);
    void flush();
    /// At an absolute offset, past the buffer (over what was appended: flush() first); does not
    /// move where write() goes on.
    void write_at(std::span<const std::byte> bytes, std::int64_t offset);
    /// Bytes appended so far.
    std::int64_t position() const noexcept { return position_; }
    void commit();

  private:
    File& file() noexcept { return stream_.is_open() ? stream_ : place_.file(); }

    std::string path_;
    OutputPath place_;  // of a stream: nowhere
    File stream_;       // open where standard output, a pipe or a device is the output
    std::string buffer_;
    std::int64_t position_ = 0;
};

/// Read-only mapping of a whole file.
class MappedFile {
  public:
    explicit MappedFile(const std::string& path);
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&&) = delete;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();
    std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

  private:
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

std::string read_text(const std::string& path);
/// Whole, by rename.
void write_text(const std::string& path, std::string_view text);
bool exists(const std::string& path);
bool is_directory(const std::string& path);
/// With its parents; an existing directory is fine.
void make_directories(const std::string& path);
/// Space an unprivileged user may still take in the file system that holds `path` (or its parent
/// directory).
std::int64_t free_space(const std::string& path);
/// "a/b" of "a/b/c"; "." where there is no slash.
std::string parent_directory(const std::string& path);
/// What `path` is called until it is whole: "<path>.tmp.<host>.<pid>".
std::string temporary_name(const std::string& path);
/// Makes sure that the names in a directory outlive a loss of power, where it can be opened.
void sync_directory(const std::string& path);
/// TMPDIR, else /tmp.
std::string temporary_directory();

}  // namespace mambase
