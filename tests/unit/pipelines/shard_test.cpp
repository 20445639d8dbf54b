// n shards, merged, give the bytes of the run without shards, for every way of cutting.
#include "pipelines/shard.hpp"

#include "base/file.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/evaluate.hpp"
#include "pipelines/merge.hpp"
#include "tests/support/pipeline_lab.hpp"
#include "tests/unit/pipelines/shard_lab.hpp"

#include <algorithm>
#include <filesystem>
#include <numeric>
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

EmbedOptions embedding(const test::PipelineLab& lab, const std::vector<std::string>& inputs) {
    return test::options_of<EmbedOptions>(lab, inputs, "out.npy");
}

EvaluateOptions evaluation(const test::PipelineLab& lab, const std::vector<std::string>& inputs) {
    return test::options_of<EvaluateOptions>(lab, inputs, "out.tsv");
}

std::vector<std::string> shards_of(const test::PipelineLab& lab,
                                   const EmbedOptions& options,
                                   std::int64_t count) {
    return shards_of(lab, options, count, ".npy", embed);
}

std::vector<std::string> shards_of(const test::PipelineLab& lab,
                                   const EvaluateOptions& options,
                                   std::int64_t count) {
    return shards_of(lab, options, count, "", evaluate);
}

void require_same_embeddings(const test::PipelineLab& lab, const EmbedOptions& options) {
    const EmbedReport whole = embed(options, lab.runtime());
    make_directories(lab.file("merged"));
    for (const std::int64_t count : kCounts) {
        INFO("shards: " << count);
        const std::string merged = lab.file("merged/out.npy");
        const MergeReport report = merge({shards_of(lab, options, count), merged}, lab.runtime());
        REQUIRE(report.embedding->rows == whole.rows);
        REQUIRE(report.embedding->records == whole.records);
        for (const std::string suffix : {"out.rows.tsv", "out.json", "out.npy"}) {
            INFO(suffix);
            REQUIRE(read_text(lab.file("merged/" + suffix)) == read_text(lab.file(suffix)));
        }
    }
}

void require_same_table(const test::PipelineLab& lab, const EvaluateOptions& options) {
    const EvaluateReport whole = evaluate(options, lab.runtime());
    const std::string table = read_text(options.output);
    REQUIRE(whole.all.all().bases > 0);
    for (const std::int64_t count : kCounts) {
        INFO("shards: " << count);
        const std::string merged = lab.file("merged.tsv");
        const MergeReport report = merge({shards_of(lab, options, count), merged}, lab.runtime());
        REQUIRE(read_text(merged) == table);
        REQUIRE(report.evaluation->all.all().nats == whole.all.all().nats);
        REQUIRE(report.evaluation->contigs == whole.contigs);
    }
}

/// The rows of each shard, of n.
std::vector<std::int64_t> shares(const test::PipelineLab& lab,
                                 EmbedOptions options,
                                 std::int64_t count) {
    std::vector<std::int64_t> rows;
    for (std::int64_t index = 0; index < count; ++index) {
        options.reading.shard = Shard{index, count};
        rows.push_back(embed(options, lab.runtime()).rows);
    }
    return rows;
}

}  // namespace

TEST_CASE("intervals are shared out in blocks of the grid", "[shard]") {
    const std::vector<io::Interval> intervals = {{5, 25}, {30, 30}, {10, 20}, {99, 101}};
    // Units of ten: 3, 1, 1 and 2.
    const auto share = [&](std::int64_t index, std::int64_t count) {
        std::string text;
        for (const auto& own : share_on_grid({index, count}, intervals, 10)) {
            text += own ? concat('[', own->begin, ' ', own->end, ')') : "-";
        }
        return text;
    };
    REQUIRE(share(0, 1) == "[5 25)[30 30)[10 20)[99 101)");
    REQUIRE(share(0, 2) == "[5 25)[30 30)--");
    REQUIRE(share(1, 2) == "--[10 20)[99 101)");
    REQUIRE(share(0, 7) == "[5 10)---");
    REQUIRE(share(2, 7) == "[20 25)---");
    REQUIRE(share(5, 7) == "---[99 100)");
    REQUIRE(share(6, 8) == "---[100 101)");
    REQUIRE(share(7, 8) == "----");
    REQUIRE(share_on_grid({0, 3}, {}, 10).empty());
}

