#include "pipelines/classify_evaluate.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "model/classifier.hpp"
#include "pipelines/calibration.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/kmer_baseline.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/samples.hpp"
#include "pipelines/survey.hpp"
#include "pipelines/window_scores.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kBlock = 10;  // windows
constexpr int kDigits = 4;

/// Verdicts on windows, in order; blocks end with a label and a contig.
std::vector<Verdict> verdicts_of(const ScoredSet& set,
                                 const std::vector<LabelledWindow>& windows,
                                 double temperature) {
    std::vector<Verdict> out;
    std::vector<double> values(static_cast<std::size_t>(set.classes));
    std::int64_t block = 0;
    std::int64_t in_block = 0;
    for (std::size_t i = 0; i < windows.size(); ++i) {
        const bool same = i > 0 && windows[i - 1].store == windows[i].store &&
                          windows[i - 1].bases.contig == windows[i].bases.contig &&
                          windows[i - 1].label == windows[i].label;
        if (!same || in_block == kBlock) {
            ++block;
            in_block = 0;
        }
        ++in_block;
        probabilities(set.row(static_cast<std::int64_t>(i)), temperature, values);
        const Call call = likeliest(values);
        const double right = values[static_cast<std::size_t>(windows[i].label)];
        out.push_back({windows[i].label, block, call.label, call.probability,
                       -std::log(std::max(right, 1e-300))});
    }
    return out;
}

/// What the rows of one classifier say, of all windows or of those of one label.
struct Row {
    std::int64_t windows = 0;
    std::int64_t right = 0;
    double nats = 0.0;
    CalibrationBins bins;
    std::int64_t called = 0;
    std::int64_t false_calls = 0;
    std::vector<std::int64_t> calls;  // by label

    explicit Row(std::size_t labels) : calls(labels, 0) {}
    void add(const Verdict& verdict, double confidence) {
        ++windows;
        right += verdict.right() ? 1 : 0;
        nats += verdict.nats;
        bins.add({verdict.probability, verdict.right()});
        if (verdict.probability >= confidence) {
            ++called;
            false_calls += verdict.right() ? 0 : 1;
        }
        ++calls[static_cast<std::size_t>(verdict.call)];
    }
    static double share(std::int64_t part, std::int64_t of) {
        return of == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(of);
    }
    double accuracy() const { return share(right, windows); }
    double mean_nats() const { return windows == 0 ? 0.0 : nats / static_cast<double>(windows); }
};

std::string fixed(double value) {
    return format_fixed(value, kDigits);
}

std::string fixed(const Interval95& interval) {
    return concat(fixed(interval.low), "\t", fixed(interval.high));
}

class Evaluation {
  public:
    Evaluation(const SampleSet& samples,
               double confidence,
               const std::string& output,
               const std::string& reliability)
        : samples_(samples), confidence_(confidence), table_(output) {
        std::string header =
            "classifier\tlabel\twindows\taccuracy\taccuracy_low\taccuracy_high\tnats\t"
            "calibration_error\tcalibration_low\tcalibration_high\tcalled\tfalse_calls";
        for (const std::string& label : samples.labels()) {
            header += concat("\tcalled:", label);
        }
        table_.write(header + "\n");
        if (!reliability.empty()) {
            reliability_.emplace(reliability);
            reliability_->write(
                "classifier\tbin_low\tbin_high\twindows\tprobability\tobserved\t"
                "observed_low\tobserved_high\n");
        }
    }

