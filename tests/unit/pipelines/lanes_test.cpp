#include "pipelines/lanes.hpp"

#include "pipelines/window_feed.hpp"
#include "tests/support/pipeline_lab.hpp"
#include "tests/support/places.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::dna;
using mambase::test::failure_of;

namespace {

constexpr CallSize kWhole{8192, 8192};

io::WindowPiece window_of(std::int64_t length, std::uint64_t seed) {
    const std::string bases = test::gapped_bases(static_cast<std::size_t>(length), seed, 0, 1);
    io::WindowPiece piece;
    piece.begin = static_cast<std::int64_t>(seed) * 1000;
    piece.codes.resize(bases.size());
    dna().encode(bases, piece.codes.data());
    piece.first = true;
    piece.last = true;
    piece.score_begin = piece.begin + length / 3;
    piece.score_end = piece.begin + length;
    return piece;
}

/// What came out for one base or row, and of which window.
struct Value {
    std::int64_t tag;
    std::int64_t position;
    std::vector<double> values;
    friend bool operator==(const Value&, const Value&) = default;
};

Runtime runtime_of(const test::PipelineLab& lab, const test::Place& place, int threads) {
    Runtime runtime = lab.runtime(threads);
    runtime.device = place.device;
    runtime.precision = place.activations;
    return runtime;
}

struct Bench {
    explicit Bench(const test::Place& place = {}, int threads = 1)
        : runtime(runtime_of(lab, place, threads)),
          engine(runtime),
          model(model::Model::load(lab.model_dir(), host_allocator()).on_device(engine.queue())) {}

    test::PipelineLab lab;
    Runtime runtime;
    Engine engine;
    model::Model model;

    std::vector<Value> losses(const std::vector<TaggedPiece>& pieces, CallSize size) {
        std::vector<Value> out;
        LossLanes lanes(engine, model, dna(), size, [&](const LossRows& rows) {
            for (std::int64_t i = 0; i < rows.count; ++i) {
                out.push_back({rows.source.tag,
                               rows.begin + i,
                               {rows.nats[i], static_cast<double>(rows.scored[i]),
                                static_cast<double>(rows.codes[i]),
                                rows.scored[i] != 0.0F ? static_cast<double>(rows.best[i]) : 0.0}});
            }
        });
        for (const TaggedPiece& piece : pieces) {
            lanes.add(piece);
        }
        lanes.flush();
        return out;
    }
    std::vector<Value> hidden(const std::vector<TaggedPiece>& pieces, CallSize size) {
        std::vector<Value> out;
        HiddenLanes lanes(engine, model, size, model::kLastLayer, [&](const HiddenRows& rows) {
            const std::int64_t dim = model.config().d_model;
            for (std::int64_t i = 0; i < rows.count; ++i) {
                out.push_back(
                    {rows.source.tag, rows.begin + i,
                     std::vector<double>(rows.rows + i * dim, rows.rows + (i + 1) * dim)});
                REQUIRE(rows.codes[i] == rows.source.piece.codes[static_cast<std::size_t>(
                                             rows.begin + i - rows.source.piece.begin)]);
            }
        });
        for (const TaggedPiece& piece : pieces) {
            lanes.add(piece);
        }
        lanes.flush();
        return out;
    }
};

std::vector<TaggedPiece> windows() {
    std::vector<TaggedPiece> out;
    const std::vector<std::int64_t> lengths = {200, 1, 2, 200, 7, 190, 64, 65, 63, 1, 1, 500, 3};
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        out.push_back({static_cast<std::int64_t>(i), window_of(lengths[i], i + 1)});
    }
    return out;
}

