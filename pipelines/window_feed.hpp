// The reader's side of a run: one thread turns sources into windows, a bounded queue hands them to
// the caller's thread.
#pragma once

#include "base/bounded_queue.hpp"
#include "genomics_io/circular.hpp"
#include "genomics_io/indexed_fasta.hpp"
#include "genomics_io/source.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace mambase::pipelines {

/// One source to be read through: a file, or a part of a contig.
struct Reading {
    std::unique_ptr<io::SequenceSource> source;
    io::Strand strand = io::Strand::forward;
    std::optional<io::Interval> score;  // strand coordinates; everything where empty
};

/// All records of a file of any format, forward.
Reading read_file(const std::string& path, const io::ReadOptions& options);
/// The forward interval `asked` of a contig, on either strand, with what must be read around it.
Reading read_part(const io::IndexedFasta& fasta,
                  std::int64_t contig,
                  io::Interval asked,
                  io::Strand strand,
                  const io::WindowOptions& windows);
/// The same, of a contig that may be a circle.
Reading read_part(const io::IndexedFasta& fasta,
                  std::int64_t contig,
                  io::Interval asked,
                  io::Strand strand,
                  const io::WindowOptions& windows,
                  io::Circles& circles);

struct Delivery {
    std::int64_t reading = 0;              // index of the reading
    std::vector<io::RecordSummary> ended;  // records of it that ended before `piece`, in order
    std::optional<io::WindowPiece> piece;  // empty at the end of the reading
    io::Skipped skipped;                   // with the end of the reading: what was passed over
};

class WindowFeed {
  public:
    /// Makes reading 0 … count − 1 when it is their turn, on the reader's thread, which starts
    /// here. What `make` and `tokenizer` refer to has to outlive the feed.
    WindowFeed(std::int64_t count,
               std::function<Reading(std::int64_t)> make,
               const io::Tokenizer& tokenizer,
               const io::WindowOptions& windows);
    ~WindowFeed();
    WindowFeed(const WindowFeed&) = delete;
    WindowFeed& operator=(const WindowFeed&) = delete;

    /// The next piece, in order; false at the end. Throws what reading threw, after what was read
    /// before it.
    bool next(Delivery& delivery);

  private:
    using Deliveries = std::vector<Delivery>;

    // Of the reader's thread.
    void read_all(std::int64_t count, const std::function<Reading(std::int64_t)>& make);
    bool read_one(std::int64_t index, Reading reading);
    bool hand_over();

    const io::Tokenizer& tokenizer_;
    const io::WindowOptions windows_;
    Deliveries filling_;            // of the reader's thread
    std::size_t codes_filled_ = 0;  //
    Deliveries taken_;
    std::size_t next_ = 0;  // of taken_
    BoundedQueue<Deliveries> queue_;
    std::exception_ptr failure_;  // written before the queue closes, read after
    std::jthread reader_;
};

}  // namespace mambase::pipelines
