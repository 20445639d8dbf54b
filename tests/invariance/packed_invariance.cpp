// Runs that share a lane are runs apart: the bits of each are those that it has alone.
#include "kernels/ops/op_table.hpp"
#include "model/forward.hpp"
#include "tests/support/places.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

namespace mambase::model {

using test::bytes_of;
using test::Place;
using test::PlacedContext;
using test::places;
using test::random_ids;
using test::random_model;
using test::small_config;

TEST_CASE("forward: runs packed by the tile have the bits that each has alone") {
    struct Run {
        std::int64_t begin, length;
    };
    for (const Place& place : places()) {
        PlacedContext context(place, 2);
        const Model model = context.up(random_model(small_config(), 7));
        const std::int64_t tile = (*context).table.run_tile;
        // Between two runs of a lane the first one's id goes on. The long run starts where a tile
        // does, behind others, and passes through a whole tile.
        const std::vector<std::vector<Run>> lanes{
            {{0, 1},
             {1, 2},
             {3, 3},
             {6, 149},
             {155, 150},
             {305, 151},
             {tile, 2 * tile + 904},
             {3 * tile + 904, 150},
             {4 * tile, 7}},
            {{0, tile + 5}, {tile + 5, 3}, {2 * tile, tile}, {3 * tile, 1}, {3 * tile + 1, 400}}};
        const std::int64_t length = 4 * tile + 7;
        const Tensor ids = random_ids(2, length, 12, 9);
        std::vector<std::int32_t> segment(static_cast<std::size_t>(2 * length));
        for (std::size_t lane = 0; lane < 2; ++lane) {
            for (std::size_t i = 0; i < lanes[lane].size(); ++i) {
                const auto from = segment.begin() + static_cast<std::ptrdiff_t>(lane) * length;
                std::fill(from + lanes[lane][i].begin, from + length, static_cast<int>(i));
            }
        }
        const Tensor placed = context.up(ids.view());
        const auto rows = [&](ConstTensorView piece, ConstTensorView segments) {
            StateBank bank(model.config(), piece.extent(0), context.queue());
            Tensor out = context.make(DType::f32, {piece.extent(0), piece.extent(1), 12});
            forward_hidden(*context, model, {piece, {}, segments}, bank, kLastLayer, out.view());
            return context.down(out.view());
        };
        const Tensor segments = context.up({segment.data(), DType::i32, {2, length}});
        const Tensor packed = rows(placed.view(), segments.view());
        for (std::int64_t lane = 0; lane < 2; ++lane) {
            for (const Run& run : lanes[static_cast<std::size_t>(lane)]) {
                const auto part = [&](ConstTensorView all) {
                    return all.slice(0, lane, lane + 1).slice(1, run.begin, run.begin + run.length);
                };
                CAPTURE(place.text(), lane, run.begin, run.length);
                CHECK((bytes_of(part(packed.view())) ==
                       bytes_of(rows(part(placed.view()), {}).view())));
            }
        }
    }
}

}  // namespace mambase::model
