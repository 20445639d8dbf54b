#include "base/file.hpp"

#include "base/error.hpp"
#include "tests/support/temp_dir.hpp"

#include <array>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;

namespace {

std::size_t entries(const std::string& directory) {
    std::size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        static_cast<void>(entry);
        ++n;
    }
    return n;
}

}  // namespace

TEST_CASE("an output appears whole or not at all") {
    const test::TempDir dir;
    const std::string path = dir.file("out.txt");
    {
        OutputFile out(path);
        out.write("half");
        CHECK_FALSE(exists(path));
        CHECK(entries(dir.path()) == 1);
    }
    CHECK(entries(dir.path()) == 0);
    {
        OutputFile out(path);
        out.write("0123456789");
        out.commit();
    }
    CHECK(read_text(path) == "0123456789");
    CHECK(entries(dir.path()) == 1);
    const MappedFile map(path);
    CHECK(map.bytes().size() == 10);
}

TEST_CASE("a pipe or device is written to, never replaced") {
    const test::TempDir dir;
    const std::string pipe = dir.file("pipe");
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
    OutputFile out(pipe);
    out.write("as it comes");
    out.commit();
    char text[32] = {};
    CHECK(::read(reader, text, sizeof text) == 11);
    CHECK(std::string(text) == "as it comes");
    ::close(reader);
    CHECK(std::filesystem::is_fifo(pipe));
}

TEST_CASE("writes larger than the buffer keep their order") {
    const test::TempDir dir;
    std::string expected;
    OutputFile out(dir.file("big"));
    for (int i = 0; i < 50; ++i) {
        const std::string piece(static_cast<std::size_t>(i) * 20011,
                                static_cast<char>('a' + i % 26));
        out.write(piece);
        expected += piece;
    }
    CHECK(out.position() == static_cast<std::int64_t>(expected.size()));
    out.commit();
    CHECK(read_text(dir.file("big")) == expected);
}

TEST_CASE("a spool is read back at any offset and ends loudly") {
    const test::TempDir dir;
    File spool = File::temporary();
    const std::array<std::byte, 3> bytes{std::byte{1}, std::byte{2}, std::byte{3}};
    spool.write_at(bytes, 5);
    CHECK(spool.size() == 8);
    std::array<std::byte, 2> got{};
    spool.read_at(got, 6);
    CHECK(got[0] == std::byte{2});
    CHECK_THROWS_AS(spool.read_at(got, 7), Error);
}

TEST_CASE("what cannot be opened says which file and why") {
    const test::TempDir dir;
    try {
        File::open_read(dir.file("absent"));
        FAIL("no exception");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::not_found);
        CHECK(std::string(error.what()).find("absent") != std::string::npos);
    }
    CHECK_THROWS_AS(File::open_read(dir.path()), Error);
    CHECK_THROWS_AS(OutputFile(dir.path()), Error);
    CHECK_THROWS_AS(OutputFile(dir.file("no/such/dir")), Error);
}

TEST_CASE("a write past a limit is an error and leaves nothing behind") {
    const test::TempDir dir;
    rlimit old{};
    getrlimit(RLIMIT_FSIZE, &old);
    const rlimit small{4096, old.rlim_max};
    std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    {
        OutputFile out(dir.file("out"));
        const std::vector<std::byte> bytes(1 << 20);
        CHECK_THROWS_AS(out.write(bytes), Error);
    }
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK(entries(dir.path()) == 0);
}