TEST_CASE("a row is of the shard that has its first base", "[shard]") {
    const test::PipelineLab lab;
    const std::string input = lab.fasta("in.fa", {"x", test::markov_bases(640, 1)});
    EmbedOptions options = embedding(lab, {input});
    options.strand = StrandChoice::forward;
    REQUIRE(shares(lab, options, 2) == std::vector<std::int64_t>{320, 320});
    REQUIRE(shares(lab, options, 3) == std::vector<std::int64_t>{256, 192, 192});
    options.pool = Pooling::bins(100);  // begin at 0, 100, … 600
    REQUIRE(shares(lab, options, 2) == std::vector<std::int64_t>{4, 3});
    options.pool = Pooling::bins(500);
    REQUIRE(shares(lab, options, 3) == std::vector<std::int64_t>{1, 0, 1});
    options.pool = {Pool::mean, 0};
    REQUIRE(shares(lab, options, 3) == std::vector<std::int64_t>{1, 0, 0});
    options.reading.context = kWholeContext;
    options.pool = {};
    REQUIRE(shares(lab, options, 2) == std::vector<std::int64_t>{640, 0});
}

TEST_CASE("merged shards of embed are the run without them", "[shard][embed]") {
    const test::PipelineLab lab;
    EmbedOptions options = embedding(lab, {lab.fasta("in.fa", contigs())});
    options.strand = GENERATE(StrandChoice::concat, StrandChoice::forward, StrandChoice::reverse,
                              StrandChoice::mean);
    INFO("strand " << name(options.strand));
    SECTION("rows of bases") {
        require_same_embeddings(lab, options);
    }
    SECTION("bins shorter and longer than the context") {
        for (const std::int64_t bin : {1, 50, 64, 200, 5000}) {
            options.pool = Pooling::bins(bin);
            require_same_embeddings(lab, options);
        }
    }
    SECTION("a row a record, f32") {
        options.pool = {Pool::mean, 0};
        options.dtype = io::RowType::f32;
        require_same_embeddings(lab, options);
    }
    SECTION("context whole: by record") {
        options.reading.context = kWholeContext;
        require_same_embeddings(lab, options);
        options.pool = Pooling::bins(50);
        require_same_embeddings(lab, options);
    }
    SECTION("regions, that touch and overlap, too") {
        options.reading.regions = {"y:100-400", "x:1-700", "x:701-800", "x:650-1,200", "y"};
        require_same_embeddings(lab, options);
        options.pool = {Pool::mean, 0};
        require_same_embeddings(lab, options);
        options.pool = Pooling::bins(90);
        require_same_embeddings(lab, options);
        options.reading.context = kWholeContext;
        options.pool = {};
        require_same_embeddings(lab, options);
    }
}

TEST_CASE("what cannot be cut on a grid is cut by record", "[shard][embed]") {
    const test::PipelineLab lab;
    EmbedOptions options = embedding(lab, {});
    options.strand = GENERATE(StrandChoice::concat, StrandChoice::forward);
    options.pool = GENERATE(Pooling{}, Pooling{Pool::last, 0}, Pooling::bins(30));
    const int kind = GENERATE(0, 1, 2);
    options.reading.inputs = {kind == 1 ? uneven(lab) : reads(lab)};
    if (kind == 2) {
        options.reading.inputs.insert(options.reading.inputs.begin(),
                                      lab.fasta("in.fa", contigs()));
    }
    require_same_embeddings(lab, options);
}

TEST_CASE("several files are shared out together", "[shard]") {
    const test::PipelineLab lab;
    std::vector<std::string> inputs;
    for (std::size_t i = 0; i < 5; ++i) {
        inputs.push_back(lab.fasta(concat("in", i, ".fa"), {"x", test::markov_bases(100, i)}));
    }
    EmbedOptions options = embedding(lab, inputs);
    REQUIRE(shares(lab, options, 5) == std::vector<std::int64_t>{100, 100, 100, 100, 100});
    require_same_embeddings(lab, options);
    require_same_table(lab, evaluation(lab, inputs));
    options.reading.context = kWholeContext;
    REQUIRE(shares(lab, options, 5) == std::vector<std::int64_t>{100, 100, 100, 100, 100});
    EvaluateOptions whole = evaluation(lab, inputs);
    whole.reading.context = kWholeContext;
    require_same_table(lab, whole);
}

