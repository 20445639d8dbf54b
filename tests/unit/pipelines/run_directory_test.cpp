#include "pipelines/run_directory.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "kernels/tensor/buffer.hpp"
#include "tests/support/pretrain_lab.hpp"

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::names_in;
using Lab = mambase::test::PretrainLab;
using Names = std::vector<std::string>;

namespace {

model::Model small_model() {
    return model::Model::initialise(model::ModelConfig::of_width(8, 1), 1, host_allocator());
}

void save(const RunDirectory& directory, std::int64_t step) {
    directory.save_step(step, small_model, [step](const std::string& path) {
        write_text(path, std::to_string(step));
    });
}

}  // namespace

TEST_CASE("The last steps are kept, the state is that of the last", "[run_directory]") {
    const test::TempDir temp;
    const std::string dir = temp.file("run");
    const RunDirectory directory(dir, 2);
    for (const std::int64_t step : {5, 10, 100, 15, 100}) {
        save(directory, step);
    }
    // 15 came by again, after a run that had been at 100 already: what is later waits for it.
    CHECK(names_in(dir) == Names{"step-100", "step-15", "train_state.safetensors"});
    CHECK(names_in(dir + "/step-15") ==
          Names{"config.json", "model.safetensors", "train_state.safetensors"});
    CHECK(read_text(dir + "/train_state.safetensors") == "100");
    CHECK(read_text(dir + "/step-15/train_state.safetensors") == "15");
    CHECK(model::Model::load(dir + "/step-15", host_allocator()).hash() == small_model().hash());
}

TEST_CASE("A step whose state cannot be written leaves nothing", "[run_directory]") {
    const test::TempDir temp;
    const RunDirectory directory(temp.file("run"), 1);
    save(directory, 1);
    CHECK_THROWS(directory.save_step(2, small_model, [](const std::string& path) {
        write_text(path, "2");
        throw std::runtime_error("full");
    }));
    CHECK(names_in(temp.file("run")) == Names{"step-1", "train_state.safetensors"});
    CHECK(read_text(temp.file("run/train_state.safetensors")) == "1");
}

TEST_CASE("What a killed run left unfinished goes, what is others' stays", "[run_directory]") {
    const test::TempDir temp;
    const std::string dir = temp.file("run");
    make_directories(dir + "/step-7.tmp.host.1");
    write_text(dir + "/step-7.tmp.host.1/model.safetensors", "half");
    for (const char* const name :
         {"train_state.safetensors.tmp.host.1", "run.json.tmp.a.b.2", "classifier.json.tmp.host.1",
          "notes.tmp.host.1", "train_state.safetensors", "step-7x"}) {
        write_text(dir + "/" + name, "x");
    }
    const RunDirectory directory(dir, 0);
    CHECK(names_in(dir) == Names{"notes.tmp.host.1", "step-7x", "train_state.safetensors"});
}

TEST_CASE("A directory is one run's at a time", "[run_directory]") {
    const test::TempDir temp;
    {
        const RunDirectory first(temp.file("run"), 0);
        CHECK_THROWS_AS(RunDirectory(temp.file("run"), 0), Error);
    }
    CHECK_NOTHROW(RunDirectory(temp.file("run"), 0));
}

TEST_CASE("Steps are saved and kept apart from validations", "[pretrain]") {
    Lab lab;
    PretrainOptions options = lab.options("out");
    options.save_every = 3;
    options.keep = 2;
    lab.run(options);
    CHECK(names_in(lab.dir("out")) == Names{"config.json", "metrics.jsonl", "model.safetensors",
                                            "run.json", "step-18", "step-20",
                                            "train_state.safetensors"});
    lab.run(lab.options("plain"));
    CHECK(lab.file("out", "model.safetensors") == lab.file("plain", "model.safetensors"));
    CHECK(lab.file("out", "metrics.jsonl") == lab.file("plain", "metrics.jsonl"));
    CHECK(lab.file("out/step-20", "train_state.safetensors") ==
          lab.file("plain", "train_state.safetensors"));
    const auto kept = model::Model::load(lab.dir("out/step-18"), host_allocator());
    REQUIRE(kept.provenance());
    CHECK(kept.provenance()->steps == 18);
    CHECK(kept.provenance()->context == 96);

    PretrainOptions again = lab.options("again");
    again.resume = lab.dir("out/step-18");
    CHECK(lab.run(again).first_step == 18);
    for (const char* const file : {"model.safetensors", "metrics.jsonl"}) {
        INFO(file);
        CHECK(lab.file("again", file) == lab.file("plain", file));
    }
}

TEST_CASE("A run that is stopped goes on from its last state", "[pretrain]") {
    Lab lab;
    lab.run(lab.options("unbroken"));
    PretrainOptions options = lab.options("stopped");
    options.save_every = 4;
    options.keep = 1;
    lab.stop_at("9");
    lab.run(options);
    // The stop has its state, the kept steps are those of an unbroken run.
    CHECK(names_in(lab.dir("stopped")) ==
          Names{"metrics.jsonl", "run.json", "step-8", "train_state.safetensors"});
    std::filesystem::copy_file(lab.dir("stopped/step-8") + "/train_state.safetensors",
                               lab.dir("stopped") + "/train_state.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    lab.stop_at("");
    options.save_every.reset();
    CHECK(lab.run(options).first_step == 8);  // as if it had been killed after that
    for (const char* const file :
         {"config.json", "model.safetensors", "train_state.safetensors", "metrics.jsonl"}) {
        INFO(file);
        CHECK(lab.file("stopped", file) == lab.file("unbroken", file));
    }
}
