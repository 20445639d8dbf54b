#include "pipelines/samples.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/rng.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "genomics_io/bed.hpp"
#include "pipelines/training_data.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

namespace mambase::pipelines {

namespace {

constexpr std::array kColumns = {std::string_view("path"), std::string_view("label"),
                                 std::string_view("region"), std::string_view("split")};
enum Column : std::size_t { kPath, kLabel, kRegion, kSplit };

/// Where each of kColumns stands in a line; kAbsent: nowhere.
using Places = std::array<std::size_t, kColumns.size()>;
constexpr std::size_t kAbsent = static_cast<std::size_t>(-1);

Error table_error(std::string message, const std::string& table, std::int64_t line) {
    Error error(ErrorCode::format, std::move(message));
    error.at(table).offset(line, "line");
    return error;
}

Places parse_header(const std::vector<std::string_view>& fields,
                    const std::string& table,
                    std::int64_t line) {
    Places places;
    places.fill(kAbsent);
    for (std::size_t at = 0; at < fields.size(); ++at) {
        const std::string_view column = fields[at] == "bed" ? kColumns[kRegion] : fields[at];
        const auto known = std::find(kColumns.begin(), kColumns.end(), column);
        if (known == kColumns.end() ||
            places[static_cast<std::size_t>(known - kColumns.begin())] != kAbsent) {
            throw table_error(concat("column '", fields[at],
                                     "' is unknown or there twice; the columns are path, label and "
                                     "optionally region and split"),
                              table, line);
        }
        places[static_cast<std::size_t>(known - kColumns.begin())] = at;
    }
    if (places[kPath] == kAbsent || places[kLabel] == kAbsent) {
        throw table_error("the header has no column 'path' or no column 'label'", table, line);
    }
    return places;
}

std::optional<Part> parse_part(std::string_view word, const std::string& table, std::int64_t line) {
    if (word.empty()) {
        return std::nullopt;
    }
    for (const Part part : {Part::train, Part::valid, Part::test}) {
        if (word == name(part)) {
            return part;
        }
    }
    throw table_error(concat("'", word, "' is not a split: train, valid, test"), table, line);
}

/// Evenly spaced.
std::vector<LabelledWindow> thinned(const std::vector<LabelledWindow>& windows, std::int64_t most) {
    const auto all = static_cast<std::int64_t>(windows.size());
    if (all <= most) {
        return windows;
    }
    std::vector<LabelledWindow> out;
    for (std::int64_t i = 0; i < most; ++i) {
        out.push_back(windows[static_cast<std::size_t>(i * all / most)]);
    }
    return out;
}

std::vector<io::Contig> contigs_of(const io::TokenStore& store) {
    std::vector<io::Contig> out;
    for (const io::StoredContig& contig : store.contigs()) {
        out.push_back({contig.summary.name, contig.summary.length});
    }
    return out;
}

const io::StoredContig& contig_of(const io::TokenStore& store, std::int64_t contig) {
    return store.contigs()[static_cast<std::size_t>(contig)];
}

/// The same for the same bases, whatever they are called and in whatever case they stand.
std::string content_of(const io::StoredContig& contig) {
    std::vector<std::uint8_t> ids(contig.codes.size());
    std::transform(contig.codes.begin(), contig.codes.end(), ids.begin(), [](std::uint8_t code) {
        return static_cast<std::uint8_t>(code & ~io::kSoftMask);
    });
    Sha256 hash;
    hash.update(std::as_bytes(std::span(ids)));
    return hash.hex();
}

/// The pieces of a region in which windows lie.
std::vector<io::Region> pieces_of(const io::StoredContig& contig,
                                  const io::Region& bases,
                                  std::int64_t window) {
    std::vector<io::Region> out;
    for (const io::Interval& run : contig.runs) {
        const io::Region piece{bases.contig, std::max(run.begin, bases.begin),
                               std::min(run.end, bases.end)};
        if (piece.end - piece.begin >= window) {
            out.push_back(piece);
        }
    }
    return out;
}

}  // namespace

std::string_view name(Part part) {
    switch (part) {
        case Part::train:
            return "train";
        case Part::valid:
            return "valid";
        case Part::test:
            return "test";
    }
    return "";
}

struct SampleSet::Line {
    std::int64_t number = 0;
    std::string path;
    std::string label;
    std::string region;
    std::optional<Part> part;

