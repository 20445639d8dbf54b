// The table of evaluate, added up from the sums of blocks.
#pragma once

#include "genomics_io/table_sink.hpp"
#include "pipelines/evaluate_sums.hpp"
#include "pipelines/tally.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mambase::pipelines {

/// A line of the table, once for each context.
class LineSum {
  public:
    struct At {
        CaseTally tally;
        PairedDifference difference;  // from the first context
    };

    explicit LineSum(std::size_t contexts) : at_(contexts) {}
    void add_block(std::span<const CaseTally> at_contexts);
    void add(const LineSum& other);
    const At& at(std::size_t context) const { return at_[context]; }

  private:
    std::vector<At> at_;
};

/// Lines of contigs are written as they end, the others by finish(). `lines` has to outlive this.
class EvaluateTable : public SumSink {
  public:
    /// Appears under its name at finish().
    EvaluateTable(const std::string& path, const EvaluateLines& lines);

    void part(const EvaluatePart& part) override;
    void block(SumLine line, std::span<const CaseTally> at_contexts) override;
    void finish();

    /// After finish().
    const LineSum& all() const { return all_; }
    const std::vector<LineSum>& baselines() const { return baselines_; }  // one an order
    std::int64_t contigs() const { return contigs_; }

  private:
    void close_contig();
    void write(std::string_view name, const LineSum& sum);

    const EvaluateLines& lines_;
    io::TableSink sink_;
    LineSum contig_;
    std::string name_;
    std::pair<std::int64_t, std::int64_t> open_{-1, -1};  // input and contig that are being read
    std::int64_t contigs_ = 0;
    LineSum all_;
    std::vector<LineSum> regions_;
    std::vector<LineSum> positions_;
    std::vector<LineSum> baselines_;
};

/// What a table that is finished says of all bases.
EvaluateReport report_of(const EvaluateTable& table, const EvaluateLines& lines);
/// The same of a sum alone.
EvaluateReport report_of(const LineSum& all, const EvaluateLines& lines);

}  // namespace mambase::pipelines
