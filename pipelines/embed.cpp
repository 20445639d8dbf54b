#include "pipelines/embed.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "pipelines/embed_plan.hpp"
#include "pipelines/embedding_files.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/row_spool.hpp"
#include "pipelines/window_feed.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace mambase::pipelines {

namespace {

/// Everything that one run shares between its passes.
class EmbedRun {
  public:
    EmbedRun(const EmbedOptions& options,
             const Runtime& runtime,
             Engine& engine,
             const model::Model& model,
             const io::Tokenizer& tokenizer,
             const io::WindowOptions& windows,
             EmbedPlan& plan)
        : options_(options),
          runtime_(runtime),
          engine_(engine),
          model_(model),
          tokenizer_(tokenizer),
          windows_(windows),
          plan_(plan),
          width_(model.config().d_model),
          progress_(runtime.observer, both_strands(options.strand) ? 2 * plan.bases : plan.bases) {}

    void run(io::NpySink& array) {
        const auto to_array = [this, &array](std::int64_t row, const float* rows, std::int64_t n) {
            require_within_limit(plan_, options_, row + n);
            array.write_rows(row, rows, n);
        };
        if (both_strands(options_.strand)) {
            for (const io::Interval group : plan_.groups) {
                run_group(group, array);
            }
        } else if (plan_.fasta) {
            const auto strand = options_.strand == StrandChoice::reverse ? io::Strand::reverse
                                                                         : io::Strand::forward;
            pass({0, static_cast<std::int64_t>(plan_.spans.size())}, strand, true, to_array);
        } else {
            stream(to_array);
        }
    }

    std::int64_t bases_read() const { return progress_.done(); }
    double seconds() const { return progress_.seconds(); }