    static std::vector<Line> read(const std::string& table) {
        const std::string text = read_text(table == "-" ? "/dev/stdin" : table);
        std::vector<Line> lines;
        std::optional<Places> places;
        std::int64_t number = 0;
        for (std::string_view line : split(text, '\n')) {
            ++number;
            if (line.ends_with('\r')) {
                line.remove_suffix(1);
            }
            if (line.empty() || line.front() == '#') {
                continue;
            }
            const std::vector<std::string_view> fields = split(line, '\t');
            if (!places) {
                const bool is_header =
                    std::find(fields.begin(), fields.end(), "path") != fields.end();
                places = is_header ? parse_header(fields, table, number)
                                   : Places{kPath, kLabel, kRegion, kSplit};
                if (is_header) {
                    continue;
                }
            }
            lines.push_back(parse(fields, *places, table, number));
        }
        return lines;
    }

    static Line parse(const std::vector<std::string_view>& fields,
                      const Places& places,
                      const std::string& table,
                      std::int64_t number) {
        const auto field = [&](Column column) {
            if (places[column] >= fields.size()) {
                return std::string();
            }
            std::string_view text = fields[places[column]];  // without blanks around it
            text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
            text.remove_suffix(text.size() - (text.find_last_not_of(' ') + 1));
            return std::string(text);
        };
        Line out{number, field(kPath), field(kLabel), field(kRegion),
                 parse_part(field(kSplit), table, number)};
        if (out.path.empty() || out.label.empty() || fields.size() > kColumns.size()) {
            throw table_error(
                concat("expected path, label, and optionally region and split, parted by tabs; "
                       "found ",
                       fields.size(), " field(s)"),
                table, number);
        }
        return out;
    }
};

SampleSet::SampleSet(const std::string& table,
                     const io::Tokenizer& tokenizer,
                     std::int64_t window,
                     std::int64_t gap,
                     bool ignore_eof,
                     std::vector<std::string> labels,
                     const Runtime& runtime)
    : tokenizer_(tokenizer),
      window_(window),
      gap_(gap),
      ignore_eof_(ignore_eof),
      labels_(std::move(labels)) {
    MAMBASE_REQUIRE(gap >= 1 && gap <= window, ErrorCode::usage,
                    concat("a gap is from 1 base to a window of ", window, ", not ", gap));
    const std::vector<Line> lines = Line::read(table);
    const bool known = !labels_.empty();
    std::size_t divided = 0;
    for (const Line& line : lines) {
        divided += line.part ? 0 : 1;
        if (std::find(labels_.begin(), labels_.end(), line.label) == labels_.end()) {
            if (known) {
                throw table_error(concat("the classifier has no label '", line.label, "'"), table,
                                  line.number);
            }
            labels_.push_back(line.label);
        }
    }
    if (divided != 0 && divided != lines.size()) {
        throw Error(ErrorCode::usage, "some samples have a split and some have none").at(table);
    }
    if (labels_.size() < 2 || labels_.size() > 256) {
        throw Error(ErrorCode::usage,
                    concat("a classifier tells 2 to 256 labels apart; here are ", labels_.size()))
            .at(table);
    }
    for (const Line& line : lines) {
        add(line, divided != 0, table, runtime);
    }
    require_no_overlap();
}

std::size_t SampleSet::store_of(const std::string& path, const Runtime& runtime) {
    const auto found = std::find(paths_.begin(), paths_.end(), path);
    if (found != paths_.end()) {
        return static_cast<std::size_t>(found - paths_.begin());
    }
    runtime.throw_if_stopped();
    runtime.observer.progress(concat("reading ", path));
    stores_.emplace_back(tokenizer_, gap_)
        .add(path, {.threads = runtime.threads - 1, .ignore_eof = ignore_eof_});
    paths_.push_back(path);
    return stores_.size() - 1;
}

void SampleSet::add(const Line& line,
                    bool divided,
                    const std::string& table,
                    const Runtime& runtime) {
    LabelledRegion region;
    region.store = store_of(line.path, runtime);
    region.label = std::find(labels_.begin(), labels_.end(), line.label) - labels_.begin();
    region.part = line.part.value_or(Part::train);
    const std::vector<io::Contig> contigs = contigs_of(stores_[region.store]);
    std::vector<io::Region> asked;
    if (line.region.empty() || line.region == ".") {
        for (std::size_t i = 0; i < contigs.size(); ++i) {
            asked.push_back({static_cast<std::int64_t>(i), 0, contigs[i].length});
        }
    } else if (line.region.ends_with(".bed") || line.region.ends_with(".bed.gz")) {
        asked = io::read_bed(line.region, contigs);
    } else {
        try {
            asked.push_back(io::parse_region(line.region, contigs));
        } catch (Error& error) {
            throw error.at(table).offset(line.number, "line").add(concat("reading ", line.path));
        }
    }
    for (const io::Region& bases : asked) {
        region.bases = bases;
        if (divided) {
            add_divided(region);
        } else {
            regions_.push_back(region);
        }
    }
}

void SampleSet::add_divided(LabelledRegion region) {
    const io::Region whole = region.bases;
    const std::int64_t tenth = (whole.end - whole.begin) / 10;
    if (tenth < 2 * window_) {
        regions_.push_back(region);
        return;
    }
    const std::int64_t valid = whole.begin + 8 * tenth;
    const std::int64_t test = valid + tenth;
    const auto push = [&](Part part, std::int64_t begin, std::int64_t end) {
        region.part = part;
        region.bases = {whole.contig, begin, end};
        regions_.push_back(region);
    };
    push(Part::train, whole.begin, valid);
    push(Part::valid, valid + window_, test);
    push(Part::test, test + window_, whole.end);
}

void SampleSet::require_no_overlap() const {
    std::map<std::pair<std::size_t, std::int64_t>, std::string> contents;
    std::map<std::string, std::vector<const LabelledRegion*>> by_content;
    for (const LabelledRegion& region : regions_) {
        std::string& content = contents[{region.store, region.bases.contig}];
        if (content.empty()) {
            content = content_of(contig_of(stores_[region.store], region.bases.contig));
        }
        by_content[content].push_back(&region);
    }
    for (auto& [content, regions] : by_content) {
        std::stable_sort(regions.begin(), regions.end(),
                         [](const LabelledRegion* a, const LabelledRegion* b) {
                             return a->bases.begin < b->bases.begin;
                         });
        std::array<const LabelledRegion*, 3> reaches{};  // by part, the furthest so far
        for (const LabelledRegion* const region : regions) {
            for (const LabelledRegion* const other : reaches) {
                if (other != nullptr && other->bases.end > region->bases.begin &&
                    (other->part != region->part || other->label != region->label)) {
                    const auto text = [&](const LabelledRegion& of) {
                        return concat(
                            paths_[of.store], " ",
                            io::format_region(
                                contig_of(stores_[of.store], of.bases.contig).summary.name,
                                of.bases.begin, of.bases.end),
                            " (", labels_[static_cast<std::size_t>(of.label)], ", ", name(of.part),
                            ")");
                    };
                    throw Error(
                        ErrorCode::usage,
                        concat(other->part != region->part ? "the parts overlap: "
                                                           : "the same sequence has two labels: ",
                               text(*other), " and ", text(*region), " share bases"));
                }
            }
            const LabelledRegion*& furthest = reaches[static_cast<std::size_t>(region->part)];
            if (furthest == nullptr || region->bases.end > furthest->bases.end) {
                furthest = region;
            }
        }
    }
}

std::vector<LabelledWindow> SampleSet::windows(Part part, std::int64_t most) const {
    std::vector<std::vector<LabelledWindow>> by_label(labels_.size());
    for (const LabelledRegion& region : regions_) {
        if (region.part != part) {
            continue;
        }
        const io::StoredContig& contig = contig_of(stores_[region.store], region.bases.contig);
        for (const io::Region& piece : pieces_of(contig, region.bases, window_)) {
            for (std::int64_t begin = piece.begin; begin + window_ <= piece.end; begin += window_) {
                by_label[static_cast<std::size_t>(region.label)].push_back(
                    {region.store, {piece.contig, begin, begin + window_}, region.label});
            }
        }
    }
    std::vector<LabelledWindow> out;
    for (const std::vector<LabelledWindow>& windows : by_label) {
        const std::vector<LabelledWindow> some = thinned(windows, most);
        out.insert(out.end(), some.begin(), some.end());
    }
    return out;
}

std::span<const std::uint8_t> SampleSet::codes(const LabelledWindow& window) const {
    return std::span(contig_of(stores_[window.store], window.bases.contig).codes)
        .subspan(static_cast<std::size_t>(window.bases.begin),
                 static_cast<std::size_t>(window.bases.end - window.bases.begin));
}

std::string SampleSet::digest() const {
    Sha256 digest;
    for (const std::string& label : labels_) {
        digest.update(concat(label, "\n"));
    }
    for (const io::TokenStore& store : stores_) {
        digest.update(concat(data_digest(store), "\n"));
    }
    for (const LabelledRegion& region : regions_) {
        digest.update(concat(region.store, "\t", region.bases.contig, "\t", region.bases.begin,
                             "\t", region.bases.end, "\t", region.label, "\t", name(region.part),
                             "\n"));
    }
    return digest.hex();
}

LabelledSampler::LabelledSampler(const SampleSet& samples) {
    for (std::size_t label = 0; label < samples.labels().size(); ++label) {
        std::map<std::pair<std::size_t, std::int64_t>, std::vector<io::Region>> pieces;
        for (const LabelledRegion& region : samples.regions()) {
            if (region.part != Part::train || region.label != static_cast<std::int64_t>(label)) {
                continue;
            }
            const io::StoredContig& contig =
                contig_of(samples.stores()[region.store], region.bases.contig);
            for (const io::Region& piece : pieces_of(contig, region.bases, samples.window())) {
                pieces[{region.store, region.bases.contig}].push_back(piece);
            }
        }
        MAMBASE_REQUIRE(
            !pieces.empty(), ErrorCode::usage,
            concat(
                "label '", samples.labels()[label], "' has no stretch of ", samples.window(),
                " bases without a gap to train on; choose a shorter --context or a longer --gap, "
                "or give it more sequence"));
        auto& contigs = contigs_.emplace_back();
        for (auto& [contig, regions] : pieces) {
            // One base less: a window of the sampler reads one more than its context.
            contigs.emplace_back(samples.stores()[contig.first], std::move(regions),
                                 samples.window() - 1);
        }
    }
}

std::int64_t LabelledSampler::draw(std::uint64_t seed,
                                   std::uint64_t step,
                                   std::uint64_t lane,
                                   bool both_strands,
                                   std::span<std::uint8_t> codes) const {
    // A stream of its own beside the windows', for any step below 2^48.
    constexpr std::uint64_t own_stream = std::uint64_t{0x434C} << 48;
    const CounterRng rng(seed, own_stream ^ step);
    const std::uint64_t label = rng.below(2 * lane, contigs_.size());
    const auto& contigs = contigs_[label];
    const std::uint64_t contig = rng.below(2 * lane + 1, contigs.size());
    contigs[contig].draw(seed, step, lane, both_strands, codes);
    return static_cast<std::int64_t>(label);
}

std::int64_t LabelledSampler::windows(std::int64_t label) const {
    std::int64_t total = 0;
    for (const io::SampleWindows& contig : contigs_[static_cast<std::size_t>(label)]) {
        total += contig.eligible_starts();
    }
    return total;
}

}  // namespace mambase::pipelines
