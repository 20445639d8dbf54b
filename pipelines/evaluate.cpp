#include "pipelines/evaluate.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/table_sink.hpp"
#include "pipelines/baseline.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/survey.hpp"
#include "pipelines/window_feed.hpp"

#include <algorithm>
#include <deque>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

namespace mambase::pipelines {

namespace {

std::string field(double value, std::int64_t bases) {
    return bases > 0 ? format_fixed(value, 6) : "NA";
}

/// The table of evaluate: one line a name.
class Table {
  public:
    explicit Table(const std::string& path)
        : sink_(path,
                {"name", "bases", "nats", "bits", "perplexity", "accuracy", "upper_bases",
                 "upper_nats", "upper_bits", "upper_perplexity", "upper_accuracy", "lower_bases",
                 "lower_nats", "lower_bits", "lower_perplexity", "lower_accuracy"}) {}

    void line(std::string_view name, const CaseTally& tally) {
        const Tally a = tally.all();
        const Tally& u = tally.upper;
        const Tally& l = tally.lower;
        const auto nats = [](const Tally& t) { return field(t.mean_nats(), t.bases); };
        const auto bits = [](const Tally& t) { return field(t.bits(), t.bases); };
        const auto perplexity = [](const Tally& t) { return field(t.perplexity(), t.bases); };
        const auto accuracy = [](const Tally& t) { return field(t.accuracy(), t.bases); };
        sink_.row(name, a.bases, nats(a), bits(a), perplexity(a), accuracy(a),  //
                  u.bases, nats(u), bits(u), perplexity(u), accuracy(u),        //
                  l.bases, nats(l), bits(l), perplexity(l), accuracy(l));
    }
    void finish() { sink_.finish(); }

  private:
    io::TableSink sink_;
};

/// Losses in the order of positions, summed by block of the context grid, by contig, and in all.
/// Contigs are numbered in the order of reading; the number is the tag of a piece.
class Sums {
  public:
    Sums(std::int64_t context, Table* table) : context_(context), table_(table) {}

    /// Contigs have to be named in order, before their losses come.
    void name(std::int64_t contig, std::string_view contig_name) {
        if (contig == first_open_ + static_cast<std::int64_t>(open_.size())) {
            open_.emplace_back(contig_name);
        }
    }

    void take(const LossRows& rows) {
        close_before(rows.source.tag);
        for (std::int64_t i = 0; i < rows.count; ++i) {
            const std::int64_t position = rows.begin + i;
            if (position >= block_end_ || position < block_begin_) {
                next_block(position);
            }
            if (rows.scored[i] != 0.0F) {
                const std::uint8_t code = rows.codes[i];
                block_.add((code & io::kSoftMask) != 0, rows.nats[i],
                           rows.best[i] == (code & ~io::kSoftMask));
            }
        }
    }

    /// Writes the lines of all contigs but those from `contig` on.
    void close_before(std::int64_t contig) {
        while (first_open_ < contig && !open_.empty()) {
            add_block();
            block_begin_ = 0;
            block_end_ = 0;
            if (table_ != nullptr) {
                table_->line(open_.front(), contig_);
            }
            all_.add(contig_);
            contig_ = {};
            open_.pop_front();
            ++first_open_;
        }
    }
    void close_all() { close_before(first_open_ + static_cast<std::int64_t>(open_.size())); }

    std::int64_t contigs() const { return first_open_; }
    const CaseTally& all() const { return all_; }

  private:
    void next_block(std::int64_t position) {
        add_block();
        const bool whole = context_ == kWholeContext;
        block_begin_ = whole ? 0 : position / context_ * context_;
        block_end_ = whole ? std::numeric_limits<std::int64_t>::max() : block_begin_ + context_;
    }
    void add_block() {
        contig_.add(block_);
        block_ = {};
    }

