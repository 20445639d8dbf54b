#include "pipelines/classify_predict.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/run_scanner.hpp"
#include "model/classifier.hpp"
#include "pipelines/calibration.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/sequence_reader.hpp"
#include "pipelines/survey.hpp"
#include "pipelines/taxonomy.hpp"
#include "pipelines/window_scores.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace mambase::pipelines {

namespace {

/// Sequences that are classified together, to fill the model's calls: changes no result.
constexpr std::int64_t kBasesTogether = std::int64_t{1} << 22;
constexpr std::size_t kSequencesTogether = std::size_t{1} << 14;

/// Windows of one run, mirror images of each other about its middle.
void place_windows(const io::Interval& run,
                   std::int64_t window,
                   std::int64_t step,
                   std::vector<io::Interval>& out) {
    const std::int64_t slack = run.size() - window;
    if (slack <= 0) {
        out.push_back(run);
        return;
    }
    std::int64_t count = ceil_div(slack, step) + 1;
    if (count % 2 == 1 && slack % 2 == 1) {
        ++count;  // one in the very middle would be off it by half a base
    }
    for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t from_nearer_end =
            ceil_div(checked_mul(std::min(i, count - 1 - i), slack), count - 1);
        const std::int64_t middle = 2 * i == count - 1 ? slack / 2 : from_nearer_end;
        const std::int64_t begin = run.begin + (2 * i <= count - 1 ? middle : slack - middle);
        out.push_back({begin, begin + window});
    }
}

/// A read or contig, or one mate.
struct Sequence {
    WholeRecord record;
    std::vector<io::Interval> windows;
    std::size_t first_window = 0;  // in Batch::scores
};

/// What is called as one: a sequence, or the two mates of a pair.
struct Fragment {
    std::vector<Sequence> mates;

    std::int64_t length() const {
        std::int64_t sum = 0;
        for (const Sequence& mate : mates) {
            sum += mate.record.summary.length;
        }
        return sum;
    }
};

/// A name without the "/1" or "/2" of a mate.
std::string_view fragment_name(std::string_view name) {
    return name.ends_with("/1") || name.ends_with("/2") ? name.substr(0, name.size() - 2) : name;
}

/// One file, or the two of pairs, record by record.
class FragmentReader {
  public:
    FragmentReader(std::span<const std::string> paths,
                   const ClassifyPredictOptions& options,
                   const io::Tokenizer& tokenizer,
                   const Runtime& runtime) {
        const bool keeps = !options.classified_out.empty() || !options.unclassified_out.empty();
        for (const std::string& path : paths) {
            readers_.emplace_back(path, options.reading, tokenizer, keeps, runtime);
        }
    }

    bool next(Fragment& fragment) {
        fragment.mates.clear();
        for (SequenceReader& reader : readers_) {
            Sequence mate;
            if (reader.next(mate.record)) {
                fragment.mates.push_back(std::move(mate));
            }
        }
        if (fragment.mates.empty()) {
            return false;
        }
        const io::RecordSummary& first = fragment.mates.front().record.summary;
        if (fragment.mates.size() < readers_.size()) {
            throw Error(ErrorCode::format,
                        concat("the files of the pairs (", readers_.front().path(), ", ",
                               readers_.back().path(),
                               ") have different numbers of records: ", first.name, " has no mate"))
                .at(readers_.front().path());
        }
        const io::RecordSummary& last = fragment.mates.back().record.summary;
        if (fragment_name(first.name) != fragment_name(last.name)) {
            throw Error(ErrorCode::format, concat("its mate in ", readers_.front().path(),
                                                  " is called '", first.name, "'"))
                .at(readers_.back().path())
                .record(last.record, last.name);
        }
        return true;
    }

  private:
    std::vector<SequenceReader> readers_;
};

/// FASTA files, one or two.
class SequenceFiles {
  public:
    SequenceFiles(const std::string& path, bool paired) {
        if (path.empty()) {
            return;
        }
        const std::size_t mark = paired ? path.find('#') : std::string::npos;
        if (mark == std::string::npos) {
            files_.emplace_back(path);
            return;
        }
        for (const char mate : {'1', '2'}) {
            std::string name = path;
            name[mark] = mate;
            files_.emplace_back(name);
        }
    }
    void write(const Fragment& fragment, std::string_view remark) {
        for (std::size_t mate = 0; mate < fragment.mates.size() && !files_.empty(); ++mate) {
            const WholeRecord& record = fragment.mates[mate].record;
            files_[std::min(mate, files_.size() - 1)].write(
                concat(">", record.summary.name, remark, "\n", record.letters, "\n"));
        }
    }
    void finish() {
        for (OutputFile& file : files_) {
            file.commit();
        }
    }