/// The same window in pieces of `size` codes.
std::vector<TaggedPiece> in_pieces(const io::WindowPiece& whole, std::int64_t size) {
    std::vector<TaggedPiece> out;
    const auto length = static_cast<std::int64_t>(whole.codes.size());
    for (std::int64_t from = 0; from < length; from += size) {
        const std::int64_t to = std::min(from + size, length);
        io::WindowPiece piece = whole;
        piece.codes.assign(whole.codes.begin() + from, whole.codes.begin() + to);
        piece.begin = whole.begin + from;
        piece.first = from == 0;
        piece.last = to == length;
        piece.next = piece.last ? -1 : whole.codes[static_cast<std::size_t>(to)];
        piece.score_end = std::min(whole.score_end, whole.begin + to + (piece.last ? 0 : 1));
        piece.score_begin = std::min(piece.score_end, whole.score_begin);
        out.push_back({0, piece});
    }
    return out;
}

}  // namespace

TEST_CASE("windows side by side, alone and in chunks of any length give the same bits", "[lanes]") {
    Bench bench;
    const std::vector<TaggedPiece> pieces = windows();
    const std::vector<Value> losses = bench.losses(pieces, kWhole);
    const std::vector<Value> hidden = bench.hidden(pieces, kWhole);
    for (const std::int64_t chunk : {1, 3, 64, 199}) {
        INFO("chunk " << chunk);
        REQUIRE(bench.losses(pieces, {chunk, 8192}) == losses);
        REQUIRE(bench.hidden(pieces, {chunk, 8192}) == hidden);
    }
    std::vector<Value> losses_alone;
    std::vector<Value> hidden_alone;
    for (const TaggedPiece& piece : pieces) {
        const std::vector<Value> l = bench.losses({piece}, kWhole);
        const std::vector<Value> h = bench.hidden({piece}, kWhole);
        losses_alone.insert(losses_alone.end(), l.begin(), l.end());
        hidden_alone.insert(hidden_alone.end(), h.begin(), h.end());
    }
    REQUIRE(losses_alone == losses);
    REQUIRE(hidden_alone == hidden);
}

TEST_CASE("windows fill a lane, then the next; long ones start on a tile's border", "[lanes]") {
    LanePacking packing(100);
    const auto place = [&](std::int64_t window) {
        const LanePlace at = packing.add(window);
        return std::pair(at.lane, at.at);
    };
    using At = std::pair<std::int64_t, std::int64_t>;
    REQUIRE(packing.rows() == 0);
    REQUIRE(place(30) == At{0, 0});
    REQUIRE(place(30) == At{0, 30});
    REQUIRE(place(30) == At{0, 60});
    REQUIRE(place(11) == At{1, 0});  // not across the border
    REQUIRE(packing.lanes() == 2);
    REQUIRE(packing.length() == 90);
    REQUIRE(place(89) == At{1, 11});  // up to it
    REQUIRE(packing.rows() == 200);
    REQUIRE(place(350) == At{2, 0});
    REQUIRE(place(60) == At{3, 0});  // would end at 410, past the longest window
    REQUIRE(place(60) == At{3, 100});
    REQUIRE(place(101) == At{3, 200});
    REQUIRE(place(49) == At{3, 301});
    REQUIRE(packing.rows() == 4 * 350);
    REQUIRE_FALSE(packing.is_wasteful());
    REQUIRE(place(1) == At{4, 0});
}

