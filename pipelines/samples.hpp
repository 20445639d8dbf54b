// Labelled sequence: the samples table of classify, its parts, and windows of them.
#pragma once

#include "genomics_io/region.hpp"
#include "genomics_io/sample_windows.hpp"
#include "genomics_io/token_store.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/runtime.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

namespace mambase::pipelines {

enum class Part : std::uint8_t { train, valid, test };
std::string_view name(Part part);

/// Bases of one class, forward coordinates of a contig of a store.
struct LabelledRegion {
    std::size_t store = 0;
    io::Region bases;
    std::int64_t label = 0;
    Part part = Part::train;
};

/// N bases of one run, to be read from a fresh state.
struct LabelledWindow {
    std::size_t store = 0;
    io::Region bases;
    std::int64_t label = 0;
};

/// All sequence of a samples table in memory, a byte a base.
///
/// The table has a line a sample, fields parted by tabs; blank lines and lines that begin with '#'
/// are passed over. Blanks around a field are not of it. The first line names the columns: path
/// (FASTA) and label; optionally region ("", "chr:first-last", 1-based and inclusive, or a file
/// "….bed"), and split (train, valid, test; on every line or on none). Without such a line the
/// columns are these in this order. Paths count from the working directory.
///
/// Without a split each contig (or region) is divided 80/10/10 into blocks in this order, with
/// `window` bases left out before the second and the third; one too short for a window in each is
/// all for training.
class SampleSet {
  public:
    /// window: N, at least 2. gap: so many bases in a row that are not A, C, G, T end a run, and a
    /// window lies in one: with 1 it holds none; at most N, so that it holds a base. labels: those
    /// of a classifier that are to be met; empty: as they come in the table. Errors as of the
    /// readers and parse_region; Error{format} with the table's line; Error{usage} where bases of
    /// two parts, or of two labels, overlap (the same sequence under another name included), where
    /// there are fewer than two labels, or a label is unknown.
    SampleSet(const std::string& table,
              const io::Tokenizer& tokenizer,
              std::int64_t window,
              std::int64_t gap,
              bool ignore_eof,
              std::vector<std::string> labels,
              const Runtime& runtime);

    const std::vector<std::string>& labels() const { return labels_; }
    const std::deque<io::TokenStore>& stores() const { return stores_; }  // one a path, in order
    const std::vector<LabelledRegion>& regions() const { return regions_; }
    std::int64_t window() const { return window_; }
    const io::Tokenizer& tokenizer() const { return tokenizer_; }

    /// Windows end to end from the start of each run in a region; at most `most` of a
    /// label, evenly spaced. By label, then in the order of the table.
    std::vector<LabelledWindow> windows(Part part, std::int64_t most) const;
    std::span<const std::uint8_t> codes(const LabelledWindow& window) const;

    /// Hexadecimal SHA-256 over labels, regions, parts and sequence.
    std::string digest() const;

  private:
    struct Line;
    std::size_t store_of(const std::string& path, const Runtime& runtime);
    void add(const Line& line, bool divided, const std::string& table, const Runtime& runtime);
    void add_divided(LabelledRegion region);
    void require_no_overlap() const;

    const io::Tokenizer& tokenizer_;
    std::int64_t window_;
    std::int64_t gap_;
    bool ignore_eof_;
    std::vector<std::string> labels_;
    std::vector<std::string> paths_;
    std::deque<io::TokenStore> stores_;
    std::vector<LabelledRegion> regions_;
};

/// Random windows of the training part: label, then contig, then position, each uniform.
class LabelledSampler {
  public:
    /// `samples` has to outlive this. Error{usage} for a label without a window, with what to do.
    explicit LabelledSampler(const SampleSet& samples);

    /// A function of its arguments alone. Fills codes[N] in the order of reading; with
    /// `both_strands` of either strand, evenly. Returns the label.
    std::int64_t draw(std::uint64_t seed,
                      std::uint64_t step,
                      std::uint64_t lane,
                      bool both_strands,
                      std::span<std::uint8_t> codes) const;
    /// Different windows of a label (of one strand).
    std::int64_t windows(std::int64_t label) const;

  private:
    std::vector<std::vector<io::SampleWindows>> contigs_;  // by label
};

}  // namespace mambase::pipelines