  private:
    std::vector<OutputFile> files_;
};

class Prediction {
  public:
    Prediction(const ClassifyPredictOptions& options, const Runtime& runtime, Engine& engine);
    ClassifyPredictReport run();

  private:
    struct Batch {
        std::vector<Fragment> fragments;
        std::vector<double> scores;  // [windows, C]
        std::vector<char> scored;    // [windows]: has A, C, G or T
        std::int64_t bases = 0;
    };

    void read_all(std::span<const std::string> paths);
    void place(Fragment& fragment, Batch& batch);
    void score(Batch& batch);
    void add_up(const Sequence& mate,
                const Batch& batch,
                std::vector<double>& sum,
                std::int64_t& count) const;
    void call(const Fragment& fragment, const Batch& batch);
    std::string window_calls(const Sequence& mate, const Batch& batch);
    std::span<const double> row(const Batch& batch, std::size_t window) const {
        return std::span(batch.scores).subspan(window * classes(), classes());
    }
    std::size_t classes() const { return classifier_.labels.size(); }

    const ClassifyPredictOptions& options_;
    const Runtime& runtime_;
    Engine& engine_;
    model::Classifier classifier_;
    model::Model model_;
    const io::Tokenizer& tokenizer_;
    Taxonomy taxonomy_;
    std::int64_t window_;
    std::int64_t step_;
    double confidence_;
    OutputFile calls_;
    std::optional<OutputFile> probs_;
    SequenceFiles classified_out_;
    SequenceFiles unclassified_out_;
    std::vector<std::int64_t> counts_;
    std::int64_t unclassified_ = 0;
    std::int64_t short_ = 0;  // below the shortest length with a temperature of its own
    std::int64_t bases_ = 0;
    Progress progress_;
};

Prediction::Prediction(const ClassifyPredictOptions& options,
                       const Runtime& runtime,
                       Engine& engine)
    : options_(options),
      runtime_(runtime),
      engine_(engine),
      classifier_(model::read_classifier(options.model)),
      model_(model::load_classifier(options.model, classifier_).on_device(engine.queue())),
      tokenizer_(choose_tokenizer(model_, options.model, options.reading.tokenizer)),
      taxonomy_(options.taxonomy.empty() ? classifier_.taxonomy : read_taxonomy(options.taxonomy),
                classifier_.labels,
                options.taxonomy.empty() ? options.model + "/classifier.json" : options.taxonomy),
      window_(options.window.value_or(classifier_.window)),
      step_(options.step.value_or(window_)),
      confidence_(options.confidence.value_or(classifier_.confidence)),
      calls_(options.output),
      classified_out_(options.classified_out, options.paired),
      unclassified_out_(options.unclassified_out, options.paired),
      counts_(classes(), 0),
      progress_(runtime.observer, 0) {
    if (options.taxonomy.empty() && classifier_.taxonomy.empty()) {
        std::string text = "no taxonomy: the root has taxid 1";
        for (std::size_t label = 0; label < classes(); ++label) {
            text += concat(", ", classifier_.labels[label], " ",
                           taxonomy_.taxid(static_cast<std::int64_t>(label)));
        }
        runtime.observer.info(text);
    }
    runtime.observer.info(concat("windows of ", format_count(window_), " bases every ",
                                 format_count(step_), ", calls from a probability of ",
                                 format_fixed(confidence_, 4)));
    if (!options.probs.empty()) {
        probs_.emplace(options.probs);
        std::string header = "id\tlength";
        for (const std::string& label : classifier_.labels) {
            header += concat("\t", label);
        }
        probs_->write(header + "\n");
    }
}

ClassifyPredictReport Prediction::run() {
    const std::size_t together = options_.paired ? 2 : 1;
    const std::span<const std::string> inputs = options_.reading.inputs;
    for (std::size_t first = 0; first < inputs.size(); first += together) {
        read_all(inputs.subspan(first, together));
    }
    calls_.commit();
    if (probs_) {
        probs_->commit();
    }
    classified_out_.finish();
    unclassified_out_.finish();
    if (!options_.report.empty()) {
        OutputFile report(options_.report);
        report.write(taxonomy_.report(counts_, unclassified_));
        report.commit();
    }
    ClassifyPredictReport out;
    for (std::size_t label = 0; label < classes(); ++label) {
        out.by_label.emplace_back(classifier_.labels[label], counts_[label]);
        out.classified += counts_[label];
    }
    out.sequences = out.classified + unclassified_;
    if (short_ > 0) {
        runtime_.observer.warning(concat(
            format_count(short_), " of ", format_count(out.sequences),
            " sequences are shorter than ", format_count(classifier_.temperatures.front().length),
            " bases, the least that probabilities are calibrated for: theirs are too high (train "
            "with --context near their length)"));
    }
    out.bases = bases_;
    out.seconds = progress_.seconds();
    return out;
}