TEST_CASE("packed windows have the bits that each has alone, in order", "[lanes]") {
    for (const test::Place& place : test::places()) {
        Bench bench(place, 2);
        const std::int64_t tile = bench.engine.run_tile();
        std::vector<std::int64_t> lengths = {
            1,    2,    3,    149,      150, 151, 5000, 1, 3, 2 * tile + 900, 5 * tile, 300, 5000,
            tile, tile, 2000, tile + 1, 1,   2,   3,    2, 1};
        const CounterRng rng(5, 5);
        for (std::uint64_t i = 0; i < 150; ++i) {
            lengths.push_back(1 + static_cast<std::int64_t>(rng.below(i, i < 75 ? 400 : 2)));
        }
        lengths.insert(lengths.end(), 150, 150);
        std::vector<TaggedPiece> pieces;
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            pieces.push_back({static_cast<std::int64_t>(i), window_of(lengths[i], i + 1)});
        }
        const CallSize size = bench.engine.reading(bench.model.config(), 0);
        std::vector<Value> losses;
        std::vector<Value> hidden;
        for (const TaggedPiece& piece : pieces) {
            const std::vector<Value> l = bench.losses({piece}, size);
            const std::vector<Value> h = bench.hidden({piece}, size);
            losses.insert(losses.end(), l.begin(), l.end());
            hidden.insert(hidden.end(), h.begin(), h.end());
        }
        INFO(place.text());
        // The second: many calls, of which one is computed while the one before is taken.
        for (const CallSize at_once : {size, CallSize{size.chunk, 2 * tile}}) {
            REQUIRE((bench.losses(pieces, at_once) == losses));
            REQUIRE((bench.hidden(pieces, at_once) == hidden));
        }
        for (const int threads : {1, 4}) {
            Bench other(place, threads);
            REQUIRE((other.losses(pieces, size) == losses));
        }
        std::reverse(pieces.begin(), pieces.end());
        const auto by_tag = [](std::vector<Value> values) {
            std::stable_sort(values.begin(), values.end(),
                             [](const Value& a, const Value& b) { return a.tag < b.tag; });
            return values;
        };
        REQUIRE((by_tag(bench.losses(pieces, size)) == losses));
        REQUIRE((by_tag(bench.hidden(pieces, size)) == hidden));
    }
}

TEST_CASE("pooled rows are the sums of hidden rows, whatever the chunk", "[lanes]") {
    const std::int64_t bin = GENERATE(std::int64_t{7}, std::int64_t{1000});
    for (const test::Place& place : test::places()) {
        Bench bench(place, 2);
        const std::int64_t tile = bench.engine.run_tile();
        const std::vector<std::int64_t> lengths = {200, 1, 2, 5 * tile, 7, 190, 900, 1, tile, 3};
        std::vector<TaggedPiece> pieces;
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            pieces.push_back({static_cast<std::int64_t>(i), window_of(lengths[i], i + 1)});
        }
        // Windows of one bin follow one another: rows go on from one window to the next.
        const auto bin_of = [bin](std::int64_t position) { return position / bin; };
        const CallSize size = bench.engine.reading(bench.model.config(), 0);
        const auto dim = static_cast<std::size_t>(bench.model.config().d_model);
        std::vector<Value> expected;
        for (const Value& hidden : bench.hidden(pieces, size)) {
            const TaggedPiece& piece = pieces[static_cast<std::size_t>(hidden.tag)];
            const std::uint8_t code =
                piece.piece.codes[static_cast<std::size_t>(hidden.position - piece.piece.begin)];
            if (!dna().is_acgt(code)) {
                continue;
            }
            const std::int64_t row = bin_of(hidden.position);
            if (expected.empty() || expected.back().tag != row) {
                expected.push_back({row, 0, std::vector<double>(dim, 0.0)});
            }
            ++expected.back().position;
            for (std::size_t i = 0; i < dim; ++i) {
                expected.back().values[i] += hidden.values[i];
            }
        }
        for (const CallSize at_once :
             {size, CallSize{bench.engine.chunk(64), size.rows},
              CallSize{bench.engine.chunk(150), size.rows}, CallSize{size.chunk, tile}}) {
            std::vector<Value> pooled;
            PooledLanes lanes(
                bench.engine, bench.model, dna(), at_once, model::kLastLayer, ops::PoolMode::mean,
                [&](const TaggedPiece&, io::Interval positions) {
                    const std::int64_t row = bin_of(positions.begin);
                    return PooledStretch{row, std::min((row + 1) * bin, positions.end)};
                },
                [&](std::int64_t row, const double* sum, std::int64_t count) {
                    pooled.push_back({row, count, std::vector<double>(sum, sum + dim)});
                });
            for (const TaggedPiece& piece : pieces) {
                lanes.add(piece);
            }
            lanes.flush();
            CAPTURE(place.text(), bin, at_once.chunk, at_once.rows);
            REQUIRE((pooled == expected));
        }
    }
}