    std::int64_t context_;
    Table* table_;                  // null: contigs have no lines
    std::deque<std::string> open_;  // names of contigs first_open_ …
    std::int64_t first_open_ = 0;
    std::int64_t block_begin_ = 0;
    std::int64_t block_end_ = 0;
    CaseTally block_;
    CaseTally contig_;
    CaseTally all_;
};

/// What is read, and which contig each reading belongs to.
struct Work {
    std::optional<io::IndexedFasta> fasta;  // with regions
    std::vector<io::Region> regions;        // every base once
    std::vector<std::int64_t> contig_of;    // number of the contig of each region
    io::Circles circles;
};

Work plan_work(const ReadingOptions& options, const Observer& observer) {
    Work work;
    work.circles = io::Circles(options.circular);
    for (const std::string& path : options.inputs) {
        if (path != "-" && !exists(path)) {
            throw Error(ErrorCode::not_found, "no such file").at(path);
        }
    }
    if (!options.has_regions()) {
        return work;
    }
    work.fasta = io::IndexedFasta::open(options.inputs.front(), options.read_options(), observer);
    note_contigs(work.fasta->contigs(), work.circles);
    work.regions = joined(resolve_regions(options, work.fasta->contigs()));
    std::int64_t contig = -1;
    for (std::size_t i = 0; i < work.regions.size(); ++i) {
        const bool same = i > 0 && work.regions[i].contig == work.regions[i - 1].contig;
        contig += same ? 0 : 1;
        work.contig_of.push_back(contig);
    }
    return work;
}

std::string plan_text(Engine& engine,
                      const model::Model& model,
                      const io::Tokenizer& tokenizer,
                      const Work& work,
                      const ReadingOptions& options,
                      std::int64_t context) {
    SequenceCount count;
    if (work.fasta) {
        for (const io::Region& region : work.regions) {
            count.records += 1;
            count.bases += region.end - region.begin;
        }
    } else {
        for (const std::string& path : options.inputs) {
            const SequenceCount one = count_bases(path, options.read_options());
            count.records += one.records;
            count.bases += one.bases;
        }
    }
    return concat("sequence: ", format_count(count.bases), " bases in ",
                  format_count(count.records), work.fasta ? " regions" : " records", "\n",
                  "context: ", context == kWholeContext ? "whole" : format_count(context), "\n",
                  forward_plan(engine, model, tokenizer, engine.chunk(options.chunk),
                               bases_computed(count.bases, context)));
}

std::optional<MarkovBaseline> fit_baseline(const EvaluateOptions& options,
                                           const io::Tokenizer& tokenizer,
                                           const Runtime& runtime) {
    if (options.baseline.empty()) {
        return std::nullopt;
    }
    const bool own = options.baseline_train.empty();
    if (own) {
        runtime.observer.warning(
            "the Markov baseline is fitted on the files that it is scored on; "
            "name others to train it on for a fair comparison");
    }
    std::optional<MarkovBaseline> baseline(std::in_place, options.baseline, tokenizer);
    baseline->fit(own ? options.reading.inputs : options.baseline_train,
                  options.reading.read_options(), runtime);
    return baseline;
}

Reading make_reading(Work& work,
                     const ReadingOptions& options,
                     const io::WindowOptions& windows,
                     std::int64_t index) {
    const auto i = static_cast<std::size_t>(index);
    if (!work.fasta) {
        return read_file(options.inputs[i], options.read_options(), windows, work.circles);
    }
    const io::Region& region = work.regions[i];
    return read_part(*work.fasta, region.contig, {region.begin, region.end}, io::Strand::forward,
                     windows, work.circles);
}

/// Hands every piece to `take`, tagged with the number of its contig. Returns the bases read.
std::int64_t read_through(WindowFeed& feed,
                          const Work& work,
                          const ReadingOptions& options,
                          const Runtime& runtime,
                          Sums& sums,
                          const std::function<void(TaggedPiece)>& take) {
    std::int64_t bases = 0;
    std::int64_t earlier_files = 0;  // contigs in the files before the one being read
    std::int64_t ended = 0;
    Delivery delivery;
    while (feed.next(delivery)) {
        runtime.throw_if_stopped();
        const auto contig = [&](std::int64_t record) {
            return work.fasta ? work.contig_of[static_cast<std::size_t>(delivery.reading)]
                              : earlier_files + record;
        };
        for (const io::RecordSummary& record : delivery.ended) {
            sums.name(contig(record.record), record.name);
            tell_letters(record, runtime.observer);
            bases += record.length;
            ++ended;
        }
        if (!delivery.piece) {
            tell_skipped(
                options.inputs[static_cast<std::size_t>(work.fasta ? 0 : delivery.reading)],
                delivery.skipped, runtime.observer);
            earlier_files = ended;
            continue;
        }
        const std::int64_t tag = contig(delivery.piece->record);
        sums.name(tag, *delivery.piece->name);
        take({tag, std::move(*delivery.piece)});
    }
    return bases;
}

}  // namespace

void EvaluateOptions::validate() const {
    std::vector<std::string> violations;
    if (model.empty()) {
        violations.emplace_back("no model directory");
    }
    reading.collect_violations(violations);
    if (output.empty()) {
        violations.emplace_back("no output file");
    }
    for (const int order : baseline) {
        if (order < 1 || order > kMaxMarkovOrder) {
            violations.push_back(
                concat("the order of the baseline is 1 to ", kMaxMarkovOrder, ", not ", order));
        }
    }
    if (baseline.empty() && !baseline_train.empty()) {
        violations.emplace_back("files to train a baseline on, but no order for it");
    }
    const bool own = !baseline.empty() && baseline_train.empty();
    if (own && std::count(reading.inputs.begin(), reading.inputs.end(), "-") > 0) {
        violations.emplace_back(
            "a baseline needs files of its own to train on where standard input is evaluated");
    }
    throw_violations(violations);
}

EvaluateReport evaluate(const EvaluateOptions& options, const Runtime& runtime) {
    options.validate();
    const ReadingOptions& reading = options.reading;
    Engine engine(runtime);
    const model::Model model =
        model::Model::load(options.model, host_allocator()).on_device(engine.queue());
    const std::int64_t chunk = engine.chunk(reading.chunk);
    const io::Tokenizer& tokenizer = choose_tokenizer(model, options.model, reading.tokenizer);
    EvaluateReport report;
    report.context = choose_context(model, reading, runtime.observer);
    const io::WindowOptions windows = window_options(reading, report.context, chunk);
    Work work = plan_work(reading, runtime.observer);
    if (options.dry_run) {
        report.plan = plan_text(engine, model, tokenizer, work, reading, report.context);
        return report;
    }

    Table table(options.output);
    std::optional<MarkovBaseline> baseline = fit_baseline(options, tokenizer, runtime);
    Sums sums(report.context, options.by == EvaluateOptions::By::contig ? &table : nullptr);
    Progress progress(runtime.observer, 0);
    LossLanes lanes(engine, model, tokenizer, chunk, [&](const LossRows& rows) {
        sums.take(rows);
        progress.advance(rows.count, *rows.source.piece.name);
    });
    WindowFeed feed(
        work.fasta ? std::ssize(work.regions) : std::ssize(reading.inputs),
        [&](std::int64_t i) { return make_reading(work, reading, windows, i); }, tokenizer,
        windows);
    report.bases_read = read_through(feed, work, reading, runtime, sums, [&](TaggedPiece piece) {
        if (baseline) {
            baseline->score(piece.piece);
        }
        lanes.add(std::move(piece));
    });
    lanes.flush();
    sums.close_all();
    work.circles.require_met();

    report.all = sums.all();
    report.contigs = sums.contigs();
    report.seconds = progress.seconds();
    table.line("all", report.all);
    for (std::size_t i = 0; baseline && i < options.baseline.size(); ++i) {
        report.baselines.push_back({options.baseline[i], baseline->tallies()[i]});
        table.line(concat("markov-", options.baseline[i]), baseline->tallies()[i]);
    }
    table.finish();
    return report;
}

}  // namespace mambase::pipelines
