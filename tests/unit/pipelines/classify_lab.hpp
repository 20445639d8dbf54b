// What the tests of classify share: genomes that a small model can tell apart, a table, and runs.
#pragma once

#include "base/file.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "pipelines/classify_evaluate.hpp"
#include "pipelines/classify_predict.hpp"
#include "pipelines/classify_train.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::test {

/// Bases of which a share is G or C: strands alike.
inline std::string composed_bases(std::size_t length, double gc, std::uint64_t seed) {
    const CounterRng rng(seed, 5);
    std::string out;
    for (std::uint64_t i = 0; i < length; ++i) {
        const bool strong = rng.uniform(2 * i) < gc;
        out += std::string_view(strong ? "CG" : "AT")[rng.below(2 * i + 1, 2)];
    }
    return out;
}

/// Two genomes of a contig each, 30 % and 70 % G and C.
class ClassifyLab : public PipelineLab {
  public:
    ClassifyLab() {
        table("samples.tsv",
              {concat("path\tlabel"),
               concat(fasta("a.fa", {"contig", composed_bases(12'000, 0.3, 1)}), "\ta"),
               concat(fasta("b.fa", {"contig", composed_bases(12'000, 0.7, 2)}), "\tb")});
    }

    std::string table(const std::string& name, const std::vector<std::string>& lines) const {
        std::string text;
        for (const std::string& line : lines) {
            text += line + "\n";
        }
        write_text(file(name), text);
        return file(name);
    }

    /// Thirty steps of windows of 64 bases.
    pipelines::ClassifyTrainOptions training(const std::string& output) const {
        pipelines::ClassifyTrainOptions out;
        out.samples = file("samples.tsv");
        out.model = model_dir();
        out.output = file(output);
        out.context = 64;
        out.steps = 30;
        out.batch = 12;
        out.lr = 1e-2;
        out.eval_every = 10;
        out.seed = 4;
        return out;
    }
    pipelines::ClassifyTrainReport train(const pipelines::ClassifyTrainOptions& options,
                                         int threads = 1) const {
        return pipelines::classify_train(options, runtime(threads));
    }
    /// A signal comes when the progress begins so. Whether the run was finished all the same.
    bool train_with_signal(const pipelines::ClassifyTrainOptions& options,
                           std::string_view progress) const {
        std::atomic<int> stop{0};
        Observer observer;
        observer.on_progress = [&](std::string_view text) {
            stop = text.starts_with(progress) ? 10 : stop.load();
        };
        const pipelines::Runtime with_stop{.threads = 1,
                                           .device = {},
                                           .observer = observer,
                                           .stop = &stop,
                                           .no_pg = true,
                                           .command_line = "mambase test"};
        return pipelines::classify_train(options, with_stop).finished;
    }

    /// Calls of a file, in the lab's directory.
    pipelines::ClassifyPredictOptions prediction(const std::string& classifier,
                                                 const std::string& input) const {
        pipelines::ClassifyPredictOptions out;
        out.model = file(classifier);
        out.reading.inputs = {input};
        out.output = file("calls");
        out.probs = file("probs");
        out.report = file("report");
        return out;
    }
    pipelines::ClassifyPredictReport predict(const pipelines::ClassifyPredictOptions& options,
                                             int threads = 1) const {
        return pipelines::classify_predict(options, runtime(threads));
    }
    std::string text(const std::string& name) const { return read_text(file(name)); }
    /// The fields of each line.
    std::vector<std::vector<std::string>> rows(const std::string& name) const {
        std::vector<std::vector<std::string>> out;
        const std::string all = text(name);
        for (const std::string_view line : split(all, '\n')) {
            if (line.empty()) {
                continue;
            }
            auto& row = out.emplace_back();
            for (const std::string_view field : split(line, '\t')) {
                row.emplace_back(field);
            }
        }
        return out;
    }
};

/// A classifier trained once for all tests that only read it.
inline ClassifyLab& trained_lab() {
    static ClassifyLab lab;
    static const bool made = [] {
        lab.train(lab.training("classifier"));
        return true;
    }();
    static_cast<void>(made);
    return lab;
}

/// Weights and calibration of a run.
inline std::string weights_of(const ClassifyLab& lab, const std::string& name) {
    return lab.text(name + "/model.safetensors") + lab.text(name + "/classifier.json");
}

/// Of its test part, on the samples that it was trained on.
inline pipelines::ClassifyEvaluateOptions evaluation(const ClassifyLab& lab,
                                                     const std::string& classifier) {
    pipelines::ClassifyEvaluateOptions out;
    out.model = lab.file(classifier);
    out.samples = lab.file("samples.tsv");
    out.output = lab.file("table");
    out.resamples = 100;
    return out;
}

inline double number(const std::string& text) {
    return std::stod(text);
}

}  // namespace mambase::test
