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
#include "pipelines/fragments.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/survey.hpp"
#include "pipelines/taxonomy.hpp"
#include "pipelines/window_scores.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <span>

namespace mambase::pipelines {

namespace {

/// Fragments that wait for their turn: those without windows wait too, and fill no call.
constexpr std::size_t kMostWaiting = std::size_t{1} << 16;

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

class Prediction {
  public:
    Prediction(const ClassifyPredictOptions& options, const Runtime& runtime, Engine& engine);
    ClassifyPredictReport run();

  private:
    /// A fragment whose windows are on their way through the model.
    struct Waiting {
        Fragment fragment;
        std::vector<double> scores;  // [windows, C]
        std::vector<char> scored;    // [windows]: has A, C, G or T
        std::size_t left = 0;        // windows whose scores have not come
    };

    void read_all(std::span<const std::string> paths);
    void place(Waiting& waiting);
    void score(Waiting& waiting);
    void take(std::size_t window, std::span<const double> scores);
    /// Calls the fragments that wait for nothing, in order.
    void call_ready();
    void add_up(const Sequence& mate,
                const Waiting& waiting,
                std::vector<double>& sum,
                std::int64_t& count) const;
    void call(const Waiting& waiting);
    std::string window_calls(const Sequence& mate, const Waiting& waiting);
    std::span<const double> row(const Waiting& waiting, std::size_t window) const {
        return std::span(waiting.scores).subspan(window * classes(), classes());
    }
    std::size_t classes() const { return classifier_.labels.size(); }

    const ClassifyPredictOptions& options_;
    const Runtime& runtime_;
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
    std::deque<Waiting> waiting_;
    std::size_t arriving_ = 0;  // of waiting_: none before it has windows left
    WindowScores scores_;
};

Prediction::Prediction(const ClassifyPredictOptions& options,
                       const Runtime& runtime,
                       Engine& engine)
    : options_(options),
      runtime_(runtime),
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
      progress_(runtime.observer, 0),
      scores_(engine,
              model_,
              tokenizer_,
              classifier_.pool,
              engine.reading(model_.config(), options.reading.chunk),
              [this](std::int64_t window, std::span<const double> scores) {
                  take(static_cast<std::size_t>(window), scores);
              }) {
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
    scores_.flush();
    call_ready();
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
    while (reader.next(fragment)) {
        runtime_.throw_if_stopped();
        waiting_.emplace_back().fragment = std::move(fragment);
        place(waiting_.back());
        score(waiting_.back());
        call_ready();
        if (waiting_.size() == kMostWaiting) {  // for windows that are too few to fill a call
            scores_.flush();
            call_ready();
        }
    }
}

void Prediction::place(Waiting& waiting) {
    for (Sequence& mate : waiting.fragment.mates) {
        for (const io::Interval& run :
             io::find_runs(mate.record.codes, tokenizer_, options_.reading.gap)) {
            place_windows(run, window_, step_, mate.windows);
        }
        mate.first_window = waiting.scored.size();
        for (const io::Interval& window : mate.windows) {
            waiting.scored.push_back(has_bases(mate.codes(window), tokenizer_) ? 1 : 0);
            waiting.left += waiting.scored.back() != 0 ? 1 : 0;
        }
    }
    waiting.scores.resize(waiting.scored.size() * classes());
}

void Prediction::score(Waiting& waiting) {
    for (const Sequence& mate : waiting.fragment.mates) {
        for (std::size_t i = 0; i < mate.windows.size(); ++i) {
            if (waiting.scored[mate.first_window + i] != 0) {
                scores_.add(static_cast<std::int64_t>(mate.first_window + i),
                            mate.codes(mate.windows[i]));
                progress_.advance(mate.windows[i].size(), mate.record.summary.name);
            }
        }
    }
}

void Prediction::take(std::size_t window, std::span<const double> scores) {
    while (waiting_[arriving_].left == 0) {
        ++arriving_;
    }
    Waiting& waiting = waiting_[arriving_];
    std::copy(scores.begin(), scores.end(),
              waiting.scores.begin() + static_cast<std::ptrdiff_t>(window * classes()));
    --waiting.left;
}

void Prediction::call_ready() {
    while (!waiting_.empty() && waiting_.front().left == 0) {
        call(waiting_.front());
        waiting_.pop_front();
        arriving_ -= arriving_ > 0 ? 1 : 0;
    }
}

/// Windows that are mirror images are added first, so that the order of reading does not matter.
void Prediction::add_up(const Sequence& mate,
                        const Waiting& waiting,
                        std::vector<double>& sum,
                        std::int64_t& count) const {
    std::vector<std::size_t> windows;
    for (std::size_t i = mate.first_window; i < mate.first_window + mate.windows.size(); ++i) {
        if (waiting.scored[i] != 0) {
            windows.push_back(i);
        }
    }
    std::vector<double> own(classes(), 0.0);
    for (std::size_t i = 0; i < windows.size() / 2; ++i) {
        const std::span<const double> left = row(waiting, windows[i]);
        const std::span<const double> right = row(waiting, windows[windows.size() - 1 - i]);
        for (std::size_t c = 0; c < classes(); ++c) {
            own[c] += left[c] + right[c];
        }
    }
    for (std::size_t c = 0; c < classes(); ++c) {
        if (windows.size() % 2 == 1) {
            own[c] += row(waiting, windows[windows.size() / 2])[c];
        }
        sum[c] += own[c];
    }
    count += static_cast<std::int64_t>(windows.size());
}

/// "2:5 0:1 A:2"
std::string Prediction::window_calls(const Sequence& mate, const Waiting& waiting) {
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
        if (waiting.scored[mate.first_window + i] != 0) {
            probabilities(row(waiting, mate.first_window + i),
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

void Prediction::call(const Waiting& waiting) {
    const Fragment& fragment = waiting.fragment;
    std::vector<double> values(classes(), 0.0);
    std::int64_t windows = 0;
    std::string length;
    std::string map;
    for (const Sequence& mate : fragment.mates) {
        add_up(mate, waiting, values, windows);
        length += concat(length.empty() ? "" : "|", mate.record.summary.length);
        map += concat(map.empty() ? "" : " |:| ", window_calls(mate, waiting));
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
                     engine.reading(model.config(), options.reading.chunk),
                     PooledLanes::result_bytes(model.config()), checked_mul(2 * times, all.bases)));
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
