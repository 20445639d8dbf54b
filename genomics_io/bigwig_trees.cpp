#include "genomics_io/bigwig_trees.hpp"

#include "base/checked_math.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <functional>

namespace mambase::io {

static_assert(std::endian::native == std::endian::little);

namespace {

constexpr std::uint32_t kContigTreeMagic = 0x78CA8C91;
constexpr std::uint32_t kBlockTreeMagic = 0x2468ACE0;
constexpr std::int64_t kChildren = 256;  // of a node, at most
constexpr std::int64_t kNodeHead = 4;

/// How a tree is laid out: nodes of one size a level, the root first, leaves last.
struct Layout {
    std::int64_t items = 0;
    std::int64_t leaf_bytes = 0;   // of an item in a leaf
    std::int64_t inner_bytes = 0;  // of a child in an inner node
    std::function<void(std::string&, std::int64_t item)> leaf;
    /// A child that holds items [first, last); its place follows.
    std::function<void(std::string&, std::int64_t first, std::int64_t last)> inner;
};

void write_nodes(OutputFile& out, const Layout& layout) {
    std::vector<std::int64_t> span{kChildren};  // items below a node, by height above the leaves
    while (span.back() < layout.items) {
        span.push_back(span.back() * kChildren);
    }
    const auto nodes = [&](std::size_t height) {
        return std::max<std::int64_t>(1, ceil_div(layout.items, span[height]));
    };
    const auto node_bytes = [&](std::size_t height) {
        return kNodeHead + kChildren * (height == 0 ? layout.leaf_bytes : layout.inner_bytes);
    };
    std::int64_t below = out.position();  // where the next lower level begins
    std::string text;
    for (std::size_t height = span.size(); height-- > 0;) {
        below += nodes(height) * node_bytes(height);
        const std::int64_t step = height == 0 ? 1 : span[height - 1];
        for (std::int64_t node = 0; node < nodes(height); ++node) {
            const std::int64_t first = node * span[height];
            const std::int64_t last = std::min(first + span[height], layout.items);
            text.clear();
            append_bytes(text, static_cast<std::uint8_t>(height == 0));
            append_bytes(text, std::uint8_t{0});
            append_bytes(text, static_cast<std::uint16_t>(ceil_div(last - first, step)));
            for (std::int64_t item = first; item < last; item += step) {
                if (height == 0) {
                    layout.leaf(text, item);
                    continue;
                }
                layout.inner(text, item, std::min(item + step, last));
                append_bytes(
                    text, static_cast<std::uint64_t>(below + item / step * node_bytes(height - 1)));
            }
            text.resize(static_cast<std::size_t>(node_bytes(height)), '\0');
            out.write(text);
        }
    }
}

void append_place(std::string& out, const BigWigBlock& first, const BigWigBlock& last) {
    append_bytes(out, first.contig);
    append_bytes(out, first.begin);
    append_bytes(out, last.contig);
    append_bytes(out, last.end);
}

}  // namespace

void write_contig_tree(OutputFile& out, const std::vector<BigWigContig>& contigs) {
    std::size_t key = 1;
    for (const BigWigContig& contig : contigs) {
        key = std::max(key, contig.name.size());
    }
    std::string head;
    append_bytes(head, kContigTreeMagic);
    append_bytes(head, static_cast<std::uint32_t>(kChildren));
    append_bytes(head, static_cast<std::uint32_t>(key));
    append_bytes(head, std::uint32_t{8});  // bytes of a leaf's value: id and length
    append_bytes(head, static_cast<std::uint64_t>(contigs.size()));
    append_bytes(head, std::uint64_t{0});
    out.write(head);
    const auto append_key = [&](std::string& text, std::int64_t item) {
        const std::string& name = contigs[static_cast<std::size_t>(item)].name;
        text.append(name).append(key - name.size(), '\0');
    };
    const auto leaf = [&](std::string& text, std::int64_t item) {
        append_key(text, item);
        append_bytes(text, static_cast<std::uint32_t>(item));
        append_bytes(text, contigs[static_cast<std::size_t>(item)].length);
    };
    const auto bytes = static_cast<std::int64_t>(key) + 8;
    write_nodes(out, {static_cast<std::int64_t>(contigs.size()), bytes, bytes, leaf,
                      [&](std::string& text, std::int64_t first, std::int64_t) {
                          append_key(text, first);
                      }});
}

void write_block_tree(OutputFile& out,
                      const std::vector<BigWigBlock>& blocks,
                      std::uint32_t items) {
    std::string head;
    append_bytes(head, kBlockTreeMagic);
    append_bytes(head, static_cast<std::uint32_t>(kChildren));
    append_bytes(head, static_cast<std::uint64_t>(blocks.size()));
    append_place(head, blocks.empty() ? BigWigBlock() : blocks.front(),
                 blocks.empty() ? BigWigBlock() : blocks.back());
    append_bytes(head, static_cast<std::uint64_t>(out.position()));  // where the data ends
    append_bytes(head, items);
    append_bytes(head, std::uint32_t{0});
    out.write(head);
    const auto at = [&](std::int64_t item) -> const BigWigBlock& {
        return blocks[static_cast<std::size_t>(item)];
    };
    const auto leaf = [&](std::string& text, std::int64_t item) {
        append_place(text, at(item), at(item));
        append_bytes(text, at(item).offset);
        append_bytes(text, at(item).bytes);
    };
    write_nodes(out, {static_cast<std::int64_t>(blocks.size()), 32, 24, leaf,
                      [&](std::string& text, std::int64_t first, std::int64_t last) {
                          append_place(text, at(first), at(last - 1));
                      }});
}

}  // namespace mambase::io
