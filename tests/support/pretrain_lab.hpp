// Runs of pretrain on a small genome, in a directory of their own.
#pragma once

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "pipelines/pretrain.hpp"
#include "pipelines/runtime.hpp"
#include "tests/support/synthetic_fasta.hpp"
#include "tests/support/temp_dir.hpp"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::test {

/// A small genome in a directory of its own, and runs on it.
class PretrainLab {
  public:
    explicit PretrainLab(const std::string& bases = markov_bases(40'000, 3)) {
        write_text(input(), fasta_record("chr", bases));
        observer_.on_progress = [this](std::string_view text) {
            if (!stop_at_.empty() && text.rfind(concat("step ", stop_at_, "/"), 0) == 0) {
                stop_ = 10;
            }
        };
        observer_.on_info = [this](std::string_view text) { said_ += concat(text, "\n"); };
        observer_.on_warning = [this](std::string_view text) {
            said_ += concat("warning: ", text, "\n");
        };
    }

    /// Twenty steps of a model of 16 × 2.
    pipelines::PretrainOptions options(const std::string& name) const {
        pipelines::PretrainOptions out;
        out.inputs = {input()};
        out.output = dir(name);
        out.d_model = 16;
        out.layers = 2;
        out.context = 96;
        out.batch = 6;
        out.steps = 20;
        out.eval_every = 8;
        out.seed = 5;
        return out;
    }
    pipelines::PretrainReport run(const pipelines::PretrainOptions& options,
                                  int threads = 1,
                                  Device device = {}) {
        said_.clear();
        stop_ = 0;
        const pipelines::Runtime runtime{.threads = threads,
                                         .device = device,
                                         .observer = observer_,
                                         .stop = &stop_,
                                         .no_pg = true,
                                         .command_line = "test"};
        return pipelines::pretrain(options, runtime);
    }
    std::string error_of(const pipelines::PretrainOptions& options) {
        try {
            run(options);
        } catch (const Error& error) {
            return error.what();
        }
        return "no error";
    }
    /// As if a signal came during that step; empty: never.
    void stop_at(const std::string& step) { stop_at_ = step; }
    const std::string& said() const { return said_; }

    std::string input() const { return temp_.file("in.fa"); }
    std::string dir(const std::string& name) const { return temp_.file(name); }
    std::string file(const std::string& name, const std::string& file) const {
        return read_text(temp_.file(name) + "/" + file);
    }

  private:
    TempDir temp_;
    Observer observer_;
    std::atomic<int> stop_{0};
    std::string stop_at_;
    std::string said_;
};

inline std::vector<std::string> names_in(const std::string& dir) {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(dir)) {
        out.push_back(entry.path().filename().string());
    }
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace mambase::test
