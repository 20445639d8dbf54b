#include "pipelines/embed.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/record_spool.hpp"
#include "pipelines/embed_plan.hpp"
#include "pipelines/embedding_files.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/embedding_sink.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/row_spool.hpp"
#include "pipelines/window_feed.hpp"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

namespace mambase::pipelines {

namespace {

ops::PoolMode pool_mode(const Pooling& pool) {
    return pool.how == Pool::max    ? ops::PoolMode::max
           : pool.how == Pool::last ? ops::PoolMode::last
                                    : ops::PoolMode::mean;
}

/// Everything that one run shares between its passes.
class EmbedRun {
  public:
    EmbedRun(const EmbedOptions& options,
             const Runtime& runtime,
             Engine& engine,
             const model::Model& model,
             const io::Tokenizer& tokenizer,
             const io::WindowOptions& windows,
             const EmbedPlan& plan,
             EmbeddingSink& out)
        : options_(options),
          runtime_(runtime),
          engine_(engine),
          model_(model),
          tokenizer_(tokenizer),
          windows_(windows),
          plan_(plan),
          out_(out),
          circles_(plan.circles),
          rolls_(plan.rolls),
          width_(model.config().d_model),
          progress_(runtime.observer, both_strands(options.strand) ? 2 * plan.bases : plan.bases) {}

    void run() {
        for (std::size_t i = 0; i < plan_.inputs.size(); ++i) {
            if (plan_.inputs[i].fasta) {
                run_indexed(plan_.inputs[i]);
            } else if (options_.strand == StrandChoice::forward) {
                stream(i);
            } else {
                run_spooled(i);
            }
            close_before(end_span());
        }
        if (!plan_.shard) {  // which, in a sweep, has records of its own alone
            circles_.require_met();
        }
    }

    std::int64_t bases_read() const { return progress_.done(); }
    double seconds() const { return progress_.seconds(); }
    std::int64_t records() const { return end_span(); }
    std::int64_t rows() const { return next_row_; }
    /// Of a shard: of all that the whole run reads.
    std::string digest() const { return digest_of(rolls_); }

  private:
    /// Spans that can be read on either strand: one reading a span, or one of all.
    struct Readable {
        io::Interval spans;
        std::vector<std::int64_t> order;  // in which they are read; empty: all at once, as they are
        std::function<Reading(std::int64_t span, io::Strand)> make;  // on the reader's thread
    };

    /// The strand of the last pass over any span, or of the only one.
    io::Strand last_strand() const {
        return options_.strand == StrandChoice::reverse ? io::Strand::reverse : io::Strand::forward;
    }

    StrandRows::Sink sink() {
        return [this](std::int64_t row, const float* rows, std::int64_t n) {
            require_within_limit(plan_, options_, row + n);
            out_.write_rows(row, rows, n);
        };
    }

    /// By random access.
    void run_indexed(const SpanInput& input) {
        const std::int64_t first_span = end_span();
        for (const RowSpan& span : input.spans) {
            append(span);
        }
        Readable readable;
        readable.make = [this, &input, first_span](std::int64_t i, io::Strand strand) {
            const RowSpan& of = input.spans[static_cast<std::size_t>(i - first_span)];
            return read_part(*input.fasta, of.contig, of.bases, strand, windows_, circles_);
        };
        const std::int64_t most = both_strands(options_.strand)
                                      ? spool_rows(width_)
                                      : std::numeric_limits<std::int64_t>::max();
        for (const io::Interval group : groups_of(input.spans, options_.pool, most)) {
            readable.spans = {first_span + group.begin, first_span + group.end};
            readable.order = by_position(readable.spans);
            run(readable);
        }
    }

    /// As the file has them, whatever the order of their rows.
    std::vector<std::int64_t> by_position(io::Interval spans) {
        std::vector<std::int64_t> order(static_cast<std::size_t>(spans.size()));
        std::iota(order.begin(), order.end(), spans.begin);
        std::stable_sort(order.begin(), order.end(), [this](std::int64_t a, std::int64_t b) {
            return std::pair(span(a).contig, span(a).bases.begin) <
                   std::pair(span(b).contig, span(b).bases.begin);
        });
        return order;
    }