    ClassifierResult add(const std::string& name,
                         const std::vector<Verdict>& verdicts,
                         Intervals intervals) {
        const std::size_t labels = samples_.labels().size();
        std::vector<Row> rows(labels, Row(labels));
        Row all(labels);
        for (const Verdict& verdict : verdicts) {
            rows[static_cast<std::size_t>(verdict.label)].add(verdict, confidence_);
            all.add(verdict, confidence_);
        }
        double balanced = 0.0;
        double present = 0.0;
        for (std::size_t label = 0; label < labels; ++label) {
            write(concat(name, "\t", samples_.labels()[label]), rows[label],
                  intervals.accuracy[label], ".\t.");
            balanced += rows[label].accuracy();
            present += rows[label].windows > 0 ? 1.0 : 0.0;
        }
        balanced /= std::max(present, 1.0);
        write(concat(name, "\tall"), all, intervals.all, fixed(intervals.calibration_error));
        write_accuracy(concat(name, "\tbalanced"), all.windows, balanced,
                       fixed(intervals.balanced));
        if (reliability_) {
            write_reliability(name, all.bins, intervals.observed);
        }
        return {name,
                all.windows,
                all.accuracy(),
                balanced,
                all.bins.error(),
                all.mean_nats(),
                std::move(intervals)};
    }

    /// A row that has an accuracy alone.
    void write_accuracy(const std::string& name,
                        std::int64_t windows,
                        double accuracy,
                        const std::string& interval) {
        std::string line = concat(name, "\t", windows, "\t", fixed(accuracy), "\t", interval);
        for (std::size_t i = 0; i < 6 + samples_.labels().size(); ++i) {
            line += "\t.";
        }
        table_.write(line + "\n");
    }

    void finish() {
        table_.commit();
        if (reliability_) {
            reliability_->commit();
        }
    }

  private:
    void write(const std::string& name,
               const Row& row,
               const Interval95& accuracy,
               const std::string& calibration) {
        std::string line = concat(name, "\t", row.windows, "\t");
        line += row.windows == 0
                    ? std::string(".\t.\t.\t.\t.\t.\t.\t.\t.")
                    : concat(fixed(row.accuracy()), "\t", fixed(accuracy), "\t",
                             fixed(row.mean_nats()), "\t", fixed(row.bins.error()), "\t",
                             calibration, "\t", fixed(Row::share(row.called, row.windows)), "\t",
                             fixed(Row::share(row.false_calls, row.called)));
        for (const std::int64_t calls : row.calls) {
            line += concat("\t", calls);
        }
        table_.write(line + "\n");
    }

    void write_reliability(const std::string& name,
                           const CalibrationBins& bins,
                           const std::vector<Interval95>& observed) {
        const auto border = [](std::size_t i) {
            return fixed(static_cast<double>(i) / static_cast<double>(CalibrationBins::kBins));
        };
        for (std::size_t i = 0; i < CalibrationBins::kBins; ++i) {
            const CalibrationBins::Bin& bin = bins.bins()[i];
            reliability_->write(concat(
                name, "\t", border(i), "\t", border(i + 1), "\t",
                static_cast<std::int64_t>(bin.calls), "\t",
                bin.calls > 0.0 ? concat(fixed(bin.probability / bin.calls), "\t",
                                         fixed(bin.right / bin.calls), "\t", fixed(observed[i]))
                                : std::string(".\t.\t.\t."),
                "\n"));
        }
    }

    const SampleSet& samples_;
    double confidence_;
    OutputFile table_;
    std::optional<OutputFile> reliability_;
};

/// The share of the commonest label.
double chance_of(const std::vector<LabelledWindow>& windows, std::size_t labels) {
    std::vector<std::int64_t> counts(labels, 0);
    for (const LabelledWindow& window : windows) {
        ++counts[static_cast<std::size_t>(window.label)];
    }
    return static_cast<double>(*std::max_element(counts.begin(), counts.end())) /
           static_cast<double>(windows.size());
}

ScoredSet kmer_verdicts(const ClassifyEvaluateOptions& options,
                        const SampleSet& samples,
                        const std::vector<LabelledWindow>& test,
                        Engine& engine,
                        const Observer& observer) {
    const std::vector<LabelledWindow> train = samples.windows(Part::train, options.kmer_windows);
    const std::vector<LabelledWindow> valid = samples.windows(Part::valid, options.windows);
    MAMBASE_REQUIRE(!train.empty(), ErrorCode::usage,
                    "the table has no window to fit a k-mer model on: its train part is empty");
    observer.info(concat("fitting ", *options.kmer, "-mers on ",
                         format_count(static_cast<std::int64_t>(train.size())),
                         " windows of the train part"));
    return kmer_scores(static_cast<int>(*options.kmer), samples, train, valid, test, engine.pool());
}

}  // namespace