void Prediction::read_all(std::span<const std::string> paths) {
    FragmentReader reader(paths, options_, tokenizer_, runtime_);
    Fragment fragment;
    for (bool more = true; more;) {
        Batch batch;
        while (batch.bases < kBasesTogether && batch.fragments.size() < kSequencesTogether &&
               (more = reader.next(fragment))) {
            place(fragment, batch);
            batch.fragments.push_back(std::move(fragment));
        }
        score(batch);
        for (const Fragment& one : batch.fragments) {
            call(one, batch);
        }
    }
}

void Prediction::place(Fragment& fragment, Batch& batch) {
    for (Sequence& mate : fragment.mates) {
        for (const io::Interval& run :
             io::find_runs(mate.record.codes, tokenizer_, options_.reading.gap)) {
            place_windows(run, window_, step_, mate.windows);
        }
        mate.first_window = batch.scored.size();
        batch.scored.resize(batch.scored.size() + mate.windows.size(), 0);
        batch.bases += mate.record.summary.length;
    }
}

void Prediction::score(Batch& batch) {
    batch.scores.resize(batch.scored.size() * classes());
    WindowScores scores(
        engine_, model_, tokenizer_, classifier_.pool, engine_.chunk(options_.reading.chunk),
        [&](std::int64_t window, std::span<const double> values) {
            std::copy(values.begin(), values.end(),
                      batch.scores.begin() + window * static_cast<std::int64_t>(classes()));
        });
    for (const Fragment& fragment : batch.fragments) {
        runtime_.throw_if_stopped();
        for (const Sequence& mate : fragment.mates) {
            for (std::size_t i = 0; i < mate.windows.size(); ++i) {
                const io::Interval& window = mate.windows[i];
                const auto codes = std::span(mate.record.codes)
                                       .subspan(static_cast<std::size_t>(window.begin),
                                                static_cast<std::size_t>(window.size()));
                if (has_bases(codes, tokenizer_)) {
                    batch.scored[mate.first_window + i] = 1;
                    scores.add(static_cast<std::int64_t>(mate.first_window + i), codes);
                    progress_.advance(window.size(), mate.record.summary.name);
                }
            }
        }
    }
    scores.flush();
}

/// Windows that are mirror images are added first, so that the order of reading does not matter.
void Prediction::add_up(const Sequence& mate,
                        const Batch& batch,
                        std::vector<double>& sum,
                        std::int64_t& count) const {
    std::vector<std::size_t> windows;
    for (std::size_t i = mate.first_window; i < mate.first_window + mate.windows.size(); ++i) {
        if (batch.scored[i] != 0) {
            windows.push_back(i);
        }
    }
    std::vector<double> own(classes(), 0.0);
    for (std::size_t i = 0; i < windows.size() / 2; ++i) {
        const std::span<const double> left = row(batch, windows[i]);
        const std::span<const double> right = row(batch, windows[windows.size() - 1 - i]);
        for (std::size_t c = 0; c < classes(); ++c) {
            own[c] += left[c] + right[c];
        }
    }
    for (std::size_t c = 0; c < classes(); ++c) {
        if (windows.size() % 2 == 1) {
            own[c] += row(batch, windows[windows.size() / 2])[c];
        }
        sum[c] += own[c];
    }
    count += static_cast<std::int64_t>(windows.size());
}

/// "2:5 0:1 A:2"
std::string Prediction::window_calls(const Sequence& mate, const Batch& batch) {
    std::string out;
    std::string last;
    std::int64_t count = 0;
    const auto end_stretch = [&] {
        if (count > 0) {
            out += concat(out.empty() ? "" : " ", last, ":", count);
        }
    };
    std::vector<double> values(classes());
    for (std::size_t i = 0; i < mate.windows.size(); ++i) {
        std::string now = "A";
        if (batch.scored[mate.first_window + i] != 0) {
            probabilities(row(batch, mate.first_window + i),
                          classifier_.temperature(mate.windows[i].size()), values);
            const Call called = likeliest(values);
            now = called.probability >= confidence_ ? concat(taxonomy_.taxid(called.label)) : "0";
        }
        if (now != last) {
            end_stretch();
            last = now;
            count = 0;
        }
        ++count;
    }
    end_stretch();
    return out.empty() ? "0:0" : out;
}