    /// In one sweep, records kept aside for the reverse strand, as many as fit.
    void run_spooled(std::size_t index) {
        const std::string& path = plan_.inputs[index].path;
        const auto input = static_cast<std::int64_t>(index);
        const SpoolLimits limits = spool_limits(options_.pool, width_);
        const auto source = open_swept(path, options_.reading, input, &rolls_[index]);
        io::RecordSpool spool;
        while (spool.fill(*source, tokenizer_, limits.records, limits.bases)) {
            Readable readable;
            readable.spans.begin = end_span();
            for (const io::RecordSpool::Record& record : spool.records()) {
                append({record.name,
                        record.index,
                        record.length,
                        {0, record.length},
                        0,
                        input,
                        record.index});
            }
            readable.spans.end = end_span();
            readable.make = [this, &spool](std::int64_t, io::Strand strand) {
                return Reading{io::with_circles(spool.read(strand), circles_, windows_), strand,
                               std::nullopt};
            };
            run(readable);
        }
        tell_skipped(path, source->skipped(), runtime_.observer);
    }

    void run(const Readable& readable) {
        if (both_strands(options_.strand)) {
            run_both(readable);
        } else {
            pass(readable, last_strand(), sink());
        }
    }

    /// Reverse rows to a spool, then the forward pass, which joins them row by row.
    void run_both(const Readable& readable) {
        const RowSpan& first = span(readable.spans.begin);
        const RowSpan& last = span(readable.spans.end - 1);
        const std::int64_t base = first.first_row;
        RowSpool spool(last.first_row + last.rows(options_.pool) - base, width_);
        pass(readable, io::Strand::reverse,
             [&](std::int64_t row, const float* rows, std::int64_t n) {
                 spool.write(row - base, rows, n);
             });
        const StrandRows::Sink take = sink();
        pass(readable, io::Strand::forward,
             [&](std::int64_t row, const float* rows, std::int64_t n) {
                 reverse_.resize(static_cast<std::size_t>(n * width_));
                 spool.read(row - base, reverse_.data(), n);
                 take(row, join(rows, n), n);
             });
    }

    const float* join(const float* forward, std::int64_t n) {
        joined_.resize(static_cast<std::size_t>(n * plan_.dim));
        const float* reverse = reverse_.data();
        float* out = joined_.data();
        if (options_.strand == StrandChoice::mean) {
            std::transform(forward, forward + n * width_, reverse, out,
                           [](float a, float b) { return 0.5F * (a + b); });
            return out;
        }
        for (std::int64_t row = 0; row < n; ++row) {
            out = std::copy_n(forward + row * width_, width_, out);
            out = std::copy_n(reverse + row * width_, width_, out);
        }
        return joined_.data();
    }

    void pass(const Readable& readable, io::Strand strand, const StrandRows::Sink& sink) {
        const std::int64_t first = readable.spans.begin;
        const std::vector<std::int64_t>& order = readable.order;
        const bool together = order.empty();
        const auto at = [&](std::int64_t reading) {
            return together ? first : order[static_cast<std::size_t>(reading)];
        };
        WindowFeed feed(
            together ? 1 : std::ssize(order),
            [&](std::int64_t i) { return readable.make(at(i), strand); }, tokenizer_, windows_);
        compute(feed, strand, together && strand == last_strand(), sink,
                [&](const Delivery& delivery) {
                    const bool within = together && delivery.piece;
                    return at(delivery.reading) + (within ? delivery.piece->record : 0);
                });
    }

    /// The forward strand of a whole file in one sweep; spans are met on the way.
    void stream(std::size_t index) {
        const std::string& path = plan_.inputs[index].path;
        const auto input = static_cast<std::int64_t>(index);
        WindowFeed feed(
            1,
            [&](std::int64_t) {
                auto source = open_swept(path, options_.reading, input, &rolls_[index]);
                return Reading{io::with_circles(std::move(source), circles_, windows_),
                               io::Strand::forward, std::nullopt};
            },
            tokenizer_, windows_);
        latest_record_ = -1;
        compute(feed, io::Strand::forward, true, sink(), [&](const Delivery& delivery) {
            for (const io::RecordSummary& ended : delivery.ended) {
                RowSpan& of = meet(input, ended.record, ended.name);
                of.length = ended.length;
                of.bases = {0, ended.length};
                next_row_ += of.rows(options_.pool);
            }
            if (delivery.piece) {
                meet(input, delivery.piece->record, *delivery.piece->name);
            } else {
                tell_skipped(path, delivery.skipped, runtime_.observer);
            }
            return end_span() - 1;
        });
    }

