// What every SequenceSource has to do, as one suite that each of them runs.
#pragma once

#include "genomics_io/source.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <algorithm>
#include <cstdint>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace mambase::test {

/// Reads a source to its end and requires what source.hpp promises of each segment.
inline std::vector<Record> collect(io::SequenceSource& source, std::int64_t start = 0) {
    std::vector<Record> records;
    io::Segment segment;
    bool open = false;
    std::int64_t position = 0;
    while (source.next(segment)) {
        REQUIRE(segment.first == !open);
        if (segment.first) {
            records.push_back({std::string(segment.name), {}});
            position = start;
        }
        REQUIRE(segment.name == records.back().name);
        REQUIRE(segment.start == position);
        REQUIRE(segment.bases.size() <= std::size_t{1} << 20);
        REQUIRE((!segment.bases.empty() || (segment.first && segment.last)));
        records.back().bases.append(segment.bases.data(), segment.bases.size());
        position += static_cast<std::int64_t>(segment.bases.size());
        open = !segment.last;
    }
    REQUIRE_FALSE(open);
    REQUIRE_FALSE(source.next(segment));  // the end stays the end
    return records;
}

/// `read(path)` of a named pipe that brings `content` in small writes.
template <class Read>
auto read_pipe(const std::string& content, const Read& read) {
    const TempDir dir;
    const std::string path = dir.file("pipe");
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    std::jthread writer([&] {
        const int fd = ::open(path.c_str(), O_WRONLY);
        for (std::size_t at = 0; at < content.size();) {
            const ssize_t n =
                ::write(fd, content.data() + at, std::min<std::size_t>(content.size() - at, 1000));
            if (n <= 0) {
                break;
            }
            at += static_cast<std::size_t>(n);
        }
        ::close(fd);
    });
    return read(path);
}

using MakeSource =
    std::function<std::unique_ptr<io::SequenceSource>(const std::vector<Record>& records)>;

/// Records of the lengths at which readers go wrong: none, one base, about a line, about the buffer
/// of the file, about a segment, several of them. Without U, of which the reverse strand keeps
/// none.
inline std::vector<Record> conformance_records() {
    std::mt19937 random(20240607);
    std::vector<Record> records;
    for (const std::size_t length :
         {0, 1, 59, 60, 61, 0, 119, 120, 65535, 65536, 131071, 131072, 131073, 262144, 700001, 3}) {
        records.push_back({"r" + std::to_string(records.size()),
                           length == 0 ? "" : random_bases(random, length, 50)});
        std::string& bases = records.back().bases;
        std::replace(bases.begin(), bases.end(), 'U', 'T');
        std::replace(bases.begin(), bases.end(), 'u', 't');
    }
    return records;
}

/// `single`: sources that give one record each, asked for one by one. `upper`: of a format that has
/// no lower case.
inline void check_conformance(const MakeSource& make, bool single, bool upper = false) {
    std::vector<Record> records = conformance_records();
    for (Record& record : records) {
        if (upper) {
            std::transform(record.bases.begin(), record.bases.end(), record.bases.begin(),
                           [](char c) { return c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c; });
        }
    }
    if (!single) {
        CHECK(collect(*make(records)) == records);
        const std::vector<Record> empties{{"a", ""}, {"b", ""}};
        CHECK(collect(*make(empties)) == empties);
    }
    for (const Record& record : records) {
        CAPTURE(record.name, record.bases.size());
        CHECK(collect(*make({record})) == std::vector{record});
    }
}

}  // namespace mambase::test