void ClassifyEvaluateOptions::validate() const {
    std::vector<std::string> violations;
    const auto require = [&](bool holds, std::string text) {
        if (!holds) {
            violations.push_back(std::move(text));
        }
    };
    require(!model.empty(), "no model directory");
    require(!samples.empty(), "no table of samples");
    require(windows >= 1 && kmer_windows >= 1, "at least 1 window of a label");
    require(!kmer || (*kmer >= 1 && *kmer <= kLongestKmer),
            concat("k-mers are from 1 to ", kLongestKmer, " bases long"));
    require(output != "-" || reliability != "-",
            "standard output can be written by one output alone");
    require(resamples >= 1 && resamples <= 1'000'000, "resamples are from 1 to 1,000,000");
    require(chunk >= 0, concat("chunk is at least 1, not ", chunk));
    throw_violations(violations);
}

ClassifyEvaluateReport classify_evaluate(const ClassifyEvaluateOptions& options,
                                         const Runtime& runtime) {
    options.validate();
    Engine engine(runtime);
    const model::Classifier classifier = model::read_classifier(options.model);
    const model::Model model =
        model::load_classifier(options.model, classifier).on_device(engine.queue());
    const io::Tokenizer& tokenizer = choose_tokenizer(model, options.model, options.tokenizer);
    const SampleSet samples(options.samples, tokenizer, classifier.window, classifier.gap,
                            options.ignore_eof, classifier.labels, runtime);
    if (samples.digest() != classifier.samples) {
        runtime.observer.warning(
            "these are not the samples that the classifier was trained with: whether it has seen "
            "the test part is not known");
    }
    const std::vector<LabelledWindow> test = samples.windows(Part::test, options.windows);
    MAMBASE_REQUIRE(!test.empty(), ErrorCode::usage,
                    concat("the table has no test window of ", classifier.window,
                           " bases; name a test part in its split column"));
    ClassifyEvaluateReport report;
    if (options.dry_run) {
        report.plan = concat(
            "test windows: ", format_count(std::ssize(test)), " of ",
            format_count(classifier.window), " bases, both strands\n",
            forward_plan(engine, model, tokenizer, engine.reading(model.config(), options.chunk),
                         PooledLanes::result_bytes(model.config()),
                         2 * std::ssize(test) * classifier.window));
        return report;
    }
    const std::vector<Verdict> verdicts =
        verdicts_of(score_windows(engine, model, samples, test, classifier.window, classifier.pool,
                                  engine.reading(model.config(), options.chunk), runtime),
                    test, classifier.temperature(classifier.window));
    std::vector<Verdict> kmers;
    if (options.kmer) {
        kmers =
            verdicts_of(kmer_verdicts(options, samples, test, engine, runtime.observer), test, 1.0);
    }
    const auto labels = static_cast<std::int64_t>(samples.labels().size());
    const auto intervals = [&](const std::vector<Verdict>& of, const std::vector<Verdict>& beside) {
        return bootstrap(of, beside, labels, options.resamples, options.seed);
    };
    report.chance = chance_of(test, samples.labels().size());
    Evaluation table(samples, classifier.confidence, options.output, options.reliability);
    report.results.push_back(table.add("model", verdicts, intervals(verdicts, kmers)));
    if (options.kmer) {
        const std::string name = concat("kmer-", *options.kmer);
        report.results.push_back(table.add(name, kmers, intervals(kmers, {})));
        report.difference = report.results[0].accuracy - report.results[1].accuracy;
        table.write_accuracy("difference\tall", report.results[0].windows, report.difference,
                             fixed(report.results[0].intervals.difference));
    }
    table.write_accuracy("chance\tall", report.results[0].windows, report.chance, ".\t.");
    table.finish();
    return report;
}

}  // namespace mambase::pipelines