    RowSpan& meet(std::int64_t input, std::int64_t record, std::string_view record_name) {
        if (record != latest_record_) {
            latest_record_ = record;
            spans_.push_back({std::string(record_name), record, 0, {}, next_row_, input, record});
        }
        return spans_.back();
    }

    // Spans are numbered through the whole run; those that are done with are in the table alone.
    RowSpan& span(std::int64_t i) { return spans_[static_cast<std::size_t>(i - closed_)]; }
    std::int64_t end_span() const { return closed_ + static_cast<std::int64_t>(spans_.size()); }
    void append(RowSpan span) {
        span.first_row = next_row_;
        next_row_ += span.rows(options_.pool);
        spans_.push_back(std::move(span));
    }
    void close_before(std::int64_t i) {
        for (; closed_ < i; ++closed_) {
            out_.add(spans_.front());
            spans_.pop_front();
        }
    }

    /// `closes`: spans come in their order, and no other pass reads them after this one;
    /// `span_of(delivery)`: the span of a delivery's piece; called for each delivery.
    template <class SpanOf>
    void compute(WindowFeed& feed,
                 io::Strand strand,
                 bool closes,
                 const StrandRows::Sink& sink,
                 const SpanOf& span_of) {
        StrandRows rows(strand, options_.pool, width_, sink);
        const auto span_at = [&](const TaggedPiece& source) -> const RowSpan& {
            if (closes) {
                close_before(source.tag);
            }
            return span(source.tag);
        };
        const CallSize size = engine_.reading(model_.config(), options_.reading.chunk);
        if (options_.pool.how == Pool::none) {
            HiddenLanes lanes(engine_, model_, size, options_.layer, [&](const HiddenRows& hidden) {
                const RowSpan& of = span_at(hidden.source);
                rows.take(hidden, of);
                progress_.advance(hidden.count, of.name);
            });
            read_through(feed, strand == last_strand(), span_of, lanes);
        } else {
            PooledLanes lanes(
                engine_, model_, tokenizer_, size, options_.layer, pool_mode(options_.pool),
                [&](const TaggedPiece& source, io::Interval positions) {
                    const RowSpan& of = span_at(source);
                    const PooledStretch stretch = rows.stretch(of, positions);
                    progress_.advance(stretch.end - positions.begin, of.name);
                    return stretch;
                },
                [&](std::int64_t row, const double* sum, std::int64_t count) {
                    rows.take(row, sum, count);
                });
            read_through(feed, strand == last_strand(), span_of, lanes);
        }
        rows.flush();
    }

    template <class SpanOf, class AnyLanes>
    void read_through(WindowFeed& feed, bool tells, const SpanOf& span_of, AnyLanes& lanes) {
        Delivery delivery;
        while (feed.next(delivery)) {
            runtime_.throw_if_stopped();
            for (const io::RecordSummary& record : delivery.ended) {
                if (tells) {
                    tell_letters(record, runtime_.observer);
                }
            }
            const std::int64_t tag = span_of(delivery);
            if (delivery.piece) {
                lanes.add({tag, std::move(*delivery.piece)});
            }
        }
        lanes.flush();
    }

