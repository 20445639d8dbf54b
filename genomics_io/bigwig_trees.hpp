// The two search trees of a bigWig file: contigs by name, and blocks of data by place. Private to
// the bigWig sink.
#pragma once

#include "base/file.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace mambase::io {

/// Appends the little-endian bytes of a number.
template <class Number>
void append_bytes(std::string& out, Number value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// A compressed block of values, or of summaries, of one contig.
struct BigWigBlock {
    std::uint32_t contig = 0;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint64_t offset = 0;  // in the file
    std::uint64_t bytes = 0;
};

struct BigWigContig {
    std::string name;
    std::uint32_t length = 0;
};

/// Contigs in the order of their names' bytes; the id of one is its index.
void write_contig_tree(OutputFile& out, const std::vector<BigWigContig>& contigs);

/// Blocks in ascending order. `items`: in a block, at most.
void write_block_tree(OutputFile& out, const std::vector<BigWigBlock>& blocks, std::uint32_t items);

}  // namespace mambase::io
