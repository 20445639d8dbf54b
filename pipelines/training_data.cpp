#include "pipelines/training_data.hpp"

#include "base/checked_math.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cstddef>
#include <span>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kLongContig = 1'000'000;

/// First base held out of a contig of that length.
std::int64_t held_out_begin(std::int64_t length) {
    return length - ceil_div(length, 20);
}

/// The contigs of which a part is held out, by index.
std::vector<std::int64_t> contigs_to_divide(const std::vector<io::StoredContig>& contigs) {
    std::vector<std::int64_t> out;
    std::int64_t longest = 0;
    for (std::size_t i = 0; i < contigs.size(); ++i) {
        const auto index = static_cast<std::int64_t>(i);
        if (contigs[i].summary.length > kLongContig) {
            out.push_back(index);
        }
        if (contigs[i].summary.length > contigs[static_cast<std::size_t>(longest)].summary.length) {
            longest = index;
        }
    }
    if (out.empty() && !contigs.empty()) {
        out.push_back(longest);
    }
    return out;
}

bool has_target(const io::Tokenizer& tokenizer, std::span<const std::uint8_t> codes) {
    return std::any_of(codes.begin() + 1, codes.end(),
                       [&](std::uint8_t code) { return tokenizer.is_acgt(code); });
}

void add_windows(const io::TokenStore& store,
                 std::int64_t contig_index,
                 std::int64_t context,
                 std::vector<io::Region>& out) {
    const io::StoredContig& contig = store.contigs()[static_cast<std::size_t>(contig_index)];
    const std::int64_t held_out = held_out_begin(contig.summary.length);
    for (const io::Interval& run : contig.runs) {
        for (std::int64_t begin = std::max(run.begin, held_out); begin + context < run.end;
             begin += context) {
            const auto codes = std::span(contig.codes)
                                   .subspan(static_cast<std::size_t>(begin),
                                            static_cast<std::size_t>(context + 1));
            if (has_target(store.tokenizer(), codes)) {
                out.push_back({contig_index, begin, begin + context + 1});
            }
        }
    }
}

}  // namespace

DataSplit split_data(const io::TokenStore& store, std::int64_t context) {
    DataSplit split;
    const std::vector<std::int64_t> divided = contigs_to_divide(store.contigs());
    for (const std::int64_t contig : divided) {
        add_windows(store, contig, context, split.valid);
    }
    const bool has_valid =
        static_cast<std::int64_t>(split.valid.size()) >= kFewestValidationWindows;
    if (!has_valid) {
        split.valid.clear();
    }
    for (std::size_t i = 0; i < store.contigs().size(); ++i) {
        const auto index = static_cast<std::int64_t>(i);
        std::int64_t end = store.contigs()[i].summary.length;
        if (has_valid && std::find(divided.begin(), divided.end(), index) != divided.end()) {
            end = std::max<std::int64_t>(held_out_begin(end) - context, 0);
        }
        split.train.push_back({index, 0, end});
    }
    return split;
}

std::vector<io::Region> thin_out(const std::vector<io::Region>& windows, std::int64_t count) {
    const auto all = static_cast<std::int64_t>(windows.size());
    if (all <= count) {
        return windows;
    }
    std::vector<io::Region> out;
    for (std::int64_t i = 0; i < count; ++i) {
        out.push_back(windows[static_cast<std::size_t>(checked_mul(i, all) / count)]);
    }
    return out;
}

std::string data_digest(const io::TokenStore& store) {
    Sha256 digest;
    digest.update(store.tokenizer().hash());
    for (const io::StoredContig& contig : store.contigs()) {
        // A name holds no white space, so that no two inputs give the same bytes.
        digest.update(concat("\n", contig.summary.name, "\t", contig.summary.length, "\n"));
        digest.update(std::as_bytes(std::span(contig.codes)));
    }
    return digest.hex();
}

}  // namespace mambase::pipelines