    const EmbedOptions& options_;
    const Runtime& runtime_;
    Engine& engine_;
    const model::Model& model_;
    const io::Tokenizer& tokenizer_;
    const io::WindowOptions& windows_;
    const EmbedPlan& plan_;
    EmbeddingSink& out_;
    io::Circles circles_;
    std::vector<Roll> rolls_;  // of a sweep, on the reader's thread
    std::int64_t width_;
    Progress progress_;
    std::deque<RowSpan> spans_;  // from number closed_ on
    std::int64_t closed_ = 0;
    std::int64_t next_row_ = 0;
    std::int64_t latest_record_ = -1;  // of the file being swept
    std::vector<float> reverse_;
    std::vector<float> joined_;
};

}  // namespace

std::string_view name(StrandChoice strand) {
    switch (strand) {
        case StrandChoice::concat:
            return "concat";
        case StrandChoice::forward:
            return "forward";
        case StrandChoice::reverse:
            return "reverse";
        case StrandChoice::mean:
            return "mean";
    }
    return "";
}

namespace {

void collect_output_violations(const EmbedOptions& options, std::vector<std::string>& out) {
    EmbedFormat format = EmbedFormat::array;
    try {
        format = embed_format(options.output);
    } catch (const Error& error) {
        out.emplace_back(error.what());
        return;
    }
    if (options.reading.shard && format != EmbedFormat::array) {
        out.emplace_back("shards of an embedding are .npy files, which merge puts together");
    }
    if (format != EmbedFormat::track) {
        if (options.channel) {
            out.emplace_back(
                "a channel is of a track (.bw, .bedgraph.gz, .tsv.gz); an array has all");
        }
        return;
    }
    if (!options.channel) {
        out.emplace_back("a track has one number of each row: say which (--channel)");
    } else if (*options.channel < 0) {
        out.push_back(concat("there is no channel ", *options.channel));
    }
    if (options.pool.is_whole()) {
        out.emplace_back("a track has a value for each base or bin, not for each record or region");
    }
}

}  // namespace

void EmbedOptions::validate() const {
    std::vector<std::string> violations;
    if (model.empty()) {
        violations.emplace_back("no model directory");
    }
    reading.collect_violations(violations);
    collect_output_violations(*this, violations);
    if (layer < 0 && layer != model::kLastLayer) {
        violations.push_back(concat("there is no layer ", layer));
    }
    if (pool.how == Pool::bins && pool.bin < 1) {
        violations.push_back(concat("a bin has at least 1 base, not ", pool.bin));
    }
    if (max_output < 1) {
        violations.emplace_back("the limit of the output is at least 1 byte");
    }
    throw_violations(violations);
}

EmbedReport embed(const EmbedOptions& options, const Runtime& runtime) {
    options.validate();
    Engine engine(runtime);
    model::Model loaded = model::Model::load(options.model, host_allocator());
    const std::string hash = loaded.hash();
    const model::Model model = std::move(loaded).on_device(engine.queue());
    const model::ModelConfig& config = model.config();
    MAMBASE_REQUIRE(options.layer <= config.n_layer, ErrorCode::usage,
                    concat("there is no layer ", options.layer, "; the model has ", config.n_layer,
                           " blocks (0 is the token embedding)"));
    const io::Tokenizer& tokenizer =
        choose_tokenizer(model, options.model, options.reading.tokenizer);
    EmbedReport report;
    report.context = choose_context(model, options.reading, runtime.observer);
    const io::WindowOptions windows = window_options(
        options.reading, report.context, engine.reading(config, options.reading.chunk).chunk);
    EmbedPlan plan = plan_embedding(options, config.d_model, windows, runtime.observer);
    report.dim = plan.dim;
    MAMBASE_REQUIRE(options.channel.value_or(0) < plan.dim, ErrorCode::usage,
                    concat("there is no channel ", options.channel.value_or(0), ": a row has ",
                           plan.dim, " numbers, counted from 0"));
    if (options.dry_run) {
        require_within_limit(plan, options, plan.rows.value_or(0));
        report.plan = describe(plan, options, engine, model, tokenizer, report.context);
        return report;
    }
    require_feasible(plan, options);
    if (options.reading.has_regions() && report.context == kWholeContext) {
        runtime.observer.info(concat("context whole: reads ", format_count(plan.computed),
                                     " bases for the ", format_count(plan.bases),
                                     " that are asked for"));
    }

    name_files(report, options);
    const std::unique_ptr<EmbeddingSink> out =
        open_embedding(options, report, {hash, tokenizer, runtime});
    EmbedRun run(options, runtime, engine, model, tokenizer, windows, plan, *out);
    run.run();

    report.rows = run.rows();
    report.records = run.records();
    report.bytes = output_bytes(options, plan.dim, report.rows);
    report.bases_read = run.bases_read();
    report.seconds = run.seconds();
    const std::optional<ShardFacts> shard =
        plan.shard ? std::optional(ShardFacts{*plan.shard, plan.cut, run.digest()}) : std::nullopt;
    out->finish(report, shard);
    return report;
}

}  // namespace mambase::pipelines
