#include "pipelines/training_data.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "genomics_io/bed.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kLongContig = 1'000'000;

/// First base held out of a contig of that length.
std::int64_t held_out_begin(std::int64_t length) {
    return length - ceil_div(length, 20);
}

/// The contigs of which a part is held out, ascending, of those that `base` touches.
std::vector<std::int64_t> contigs_to_divide(const std::vector<io::StoredContig>& contigs,
                                            const std::vector<io::Region>& base) {
    const auto length = [&contigs](std::int64_t contig) {
        return contigs[static_cast<std::size_t>(contig)].summary.length;
    };
    std::vector<std::int64_t> out;
    std::int64_t longest = -1;
    for (const io::Region& region : base) {
        const bool is_new = out.empty() || out.back() != region.contig;
        if (is_new && length(region.contig) > kLongContig) {
            out.push_back(region.contig);
        }
        if (longest < 0 || length(region.contig) > length(longest)) {
            longest = region.contig;
        }
    }
    if (out.empty() && longest >= 0) {
        out.push_back(longest);
    }
    return out;
}

bool has_target(const io::Tokenizer& tokenizer, std::span<const std::uint8_t> codes) {
    return std::any_of(codes.begin() + 1, codes.end(),
                       [&](std::uint8_t code) { return tokenizer.is_acgt(code); });
}

void add_windows(const io::TokenStore& store,
                 const io::Region& region,
                 std::int64_t context,
                 std::vector<io::Region>& out) {
    const io::StoredContig& contig = store.contigs()[static_cast<std::size_t>(region.contig)];
    for (const io::Interval& run : contig.runs) {
        const std::int64_t end = std::min(run.end, region.end);
        for (std::int64_t begin = std::max(run.begin, region.begin); begin + context < end;
             begin += context) {
            const auto codes = std::span(contig.codes)
                                   .subspan(static_cast<std::size_t>(begin),
                                            static_cast<std::size_t>(context + 1));
            if (has_target(store.tokenizer(), codes)) {
                out.push_back({region.contig, begin, begin + context + 1});
            }
        }
    }
}

/// Calls `take` with what each of `regions` shares with each of `others`; both joined.
template <class Take>
void intersect(const std::vector<io::Region>& regions,
               const std::vector<io::Region>& others,
               const Take& take) {
    auto first = others.begin();
    for (const io::Region& region : regions) {
        while (first != others.end() &&
               (first->contig < region.contig ||
                (first->contig == region.contig && first->end <= region.begin))) {
            ++first;
        }
        for (auto other = first;
             other != others.end() && other->contig == region.contig && other->begin < region.end;
             ++other) {
            take(io::Region{region.contig, std::max(region.begin, other->begin),
                            std::min(region.end, other->end)});
        }
    }
}

/// What is left of `regions` (joined) without `holes` (joined).
std::vector<io::Region> without(const std::vector<io::Region>& regions,
                                const std::vector<io::Region>& holes) {
    std::vector<io::Region> out;
    for (io::Region region : regions) {
        intersect({region}, holes, [&](const io::Region& hole) {
            if (hole.begin > region.begin) {
                out.push_back({region.contig, region.begin, hole.begin});
            }
            region.begin = hole.end;
        });
        if (region.begin < region.end) {
            out.push_back(region);
        }
    }
    return out;
}

std::vector<io::Region> whole_contigs(const io::TokenStore& store) {
    std::vector<io::Region> out;
    for (const io::StoredContig& contig : store.contigs()) {
        out.push_back({static_cast<std::int64_t>(out.size()), 0, contig.summary.length});
    }
    return out;
}

std::vector<io::Region> default_held_out(const io::TokenStore& store,
                                         const std::vector<io::Region>& base) {
    std::vector<io::Region> ends;
    for (const std::int64_t contig : contigs_to_divide(store.contigs(), base)) {
        const std::int64_t end = store.contigs()[static_cast<std::size_t>(contig)].summary.length;
        ends.push_back({contig, held_out_begin(end), end});
    }
    std::vector<io::Region> out;
    intersect(base, ends, [&out](const io::Region& part) { out.push_back(part); });
    return out;
}

void require_disjoint(const io::TokenStore& store, const GivenRegions& given) {
    std::int64_t bases = 0;
    std::string where;
    intersect(given.train, given.valid, [&](const io::Region& both) {
        bases += both.end - both.begin;
        if (where.empty()) {
            const auto& contig = store.contigs()[static_cast<std::size_t>(both.contig)];
            where = io::format_region(contig.summary.name, both.begin, both.end);
        }
    });
    MAMBASE_REQUIRE(bases == 0, ErrorCode::usage,
                    concat("the regions to train on and those to validate on share ",
                           format_count(bases), " bases, the first of them ", where,
                           "; a model must not be tested on what it was trained on"));
}

}  // namespace

std::vector<io::Region> read_regions(const io::TokenStore& store,
                                     const std::string& bed,
                                     const std::vector<std::string>& contigs) {
    std::vector<io::Region> out;
    if (bed.empty() && contigs.empty()) {
        return out;
    }
    const std::vector<io::Contig> names = store.names();
    if (!bed.empty()) {
        out = io::read_bed(bed, names);
        MAMBASE_REQUIRE(!out.empty() || !contigs.empty(), ErrorCode::usage,
                        concat(bed, ": no intervals"));
    }
    for (const std::string& list : contigs) {
        for (const std::string_view name : split(list, ',')) {
            const io::Region contig = io::parse_region(concat('{', name, '}'), names);
            if (contig.begin < contig.end) {
                out.push_back(contig);
            }
        }
    }
    return io::join_overlapping(std::move(out));
}

DataSplit split_data(const io::TokenStore& store, std::int64_t context, const GivenRegions& given) {
    require_disjoint(store, given);
    const bool is_given = !given.valid.empty();
    DataSplit split;
    split.train = given.train.empty() ? whole_contigs(store) : given.train;
    split.held_out = is_given ? given.valid : default_held_out(store, split.train);
    for (const io::Region& region : split.held_out) {
        add_windows(store, region, context, split.valid);
    }
    const auto windows = static_cast<std::int64_t>(split.valid.size());
    MAMBASE_REQUIRE(!is_given || windows > 0, ErrorCode::usage,
                    concat("the regions to validate on hold no window of ", context,
                           " bases and the one after it"));
    if (!is_given && windows < kFewestValidationWindows) {
        split.held_out.clear();
        split.valid.clear();
    }
    if (given.train.empty() || !is_given) {
        std::vector<io::Region> wider;
        for (const io::Region& region : split.held_out) {
            wider.push_back({region.contig, region.begin - context, region.end + context});
        }
        split.train = without(split.train, io::join_overlapping(std::move(wider)));
    }
    return split;
}

std::int64_t count_short(const std::vector<io::Region>& regions, std::int64_t context) {
    return std::count_if(regions.begin(), regions.end(), [context](const io::Region& region) {
        return region.end - region.begin <= context;
    });
}

std::string describe_regions(const io::TokenStore& store, const std::vector<io::Region>& regions) {
    if (regions.empty()) {
        return "default";
    }
    Sha256 digest;
    std::int64_t bases = 0;
    for (const io::Region& region : regions) {
        const auto& contig = store.contigs()[static_cast<std::size_t>(region.contig)];
        digest.update(concat(contig.summary.name, "\t", region.begin, "\t", region.end, "\n"));
        bases += region.end - region.begin;
    }
    return concat(format_count(bases), " bases, ", digest.hex().substr(0, 16));
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
