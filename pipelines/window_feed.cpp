#include "pipelines/window_feed.hpp"

#include "genomics_io/open.hpp"

#include <utility>

namespace mambase::pipelines {

namespace {

/// Deliveries change threads together, so that short reads do not each wait for a thread to wake:
/// as many as have so many codes, or one longer piece.
constexpr std::size_t kCodesTogether = std::size_t{1} << 15;
constexpr std::size_t kQueued = 8;

}  // namespace

Reading read_file(const std::string& path, const io::ReadOptions& options) {
    return {io::open_sequences(path, options), io::Strand::forward, std::nullopt};
}

Reading read_part(const io::IndexedFasta& fasta,
                  std::int64_t contig,
                  io::Interval asked,
                  io::Strand strand,
                  const io::WindowOptions& windows) {
    io::Circles none;
    return read_part(fasta, contig, asked, strand, windows, none);
}

Reading read_part(const io::IndexedFasta& fasta,
                  std::int64_t contig,
                  io::Interval asked,
                  io::Strand strand,
                  const io::WindowOptions& windows,
                  io::Circles& circles) {
    const io::Contig& record = fasta.contigs()[static_cast<std::size_t>(contig)];
    const bool is_circle = circles.has(record.name) && asked.size() > 0;
    const io::Interval score =
        strand == io::Strand::forward ? asked : io::mirrored(asked, record.length);
    const io::Interval read =
        io::read_interval(score.begin, score.end, record.length, windows, is_circle);
    const auto part = [fasta, contig, strand](io::Interval of) {
        return fasta.read(contig, of.begin, of.end, strand);
    };
    return {is_circle ? io::read_round(part, record.length, read) : part(read), strand, score};
}

WindowFeed::WindowFeed(std::int64_t count,
                       std::function<Reading(std::int64_t)> make,
                       const io::Tokenizer& tokenizer,
                       const io::WindowOptions& windows)
    : tokenizer_(tokenizer), windows_(windows), queue_(kQueued) {
    io::keep_references_local();
    reader_ = std::jthread([this, count, make = std::move(make)] { read_all(count, make); });
}

WindowFeed::~WindowFeed() {
    queue_.cancel();
}

bool WindowFeed::next(Delivery& delivery) {
    if (next_ == taken_.size()) {
        taken_ = queue_.pop().value_or(Deliveries());
        next_ = 0;
    }
    if (next_ < taken_.size()) {
        delivery = std::move(taken_[next_++]);
        return true;
    }
    if (failure_) {
        std::rethrow_exception(failure_);
    }
    return false;
}

void WindowFeed::read_all(std::int64_t count, const std::function<Reading(std::int64_t)>& make) {
    try {
        for (std::int64_t index = 0; index < count; ++index) {
            if (!read_one(index, make(index))) {
                return;
            }
        }
    } catch (...) {
        failure_ = std::current_exception();
    }
    hand_over();
    queue_.close();
}

bool WindowFeed::hand_over() {
    codes_filled_ = 0;
    return filling_.empty() || queue_.push(std::exchange(filling_, {}));
}

bool WindowFeed::read_one(std::int64_t index, Reading reading) {
    io::WindowReader reader(std::move(reading.source), tokenizer_, windows_, reading.strand,
                            reading.score);
    for (bool more = true; more;) {
        Delivery delivery;
        delivery.reading = index;
        io::WindowPiece piece;
        more = reader.next(piece);
        delivery.ended = reader.take_summaries();
        if (more) {
            codes_filled_ += piece.codes.size();
            delivery.piece = std::move(piece);
        } else {
            delivery.skipped = reader.skipped();
        }
        filling_.push_back(std::move(delivery));
        if (codes_filled_ >= kCodesTogether && !hand_over()) {
            return false;
        }
    }
    return true;
}

}  // namespace mambase::pipelines
