// Sequence for tests: random records, sources from memory, and files of every form.
#pragma once

#include "base/error.hpp"
#include "base/file.hpp"
#include "genomics_io/source.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <htslib/bgzf.h>

namespace mambase::test {

struct Record {
    std::string name;
    std::string bases;
    friend bool operator==(const Record&, const Record&) = default;
};

/// Bases, soft-masked stretches, single IUPAC codes, and stretches of N of about `gap` bases.
inline std::string random_bases(std::mt19937& random, std::size_t length, std::size_t gap) {
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    std::string bases;
    while (bases.size() < length) {
        const std::size_t n = 1 + below(3 * gap);
        const bool lower = below(3) == 0;
        for (std::size_t i = 0; i < n; ++i) {
            bases.push_back((lower ? "acgt" : "ACGT")[below(4)]);
        }
        switch (below(4)) {
            case 0:
                bases.append(gap - 1 + below(3), 'N');
                break;
            case 1:
                bases.append(below(3 * gap), below(2) == 0 ? 'N' : 'n');
                break;
            case 2:
                bases.push_back("RYSWKMBDHVNryswkmbdhvnUu"[below(24)]);
                break;
            default:
                break;
        }
    }
    bases.resize(length);
    return bases;
}

/// Delivers records in segments of random sizes, from a position of the (only) record on.
class MemorySource final : public io::SequenceSource {
  public:
    MemorySource(std::vector<Record> records,
                 std::uint32_t seed,
                 std::size_t largest,
                 std::int64_t start = 0)
        : records_(std::move(records)), random_(seed), largest_(largest), start_(start) {}

    bool next(io::Segment& segment) override {
        if (record_ == records_.size()) {
            return false;
        }
        const Record& record = records_[record_];
        const std::size_t n = std::min(record.bases.size() - at_, 1 + random_() % largest_);
        segment.record = static_cast<std::int64_t>(record_);
        segment.name = record.name;
        segment.start = start_ + static_cast<std::int64_t>(at_);
        segment.bases = std::span(record.bases).subspan(at_, n);
        segment.first = at_ == 0;
        at_ += n;
        segment.last = at_ == record.bases.size();
        if (segment.last) {
            ++record_;
            at_ = 0;
        }
        return true;
    }
    const std::string& path() const override { return path_; }

  private:
    std::string path_ = "memory.fa";
    std::vector<Record> records_;
    std::mt19937 random_;
    std::size_t largest_;
    std::int64_t start_;
    std::size_t record_ = 0;
    std::size_t at_ = 0;
};

struct FastaStyle {
    std::size_t width = 60;
    std::string line_end = "\n";
    bool final_newline = true;
};

inline std::string fasta_text(const std::vector<Record>& records, const FastaStyle& style = {}) {
    std::string text;
    for (const Record& record : records) {
        text += ">" + record.name + " some words" + style.line_end;
        for (std::size_t at = 0; at < record.bases.size(); at += style.width) {
            text += record.bases.substr(at, style.width) + style.line_end;
        }
    }
    if (!style.final_newline) {
        text.resize(text.size() - style.line_end.size());
    }
    return text;
}

/// `mode` of bgzf_open: "w" is bgzip, "wg" gzip, "wu" plain.
inline void write_as(const std::string& path, std::string_view text, const char* mode) {
    BGZF* const out = bgzf_open(path.c_str(), mode);
    REQUIRE(out != nullptr);
    REQUIRE(bgzf_write(out, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    REQUIRE(bgzf_close(out) == 0);
}

/// The text of the error that `action` throws, with its code in front: "format: file: …".
template <class Action>
std::string error_of(const Action& action) {
    try {
        action();
    } catch (const Error& error) {
        return std::string(name(error.code())) + ": " + error.what();
    }
    return "no error";
}

}  // namespace mambase::test
