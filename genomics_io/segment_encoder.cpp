#include "genomics_io/segment_encoder.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/region.hpp"

#include <string_view>

namespace mambase::io {

namespace {

std::string spelled(char letter) {
    if (letter > ' ' && letter <= '~') {
        return concat("'", letter, "'");
    }
    const auto byte = static_cast<std::uint8_t>(letter);
    const std::string_view digits = "0123456789ABCDEF";
    return concat("byte 0x", digits[byte >> 4], digits[byte & 0xF]);
}

Error illegal_letter(const std::string& path,
                     const Segment& segment,
                     Strand strand,
                     std::size_t at) {
    const char letter = segment.bases[at];
    std::int64_t position = segment.start + static_cast<std::int64_t>(at);
    if (segment.circle > 0) {
        position -= floor_div(position, segment.circle) * segment.circle;
    }
    std::string message = concat(spelled(letter), " is not a nucleotide code");
    if (std::string_view("EFIJLOPQXZefijlopqxz").find(letter) != std::string_view::npos) {
        message += " (is this protein?)";
    }
    message += strand == Strand::forward
                   ? concat(", at ", format_region(segment.name, position, position + 1))
                   : concat(", at base ", position + 1, " from the record's end");
    Error error(ErrorCode::format, message);
    error.at(path).record(segment.record, segment.name);
    return error;
}

}  // namespace

void encode_segment(const Tokenizer& tokenizer,
                    const std::string& path,
                    const Segment& segment,
                    Strand strand,
                    std::size_t from,
                    std::size_t n,
                    std::uint8_t* codes,
                    RecordSummary& summary) {
    const Tokenizer::Counts counts = tokenizer.encode(segment.bases.subspan(from, n), codes);
    if (counts.bad >= 0) {
        throw illegal_letter(path, segment, strand, from + static_cast<std::size_t>(counts.bad));
    }
    summary.length += static_cast<std::int64_t>(n);
    summary.acgt += counts.acgt;
    summary.ambiguous += counts.ambiguous;
    summary.soft_masked += counts.soft_masked;
}

}  // namespace mambase::io