TEST_CASE("merged shards of evaluate are the table without them", "[shard][evaluate]") {
    const test::PipelineLab lab;
    EvaluateOptions options = evaluation(lab, {lab.fasta("in.fa", contigs())});
    options.baseline = {1, 3};
    options.baseline_train = {lab.fasta("train.fa", {"t", test::markov_bases(3000, 8)})};
    options.reading.context = GENERATE(std::int64_t{64}, std::int64_t{0});
    using By = EvaluateOptions::By;
    SECTION("whole files") {
        options.by = GENERATE(By::contig, By::position, By::all);
        require_same_table(lab, options);
    }
    SECTION("regions") {
        options.reading.regions = {"y:100-400", "x:1-700", "x:701-800", "x:650-1,200", "y"};
        options.by = GENERATE(By::region, By::contig, By::position, By::all);
        require_same_table(lab, options);
    }
    SECTION("reads, and lines of uneven length") {
        options.reading.inputs = {reads(lab), uneven(lab)};
        require_same_table(lab, options);
    }
    SECTION("contexts") {
        options.contexts = {8, 100};
        if (*options.reading.context == kWholeContext) {
            options.contexts.push_back(kWholeContext);
        }
        options.reading.context.reset();
        require_same_table(lab, options);
        options.reading.regions = {"y:100-400", "x"};
        options.by = By::region;
        require_same_table(lab, options);
    }
}

TEST_CASE("only the shards of one run can be merged, each once", "[shard]") {
    const test::PipelineLab lab;
    const std::string input = lab.fasta("in.fa", contigs());
    EmbedOptions options = embedding(lab, {input});
    options.strand = StrandChoice::forward;
    const std::vector<std::string> shards = shards_of(lab, options, 7);  // 7, 6, … 1
    const std::string output = lab.file("merged.npy");
    const auto merging = [&](std::vector<std::string> paths) {
        const std::string failure = failure_of([&] {
            merge({std::move(paths), output}, lab.runtime());
        });
        REQUIRE(!exists(output));
        REQUIRE(!exists(lab.file("merged.rows.tsv")));
        REQUIRE(!exists(lab.file("merged.json")));
        REQUIRE(std::count(failure.begin(), failure.end(), '\n') == 0);
        return failure;
    };
    std::vector<std::string> some(shards);
    some.erase(some.begin() + 2);
    some.pop_back();
    REQUIRE(merging(some) == "usage: of 7 shards these are missing: 1, 5");
    some = shards;
    some[0] = lab.file("copy.npy");
    for (const std::string suffix : {".npy", ".json", ".rows.tsv"}) {
        std::filesystem::copy(lab.file("shard3of7" + suffix), lab.file("copy" + suffix));
    }
    REQUIRE(merging(some) ==
            concat("usage: ", lab.file("shard3of7.npy"), ": is shard 3 of 7, as is ", some[0]));

    const auto foreign = [&](const EmbedOptions& other, Shard shard, const std::string& reason) {
        EmbedOptions changed = other;
        changed.reading.shard = shard;
        changed.output = lab.file("foreign.npy");
        embed(changed, lab.runtime());
        some = shards;
        some[6] = changed.output;
        const std::string failure = merging(some);
        INFO(failure);
        REQUIRE(failure.find(concat("usage: ", changed.output, ": is a shard of another run")) ==
                0);
        REQUIRE(failure.find(reason) != std::string::npos);
    };
    EmbedOptions other = options;
    other.layer = 1;
    foreign(other, {0, 7}, "layer is 1, not \"last\"");
    other = options;
    other.reading.gap = 31;
    foreign(other, {0, 7}, "gap is 31, not 30");
    foreign(options, {0, 6}, "shard count is 6, not 7");
    other = options;
    other.reading.inputs = {lab.fasta("other.fa", {"x", test::markov_bases(1501, 1)})};
    foreign(other, {0, 7}, "shard input is ");
    other = options;
    other.reading.context = kWholeContext;
    foreign(other, {0, 7}, "context is \"whole\", not 64");

    embed(options, lab.runtime());
    REQUIRE(merging({options.output}).find("is not a shard") != std::string::npos);
    REQUIRE(merging({input}).find("neither an array of embed") != std::string::npos);
    REQUIRE(merging({}).find("no shard to merge") != std::string::npos);
    REQUIRE(failure_of([&] {
                merge({shards, shards[3]}, lab.runtime());
            }).find("is a shard and the output") != std::string::npos);
    REQUIRE(failure_of([&] {
                merge({shards, lab.file("x.tsv")}, lab.runtime());
            }).find("ends in .npy") != std::string::npos);
}