  private:
    /// Reverse rows to a spool, then the forward pass, which joins them row by row.
    void run_group(io::Interval group, io::NpySink& array) {
        const RowSpan& first = plan_.spans[static_cast<std::size_t>(group.begin)];
        const RowSpan& last = plan_.spans[static_cast<std::size_t>(group.end - 1)];
        const std::int64_t base = first.first_row;
        RowSpool spool(last.first_row + last.rows(options_.bin) - base, width_);
        pass(group, io::Strand::reverse, false,
             [&](std::int64_t row, const float* rows, std::int64_t n) {
                 spool.write(row - base, rows, n);
             });
        pass(group, io::Strand::forward, true,
             [&](std::int64_t row, const float* rows, std::int64_t n) {
                 reverse_.resize(static_cast<std::size_t>(n * width_));
                 spool.read(row - base, reverse_.data(), n);
                 array.write_rows(row, join(rows, n), n);
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

    /// One strand of the spans [first, last), by random access.
    void pass(io::Interval spans, io::Strand strand, bool tell, const StrandRows::Sink& sink) {
        WindowFeed feed(
            spans.size(),
            [this, spans, strand](std::int64_t i) {
                const RowSpan& span = plan_.spans[static_cast<std::size_t>(spans.begin + i)];
                return read_part(*plan_.fasta, span.contig, span.bases, strand, windows_);
            },
            tokenizer_, windows_);
        compute(feed, strand, tell, sink, [&](const Delivery& delivery, std::int64_t) {
            return spans.begin + delivery.reading;
        });
    }

    /// The forward strand of the whole file in one sweep; spans are met on the way.
    void stream(const StrandRows::Sink& sink) {
        WindowFeed feed(
            1,
            [this](std::int64_t) {
                return read_file(options_.reading.inputs.front(), options_.reading.read_options());
            },
            tokenizer_, windows_);
        compute(feed, io::Strand::forward, true, sink,
                [this](const Delivery& delivery, std::int64_t record) {
                    for (const io::RecordSummary& ended : delivery.ended) {
                        RowSpan& span = meet(ended.record, ended.name);
                        span.length = ended.length;
                        span.bases = {0, ended.length};
                    }
                    if (delivery.piece) {
                        meet(record, *delivery.piece->name);
                    }
                    return record;
                });
    }

    RowSpan& meet(std::int64_t record, std::string_view record_name) {
        if (record == static_cast<std::int64_t>(plan_.spans.size())) {
            std::int64_t row = 0;
            if (!plan_.spans.empty()) {
                row = plan_.spans.back().first_row + plan_.spans.back().rows(options_.bin);
            }
            plan_.spans.push_back({std::string(record_name), record, 0, {}, row});
        }
        return plan_.spans[static_cast<std::size_t>(record)];
    }

    /// `span_of(delivery, record)`: the span of a delivery's piece; called for each delivery.
    template <class SpanOf>
    void compute(WindowFeed& feed,
                 io::Strand strand,
                 bool tell,
                 const StrandRows::Sink& sink,
                 const SpanOf& span_of) {
        StrandRows rows(strand, options_.bin, width_, tokenizer_, sink);
        HiddenLanes lanes(engine_, model_, engine_.chunk(options_.reading.chunk), options_.layer,
                          [&](const HiddenRows& hidden) {
                              const auto span = static_cast<std::size_t>(hidden.source.tag);
                              rows.take(hidden, plan_.spans[span]);
                              progress_.advance(hidden.count, plan_.spans[span].name);
                          });
        Delivery delivery;
        while (feed.next(delivery)) {
            runtime_.throw_if_stopped();
            for (const io::RecordSummary& record : delivery.ended) {
                if (tell) {
                    tell_letters(record, runtime_.observer);
                }
            }
            const std::int64_t span =
                span_of(delivery, delivery.piece ? delivery.piece->record : -1);
            if (delivery.piece) {
                lanes.add({span, std::move(*delivery.piece)});
            }
        }
        lanes.flush();
        rows.finish();
    }

    const EmbedOptions& options_;
    const Runtime& runtime_;
    Engine& engine_;
    const model::Model& model_;
    const io::Tokenizer& tokenizer_;
    const io::WindowOptions& windows_;
    EmbedPlan& plan_;
    std::int64_t width_;
    Progress progress_;
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

void EmbedOptions::validate() const {
    std::vector<std::string> violations;
    if (model.empty()) {
        violations.emplace_back("no model directory");
    }
    reading.collect_violations(violations);
    if (reading.inputs.size() > 1) {
        violations.emplace_back("one input file at a time");
    }
    if (!output.ends_with(".npy")) {
        violations.push_back(
            concat("the output is an array file, so its name ends in .npy, not \"", output, "\""));
    }
    if (layer < 0 && layer != model::kLastLayer) {
        violations.push_back(concat("there is no layer ", layer));
    }
    if (bin < 0) {
        violations.push_back(concat("a bin has at least 1 base, not ", bin));
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
    const io::WindowOptions windows =
        window_options(options.reading, report.context, engine.chunk(options.reading.chunk));
    EmbedPlan plan = plan_embedding(options, config.d_model, windows, runtime.observer);
    report.dim = plan.dim;
    if (options.dry_run) {
        require_within_limit(plan, options, plan.rows.value_or(0));
        report.plan = describe(plan, options, engine, model, tokenizer, report.context);
        return report;
    }
    require_feasible(plan, options, config.d_model);
    if (options.reading.has_regions() && report.context == kWholeContext) {
        runtime.observer.info(concat("context whole: reads ", format_count(plan.computed),
                                     " bases for the ", format_count(plan.bases),
                                     " that are asked for"));
    }

    io::NpySink array(options.output, options.dtype, plan.dim);
    EmbedRun run(options, runtime, engine, model, tokenizer, windows, plan);
    run.run(array);

    if (!plan.spans.empty()) {
        report.rows = plan.spans.back().first_row + plan.spans.back().rows(options.bin);
    }
    report.records = static_cast<std::int64_t>(plan.spans.size());
    report.bytes = io::NpySink::file_bytes(options.dtype, plan.dim, report.rows);
    report.bases_read = run.bases_read();
    report.seconds = run.seconds();
    report.array = options.output;
    report.rows_table = embedding_stem(options.output) + ".rows.tsv";
    report.description = embedding_stem(options.output) + ".json";
    write_rows_table(report.rows_table, plan.spans, options);
    write_description(report.description, options, report, hash, tokenizer, runtime);
    try {
        array.finish(report.rows);
    } catch (...) {  // what lies beside it means nothing without the array
        std::error_code ignored;
        std::filesystem::remove(report.rows_table, ignored);
        std::filesystem::remove(report.description, ignored);
        throw;
    }
    return report;
}

}  // namespace mambase::pipelines
