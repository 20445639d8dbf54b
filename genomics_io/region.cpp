#include "genomics_io/region.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <optional>
#include <tuple>

namespace mambase::io {

namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 59;  // ten times that still fits

std::optional<std::int64_t> find_contig(std::string_view name, const std::vector<Contig>& contigs) {
    const auto found = std::find_if(contigs.begin(), contigs.end(),
                                    [&](const Contig& contig) { return contig.name == name; });
    return found == contigs.end() ? std::nullopt : std::optional(found - contigs.begin());
}

/// Digits with commas anywhere between them; numbers past any genome are as good as kMost.
std::optional<std::int64_t> parse_position(std::string_view text) {
    if (text.empty() || text.front() == ',' || text.back() == ',') {
        return std::nullopt;
    }
    std::int64_t value = 0;
    for (const char c : text) {
        if (c == ',') {
            continue;
        }
        if (c < '0' || c > '9') {
            return std::nullopt;
        }
        value = std::min(value * 10 + (c - '0'), kMost);
    }
    return value;
}

struct Range {  // 1-based inclusive
    std::int64_t first = 1;
    std::int64_t last = kMost;
};

std::optional<Range> parse_range(std::string_view text) {
    const std::size_t dash = text.find('-');
    const std::string_view first = text.substr(0, dash);
    const std::string_view last =
        dash == std::string_view::npos ? std::string_view() : text.substr(dash + 1);
    Range range;
    if (first.empty() && last.empty()) {
        return std::nullopt;
    }
    if (!first.empty()) {
        const auto value = parse_position(first);
        if (!value) {
            return std::nullopt;
        }
        range.first = *value;
    }
    if (!last.empty()) {
        const auto value = parse_position(last);
        if (!value) {
            return std::nullopt;
        }
        range.last = *value;
    }
    return range;
}

Error bad_region(std::string_view text, std::string_view why) {
    return {ErrorCode::usage, concat("region '", text, "': ", why)};
}

Error no_contig(std::string_view text, std::string_view name, const std::vector<Contig>& contigs) {
    std::string message = concat("region '", text, "': there is no contig '", name, "'");
    const std::string_view chr = "chr";
    const std::string other = name.substr(0, chr.size()) == chr
                                  ? std::string(name.substr(chr.size()))
                                  : concat(chr, name);
    if (find_contig(other, contigs)) {
        message += concat("; the file has '", other, "'");
    }
    return {ErrorCode::not_found, message};
}

}  // namespace

Region parse_region(std::string_view text, const std::vector<Contig>& contigs) {
    std::string_view name = text;
    std::string_view range_text;
    bool has_range = false;
    const std::size_t brace = text.find('}');
    if (!text.empty() && text.front() == '{' && brace != std::string_view::npos) {
        name = text.substr(1, brace - 1);
        const std::string_view rest = text.substr(brace + 1);
        has_range = !rest.empty();
        if (has_range && rest.front() != ':') {
            throw bad_region(text, "after '}' comes ':' or nothing");
        }
        range_text = has_range ? rest.substr(1) : rest;
    } else if (const std::size_t colon = text.rfind(':');
               colon != std::string_view::npos && !find_contig(text, contigs)) {
        name = text.substr(0, colon);
        range_text = text.substr(colon + 1);
        has_range = true;
    }
    const auto contig = find_contig(name, contigs);
    if (!contig) {
        throw no_contig(text, name, contigs);
    }
    Range range;
    if (has_range) {
        const auto parsed = parse_range(range_text);
        if (!parsed) {
            throw bad_region(text, "a range like 1,001-2,000 is expected after the last ':'");
        }
        range = *parsed;
    }
    const std::int64_t length = contigs[static_cast<std::size_t>(*contig)].length;
    if (range.first == 0) {
        throw bad_region(text, "positions count from 1");
    }
    if (range.last < range.first) {
        throw bad_region(text, "it ends before it begins");
    }
    if (has_range && range.first > length) {
        throw bad_region(text, concat("it begins past the end of the contig, which has ",
                                      format_count(length), " bases"));
    }
    return {*contig, range.first - 1, std::min(range.last, length)};
}

std::string format_region(std::string_view name, std::int64_t begin, std::int64_t end) {
    const bool braces = name.find(':') != std::string_view::npos;
    return concat(braces ? "{" : "", name, braces ? "}" : "", ":", begin + 1, "-", end);
}

std::vector<Region> join_overlapping(std::vector<Region> regions) {
    std::sort(regions.begin(), regions.end(), [](const Region& a, const Region& b) {
        return std::tie(a.contig, a.begin, a.end) < std::tie(b.contig, b.begin, b.end);
    });
    std::vector<Region> out;
    for (const Region& region : regions) {
        if (!out.empty() && out.back().contig == region.contig && region.begin < out.back().end) {
            out.back().end = std::max(out.back().end, region.end);
        } else {
            out.push_back(region);
        }
    }
    return out;
}

}  // namespace mambase::io