TEST_CASE("shards of evaluate are looked at before they are merged", "[shard]") {
    const test::PipelineLab lab;
    EvaluateOptions options = evaluation(lab, {lab.fasta("in.fa", contigs())});
    const std::vector<std::string> shards = shards_of(lab, options, 2);
    const std::string output = lab.file("merged.tsv");
    const auto merging = [&](const std::vector<std::string>& paths) {
        const std::string failure = failure_of([&] { merge({paths, output}, lab.runtime()); });
        REQUIRE(!exists(output));
        return failure;
    };
    REQUIRE(merging({shards[0]}) == "usage: of 2 shards these are missing: 1");
    REQUIRE(merging({shards[1], shards[1]}).find("is shard 1 of 2, as is ") != std::string::npos);
    options.by = EvaluateOptions::By::position;
    options.reading.shard = Shard{0, 2};
    options.output = lab.file("other");
    evaluate(options, lab.runtime());
    REQUIRE(merging({shards[0], options.output}).find("by is \"position\", not \"contig\"") !=
            std::string::npos);
    EmbedOptions array = embedding(lab, options.reading.inputs);
    array.reading.shard = Shard{0, 2};
    embed(array, lab.runtime());
    REQUIRE(merging({shards[0], array.output}).find("is a shard of another command") !=
            std::string::npos);

    // Cut anywhere, or with a line that is none: refused, with the file's name.
    const std::string text = read_text(shards[0]);
    const std::string damaged = lab.file("damaged");
    for (std::size_t size = 0; size < text.size(); size += 1 + text.size() / 97) {
        write_text(damaged, text.substr(0, size));
        const std::string failure = merging({damaged, shards[1]});
        INFO(size << ": " << failure);
        REQUIRE(failure.find("format: " + damaged) == 0);
    }
    const CounterRng rng(5, 1);
    for (std::uint64_t trial = 0; trial < 300; ++trial) {
        std::string changed = text;
        changed[rng.below(2 * trial, text.size())] = "\t\n0-9ae{}\"x"[rng.below(2 * trial + 1, 11)];
        write_text(damaged, changed);
        const std::string failure = failure_of([&] {
            merge({{damaged, shards[1]}, lab.file("any.tsv")}, lab.runtime());
        });
        INFO(changed << ": " << failure);
        REQUIRE(failure.find("internal") == std::string::npos);
    }
    for (const auto& [from, to] :
         {std::pair{"\nsum\tcontig\t0", "\nsum\tcontig\t1"}, std::pair{"\nsum\t", "\nsun\t"},
          std::pair{"\npart\t0", "\npart\tx"}, std::pair{"shard\t1\n", "shard\t2\n"}}) {
        std::string changed = text;
        changed.replace(changed.find(from), std::string(from).size(), to);
        write_text(damaged, changed);
        const std::string failure = merging({damaged, shards[1]});
        INFO(failure);
        REQUIRE(failure.find("format: " + damaged + ": line ") == 0);
    }
}

TEST_CASE("arrays that are cut off are not merged", "[shard]") {
    const test::PipelineLab lab;
    EmbedOptions options = embedding(lab, {lab.fasta("in.fa", contigs())});
    const std::vector<std::string> shards = shards_of(lab, options, 2);
    const auto merging = [&] {
        return failure_of([&] { merge({shards, lab.file("merged.npy")}, lab.runtime()); });
    };
    const std::string array = read_text(shards[0]);
    write_text(shards[0], array.substr(0, array.size() - 1));
    REQUIRE(merging().find("is not the array that its description tells of") != std::string::npos);
    write_text(shards[0], array);
    const std::string table_path = lab.file("shard2of2.rows.tsv");
    const std::string table = read_text(table_path);
    write_text(table_path, table.substr(0, table.rfind("z\t")));
    REQUIRE(merging().find("has not all rows of the array") != std::string::npos);
    write_text(table_path, table.substr(0, table.size() - 3));
    REQUIRE(merging().find("was cut off") != std::string::npos);
    write_text(table_path, table);
    REQUIRE(merging().empty());
}

TEST_CASE("shards that are none are refused", "[shard]") {
    const test::PipelineLab lab;
    EmbedOptions options = embedding(lab, {"in.fa"});
    options.reading.shard = Shard{7, 7};
    REQUIRE(failure_of([&] { options.validate(); }).find("not 8/7") != std::string::npos);
    options.reading.shard = Shard{0, 1'000'000};
    REQUIRE(failure_of([&] { options.validate(); }).find("at most 100000") != std::string::npos);
}
