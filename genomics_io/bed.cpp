#include "genomics_io/bed.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/byte_reader.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>
#include <unordered_map>

namespace mambase::io {

namespace {

bool is_header(std::string_view line) {
    const std::string_view word = line.substr(0, line.find_first_of(" \t"));
    return line.empty() || line.front() == '#' || word == "track" || word == "browser";
}

std::vector<std::string_view> columns(std::string_view line) {
    if (line.find('\t') != std::string_view::npos) {
        return split(line, '\t');
    }
    std::vector<std::string_view> fields = split(line, ' ');
    fields.erase(std::remove(fields.begin(), fields.end(), std::string_view()), fields.end());
    return fields;
}

std::int64_t parse_coordinate(std::string_view text) {
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    if (result.ec != std::errc() || result.ptr != end || value < 0) {
        throw Error(ErrorCode::format, concat("'", text, "' is not a position"));
    }
    return value;
}

class BedParser {
  public:
    explicit BedParser(const std::vector<Contig>& contigs) : contigs_(contigs) {
        for (std::size_t i = 0; i < contigs.size(); ++i) {
            by_name_.emplace(contigs[i].name, static_cast<std::int64_t>(i));
        }
    }

    NamedRegion parse(std::string_view line) const {
        const std::vector<std::string_view> fields = columns(line);
        if (fields.size() < 3) {
            throw Error(ErrorCode::format, "three columns are expected: contig, start, end");
        }
        const auto found = by_name_.find(fields[0]);
        if (found == by_name_.end()) {
            throw Error(ErrorCode::not_found, concat("there is no contig '", fields[0], "'"));
        }
        Region region{found->second, parse_coordinate(fields[1]), parse_coordinate(fields[2])};
        if (region.end <= region.begin) {
            throw Error(ErrorCode::format,
                        "the interval has no bases: its end is not past its "
                        "start");
        }
        const std::int64_t length = contigs_[static_cast<std::size_t>(region.contig)].length;
        if (region.begin >= length) {
            throw Error(ErrorCode::format, concat("the interval begins past the end of ", fields[0],
                                                  ", which has ", format_count(length), " bases"));
        }
        region.end = std::min(region.end, length);
        const bool named = fields.size() > 3 && !fields[3].empty() && fields[3] != ".";
        return {region, named ? std::string(fields[3])
                              : format_region(fields[0], region.begin, region.end)};
    }

  private:
    const std::vector<Contig>& contigs_;
    std::unordered_map<std::string_view, std::int64_t> by_name_;
};

}  // namespace

std::vector<NamedRegion> read_named_bed(const std::string& path,
                                        const std::vector<Contig>& contigs) {
    const std::string text = read_inflated(path);
    const BedParser parser(contigs);
    std::vector<NamedRegion> regions;
    std::int64_t number = 0;
    for (std::string_view line : split(text, '\n')) {
        ++number;
        if (!line.empty() && line.back() == '\r') {
            line.remove_suffix(1);
        }
        if (is_header(line)) {
            continue;
        }
        try {
            regions.push_back(parser.parse(line));
        } catch (Error& error) {
            throw error.at(path).offset(number, "line");
        }
    }
    return regions;
}

std::vector<Region> read_bed(const std::string& path, const std::vector<Contig>& contigs) {
    std::vector<Region> regions;
    for (const NamedRegion& named : read_named_bed(path, contigs)) {
        regions.push_back(named.region);
    }
    return regions;
}

}  // namespace mambase::io