TEST_CASE("a window in pieces carries its state", "[lanes]") {
    Bench bench;
    const io::WindowPiece whole = window_of(300, 3);
    const std::vector<Value> losses = bench.losses({{0, whole}}, kWhole);
    const std::vector<Value> hidden = bench.hidden({{0, whole}}, kWhole);
    for (const std::int64_t size : {1, 50, 299}) {
        INFO("pieces of " << size);
        REQUIRE(bench.losses(in_pieces(whole, size), {37, 8192}) == losses);
        REQUIRE(bench.hidden(in_pieces(whole, size), {37, 8192}) == hidden);
    }
}

TEST_CASE("every position that counts comes once, in order", "[lanes]") {
    Bench bench;
    const std::vector<TaggedPiece> pieces = windows();
    const std::vector<Value> hidden = bench.hidden(pieces, {100, 8192});
    const std::vector<Value> losses = bench.losses(pieces, {100, 8192});
    std::size_t h = 0;
    std::size_t l = 0;
    for (const TaggedPiece& tagged : pieces) {
        const io::WindowPiece& piece = tagged.piece;
        for (std::int64_t p = piece.score_begin; p < piece.score_end; ++p) {
            REQUIRE(hidden.at(h).tag == tagged.tag);
            REQUIRE(hidden.at(h++).position == p);
            if (p == piece.begin) {
                continue;  // nothing predicts it
            }
            const std::uint8_t code = piece.codes[static_cast<std::size_t>(p - piece.begin)];
            const Value& loss = losses.at(l++);
            REQUIRE(loss.tag == tagged.tag);
            REQUIRE(loss.position == p);
            REQUIRE(loss.values.at(2) == code);
            REQUIRE((loss.values.at(1) == 1.0) == dna().is_acgt(code));
            REQUIRE((loss.values.at(0) > 0.0) == dna().is_acgt(code));
        }
    }
    REQUIRE(h == hidden.size());
    REQUIRE(l == losses.size());
}

TEST_CASE("a feed gives what was read, then what went wrong", "[lanes]") {
    const test::PipelineLab lab;
    const std::string good = lab.fasta("good.fa", {"a", "ACGTACGT", "b", "", "c", "AC"});
    const std::string bad = lab.fasta("bad.fa", {"d", "ACGT", "e", "AC-T"});
    const std::vector<std::string> files = {good, bad};
    WindowFeed feed(
        2, [&](std::int64_t i) { return read_file(files[static_cast<std::size_t>(i)], {}); }, dna(),
        {.context = 4});
    std::vector<std::string> pieces;
    std::vector<std::string> ended;
    const std::string failure = failure_of([&] {
        Delivery delivery;
        while (feed.next(delivery)) {
            for (const io::RecordSummary& record : delivery.ended) {
                ended.push_back(concat(record.name, " ", record.length));
            }
            pieces.push_back(delivery.piece ? *delivery.piece->name
                                            : concat("end of ", delivery.reading));
        }
    });
    pieces.resize(3);  // how much of the bad file came before its error is left open
    ended.resize(3);
    REQUIRE(pieces == std::vector<std::string>{"a", "c", "end of 0"});
    REQUIRE(ended == std::vector<std::string>{"a 8", "b 0", "c 2"});
    REQUIRE(failure.find("format: " + bad) == 0);
}

TEST_CASE("a feed that is left early ends its thread", "[lanes]") {
    const test::PipelineLab lab;
    const std::string path = lab.fasta("long.fa", {"a", test::markov_bases(20'000, 1)});
    WindowFeed feed(1, [&](std::int64_t) { return read_file(path, {}); }, dna(), {.context = 8});
    Delivery delivery;
    REQUIRE(feed.next(delivery));
}
