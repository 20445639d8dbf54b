#include "pipelines/evaluate_table.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <cmath>

namespace mambase::pipelines {

namespace {

std::vector<std::string_view> columns(const EvaluateLines& lines) {
    std::vector<std::string_view> out = {"name"};
    if (lines.compares) {
        out.emplace_back("context");
    }
    out.insert(out.end(),
               {"bases", "nats", "bits", "perplexity", "accuracy", "upper_bases", "upper_nats",
                "upper_bits", "upper_perplexity", "upper_accuracy", "lower_bases", "lower_nats",
                "lower_bits", "lower_perplexity", "lower_accuracy"});
    if (lines.compares) {
        out.insert(out.end(), {"difference", "standard_error", "blocks"});
    }
    return out;
}

void add_fields(std::vector<std::string>& fields, const Tally& tally) {
    fields.push_back(concat(tally.bases));
    for (const double value :
         {tally.mean_nats(), tally.bits(), tally.perplexity(), tally.accuracy()}) {
        fields.push_back(tally.bases > 0 ? format_fixed(value, 6) : "NA");
    }
}

/// "1", "2-3", "4-7", …
std::string position_name(std::size_t index) {
    const std::int64_t first = std::int64_t{1} << index;
    return index == 0 ? "1" : concat(first, '-', 2 * first - 1);
}

std::vector<LineSum> sums(std::size_t count, const EvaluateLines& lines) {
    return std::vector<LineSum>(count, LineSum(lines.contexts.size()));
}

}  // namespace

void LineSum::add_block(std::span<const CaseTally> at_contexts) {
    const Tally first = at_contexts[0].all();
    for (std::size_t c = 0; c < at_.size(); ++c) {
        at_[c].tally.add(at_contexts[c]);
        if (c > 0) {
            const Tally other = at_contexts[c].all();
            MAMBASE_ASSERT(other.bases == first.bases);
            at_[c].difference.add(other.nats - first.nats, first.bases);
        }
    }
}

void LineSum::add(const LineSum& other) {
    for (std::size_t c = 0; c < at_.size(); ++c) {
        at_[c].tally.add(other.at_[c].tally);
        at_[c].difference.add(other.at_[c].difference);
    }
}

EvaluateTable::EvaluateTable(const std::string& path, const EvaluateLines& lines)
    : lines_(lines),
      sink_(path, columns(lines)),
      contig_(lines.contexts.size()),
      all_(lines.contexts.size()),
      regions_(sums(lines.regions.size(), lines)),
      baselines_(sums(lines.orders.size(), lines)) {}

void EvaluateTable::part(const EvaluatePart& part) {
    const std::pair<std::int64_t, std::int64_t> contig{part.input, part.contig};
    if (contig == open_) {
        return;
    }
    close_contig();
    open_ = contig;
    name_ = part.name;
    ++contigs_;
}

void EvaluateTable::block(SumLine line, std::span<const CaseTally> at_contexts) {
    const auto i = static_cast<std::size_t>(line.index);
    switch (line.of) {
        case SumLine::Of::contig:
            return contig_.add_block(at_contexts);
        case SumLine::Of::region:
            return regions_.at(i).add_block(at_contexts);
        case SumLine::Of::position:
            positions_.resize(std::max(positions_.size(), i + 1), LineSum(lines_.contexts.size()));
            return positions_[i].add_block(at_contexts);
        case SumLine::Of::markov:
            return baselines_.at(i).add_block(at_contexts);
    }
}

void EvaluateTable::finish() {
    close_contig();
    for (std::size_t i = 0; i < regions_.size(); ++i) {
        write(lines_.regions[i], regions_[i]);
    }
    for (std::size_t i = 0; i < positions_.size(); ++i) {
        write(position_name(i), positions_[i]);
    }
    write("all", all_);
    for (std::size_t i = 0; i < baselines_.size(); ++i) {
        write(concat("markov-", lines_.orders[i]), baselines_[i]);
    }
    sink_.finish();
}

void EvaluateTable::close_contig() {
    if (contigs_ > 0 && lines_.by == EvaluateOptions::By::contig) {
        write(name_, contig_);
    }
    all_.add(contig_);
    contig_ = LineSum(lines_.contexts.size());
}

void EvaluateTable::write(std::string_view name, const LineSum& sum) {
    for (std::size_t c = 0; c < lines_.contexts.size(); ++c) {
        const LineSum::At& at = sum.at(c);
        std::vector<std::string> fields = {std::string(name)};
        if (lines_.compares) {
            const std::int64_t context = lines_.contexts[c];
            fields.push_back(context == kWholeContext ? "whole" : concat(context));
        }
        add_fields(fields, at.tally.all());
        add_fields(fields, at.tally.upper);
        add_fields(fields, at.tally.lower);
        if (lines_.compares) {
            const PairedDifference& paired = at.difference;
            fields.push_back(paired.blocks > 0 ? format_fixed(paired.bits(), 6) : "NA");
            fields.push_back(paired.blocks > 1 ? format_fixed(paired.standard_error(), 6) : "NA");
            fields.push_back(c > 0 ? concat(paired.blocks) : "NA");
        }
        sink_.row_of(fields);
    }
}

EvaluateReport report_of(const LineSum& all, const EvaluateLines& lines) {
    EvaluateReport report;
    for (std::size_t c = 0; c < lines.contexts.size(); ++c) {
        report.contexts.push_back({lines.contexts[c], all.at(c).tally, all.at(c).difference});
    }
    report.all = report.contexts.front().all;
    return report;
}

EvaluateReport report_of(const EvaluateTable& table, const EvaluateLines& lines) {
    EvaluateReport report = report_of(table.all(), lines);
    for (std::size_t i = 0; i < lines.orders.size(); ++i) {
        report.baselines.push_back({lines.orders[i], table.baselines()[i].at(0).tally});
    }
    report.contigs = table.contigs();
    return report;
}

}  // namespace mambase::pipelines