void Prediction::call(const Fragment& fragment, const Batch& batch) {
    std::vector<double> values(classes(), 0.0);
    std::int64_t windows = 0;
    std::string length;
    std::string map;
    for (const Sequence& mate : fragment.mates) {
        add_up(mate, batch, values, windows);
        length += concat(length.empty() ? "" : "|", mate.record.summary.length);
        map += concat(map.empty() ? "" : " |:| ", window_calls(mate, batch));
        bases_ += mate.record.summary.length;
    }
    for (double& value : values) {
        value /= static_cast<double>(std::max<std::int64_t>(windows, 1));
    }
    short_ += windows > 0 && fragment.length() < classifier_.temperatures.front().length ? 1 : 0;
    probabilities(values, classifier_.temperature(fragment.length()), values);
    const Call best = likeliest(values);
    const bool called = windows > 0 && best.probability >= confidence_;
    const std::int64_t taxid = called ? taxonomy_.taxid(best.label) : 0;
    const std::string& given = fragment.mates.front().record.summary.name;
    const std::string_view id = options_.paired ? fragment_name(given) : given;
    std::string taxon = concat(taxid);
    if (options_.use_names) {
        taxon =
            concat(called ? taxonomy_.name(best.label) : "unclassified", " (taxid ", taxid, ")");
    }
    calls_.write(concat(called ? "C" : "U", "\t", id, "\t", taxon, "\t", length, "\t", map, "\n"));
    if (probs_) {
        std::string line = concat(id, "\t", length);
        for (const double value : values) {
            line += concat("\t", value);
        }
        probs_->write(line + "\n");
    }
    if (called) {
        ++counts_[static_cast<std::size_t>(best.label)];
        classified_out_.write(fragment, concat(" kraken:taxid|", taxid));
    } else {
        ++unclassified_;
        unclassified_out_.write(fragment, "");
    }
}

std::string plan_text(const ClassifyPredictOptions& options, Engine& engine) {
    const model::Classifier classifier = model::read_classifier(options.model);
    const model::Model model =
        model::load_classifier(options.model, classifier).on_device(engine.queue());
    SequenceCount all;
    for (const std::string& path : options.reading.inputs) {
        const SequenceCount count =
            count_bases(*io::open_sequences(path, options.reading.read_options()));
        all.records += count.records;
        all.bases = checked_add(all.bases, count.bases);
    }
    const std::int64_t window = options.window.value_or(classifier.window);
    const std::int64_t times = ceil_div(window, options.step.value_or(window));  // a base is read
    return concat(
        "sequence: ", format_count(all.bases), " bases in ", format_count(all.records),
        " records, both strands\n",
        forward_plan(engine, model,
                     choose_tokenizer(model, options.model, options.reading.tokenizer),
                     engine.chunk(options.reading.chunk), checked_mul(2 * times, all.bases)));
}

}  // namespace

void ClassifyPredictOptions::validate() const {
    std::vector<std::string> violations;
    const auto require = [&](bool holds, std::string_view text) {
        if (!holds) {
            violations.emplace_back(text);
        }
    };
    require(!model.empty(), "no model directory");
    reading.collect_violations(violations);
    require(!confidence || (*confidence >= 0.0 && *confidence <= 1.0),
            "the confidence is a probability, from 0 to 1");
    require(!window || *window >= 1, "a window has at least 1 base");
    require(!step || *step >= 1, "the step from window to window is at least 1 base");
    require(!paired || reading.inputs.size() % 2 == 0, "pairs come in two files each");
    const std::array outputs = {&output, &report, &probs, &classified_out, &unclassified_out};
    require(std::count_if(outputs.begin(), outputs.end(),
                          [](const std::string* path) { return *path == "-"; }) <= 1,
            "standard output can be written by one output alone");
    for (const std::string* const path : {&classified_out, &unclassified_out}) {
        require(!paired || path->empty() || path->find('#') != std::string::npos,
                "the sequences of pairs go to two files: write # where their names have 1 and 2");
    }
    throw_violations(violations);
}

ClassifyPredictReport classify_predict(const ClassifyPredictOptions& options,
                                       const Runtime& runtime) {
    options.validate();
    Engine engine(runtime);
    if (options.dry_run) {
        ClassifyPredictReport report;
        report.plan = plan_text(options, engine);
        return report;
    }
    return Prediction(options, runtime, engine).run();
}

}  // namespace mambase::pipelines
