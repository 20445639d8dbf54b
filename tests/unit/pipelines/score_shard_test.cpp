// n shards of score, merged, give the bytes of the run without shards, in every format.
#include "pipelines/score_shard.hpp"

#include "base/file.hpp"
#include "pipelines/merge.hpp"
#include "pipelines/score.hpp"
#include "tests/support/pipeline_lab.hpp"
#include "tests/unit/pipelines/shard_lab.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::contigs;
using mambase::test::failure_of;
using mambase::test::kCounts;
using mambase::test::reads;
using mambase::test::uneven;

namespace {

ScoreOptions scores(const test::PipelineLab& lab, const std::vector<std::string>& inputs) {
    return test::options_of<ScoreOptions>(lab, inputs, "out.tsv");
}

std::vector<std::string> shards(const test::PipelineLab& lab,
                                const ScoreOptions& options,
                                std::int64_t count) {
    return shards_of(lab, options, count, ".scores", score);
}

/// Each of `files` beside the output, which is one of them.
void require_same_track(const test::PipelineLab& lab,
                        ScoreOptions options,
                        const std::vector<std::string>& files = {"out.tsv", "out.json"},
                        const std::vector<std::int64_t>& counts = {1, 2, 7}) {
    options.output = lab.file(files.front());
    const ScoreReport whole = score(options, lab.runtime());
    REQUIRE(whole.scored > 0);
    make_directories(lab.file("merged"));
    for (const std::int64_t count : counts) {
        INFO("shards: " << count);
        const std::string merged = lab.file("merged/" + files.front());
        const MergeReport report = merge({shards(lab, options, count), merged}, lab.runtime());
        REQUIRE(report.scores->scored == whole.scored);
        REQUIRE(report.scores->values == whole.values);
        REQUIRE(report.scores->sum == Approx(whole.sum));
        for (const std::string& file : files) {
            INFO(file);
            REQUIRE(read_text(lab.file("merged/" + file)) == read_text(lab.file(file)));
        }
    }
}

}  // namespace

TEST_CASE("merged shards of score are the track without them", "[shard][score]") {
    const test::PipelineLab lab;
    ScoreOptions options = scores(lab, {lab.fasta("in.fa", contigs())});
    SECTION("every strand, bins shorter and longer than the context") {
        options.strand = GENERATE(ScoreStrand::both, ScoreStrand::forward, ScoreStrand::reverse);
        for (const std::int64_t bin : {1, 50, 64, 200}) {
            INFO("bin " << bin);
            options.bin = bin;
            require_same_track(lab, options, {"out.tsv", "out.json"}, {bin == 50 ? 7 : 2});
        }
    }
    SECTION("every format") {
        require_same_track(lab, options, {"out.bedgraph", "out.json"});
        require_same_track(lab, options, {"out.bedgraph.gz", "out.bedgraph.gz.tbi", "out.json"},
                           {7});
        require_same_track(lab, options, {"out.bw", "out.json"});
    }
    SECTION("regions, that touch and overlap, too; entropy") {
        options.what = ScoreWhat::entropy;
        options.reading.regions = {"y:100-400", "x:1-700", "x:701-800", "x:650-1,200", "y"};
        require_same_track(lab, options);
        options.bin = 90;
        require_same_track(lab, options);
        options.reading.context = kWholeContext;
        require_same_track(lab, options);
    }
    SECTION("context whole: by record") {
        options.reading.context = kWholeContext;
        require_same_track(lab, options);
    }
    SECTION("what cannot be cut on a grid: reads, lines of uneven length, among others") {
        options.reading.inputs = {reads(lab)};
        require_same_track(lab, options);
        options.reading.inputs = {lab.fasta("in.fa", contigs()), uneven(lab)};
        require_same_track(lab, options);
    }
    SECTION("circles") {
        options.reading.circular = {"y", "z"};
        require_same_track(lab, options);
        options.reading.inputs = {uneven(lab)};
        require_same_track(lab, options);
    }
}

TEST_CASE("shards of score are looked at before they are merged", "[shard][score]") {
    const test::PipelineLab lab;
    ScoreOptions options = scores(lab, {lab.fasta("in.fa", contigs())});
    const std::vector<std::string> two = shards(lab, options, 2);
    const std::string output = lab.file("merged.bw");
    const auto merging = [&](const std::vector<std::string>& paths) {
        const std::string failure = failure_of([&] { merge({paths, output}, lab.runtime()); });
        REQUIRE(!exists(output));
        REQUIRE(!exists(lab.file("merged.json")));
        REQUIRE(std::count(failure.begin(), failure.end(), '\n') == 0);
        return failure;
    };
    REQUIRE(merging({two[0]}) == "usage: of 2 shards these are missing: 1");
    options.strand = ScoreStrand::forward;
    options.reading.shard = Shard{0, 2};
    options.output = lab.file("other");
    score(options, lab.runtime());
    REQUIRE(merging({two[0], options.output}).find("strand is \"forward\", not \"both\"") !=
            std::string::npos);
    REQUIRE(failure_of([&] {
                merge({two, two[1]}, lab.runtime());
            }).find("is a shard and the output") != std::string::npos);
    REQUIRE(failure_of([&] {
                merge({two, lab.file("x.wig")}, lab.runtime());
            }).find("not as \"") != std::string::npos);
    options.output = lab.file("part.bw");
    REQUIRE(failure_of([&] { score(options, lab.runtime()); }).find("does not end as a track's") !=
            std::string::npos);

    // Cut anywhere, or with a line that is none: refused, with the file's name.
    const std::string text = read_text(two[0]);
    const std::string damaged = lab.file("damaged");
    for (std::size_t size = 0; size < text.size(); size += 1 + text.size() / 97) {
        write_text(damaged, text.substr(0, size));
        const std::string failure = merging({damaged, two[1]});
        INFO(size << ": " << failure);
        REQUIRE(failure.find("format: " + damaged) == 0);
    }
    for (const auto& [from, to] :
         {std::pair{"\nvalues\t", "\nvalue\t"}, std::pair{"\npart\t0", "\npart\tx"},
          std::pair{"shard\t1\n", "shard\t2\n"}, std::pair{"\t-", "\tnan\t-"},
          std::pair{"\t-", "\t-1e999\t-"},
          std::pair{"\nvalues\t", "\nvalues\t99999999\t1\nvalues\t"},
          std::pair{"\tz\t129", "\tz\t3"}, std::pair{"\tz\t129", "\tz\t-129"}}) {
        std::string changed = text;
        changed.replace(changed.find(from), std::string(from).size(), to);
        write_text(damaged, changed);
        const std::string failure = merging({damaged, two[1]});
        INFO(failure);
        REQUIRE(failure.find("format: " + damaged + ": line ") == 0);
    }
    const CounterRng rng(5, 2);
    for (std::uint64_t trial = 0; trial < 300; ++trial) {
        std::string changed = text;
        changed[rng.below(2 * trial, text.size())] = "\t\n0-9ae{}\"x"[rng.below(2 * trial + 1, 11)];
        write_text(damaged, changed);
        const std::string failure = failure_of([&] {
            merge({{damaged, two[1]}, lab.file("any.bw")}, lab.runtime());
        });
        INFO(failure);
        REQUIRE(failure.find("internal") == std::string::npos);
    }
}
