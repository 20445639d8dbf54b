#include "kernels/ops/embedding.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/reference/embedding.hpp"
#include "tests/support/tensor_tools.hpp"

#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

std::vector<Backend> tested_backends() {
    return scalar_and_devices("embedding", &ops::OpTable::embedding_forward,
                              &ops::OpTable::embedding_backward);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Case {
    std::int64_t batch, length, vocabulary, width;
    std::uint64_t seed = 1;
    bool aligned = true;  // rows, to 8 elements

    std::int64_t gap(std::int64_t odd) const { return aligned ? kAlignedGap : odd; }

    std::string text() const {
        return concat("embedding [", batch, ", ", length, "] of [", vocabulary, ", ", width,
                      "] seed ", seed, aligned ? "" : " unaligned");
    }
};

struct Lab {
    Case at;
    Tensor ids, table;
    StridedTensor dy, y;
    Tensor dtable;

    explicit Lab(const Case& c, DType activations = DType::f32)
        : at(c),
          ids(random_ids(DType::u8, {c.batch, c.length}, c.vocabulary, c.seed, 1)),
          table(rounded(normal_tensor({c.vocabulary, c.width}, c.seed, 2), activations)),
          dy(rounded(normal_tensor({c.batch, c.length, c.width}, c.seed, 3), activations),
             at.gap(3),
             kNan),
          y({c.batch, c.length, c.width}, at.gap(2), kNan),
          dtable(filled(DType::f64, {c.vocabulary, c.width}, 1.0)) {}

    void forward(Run& run, std::int64_t lo, std::int64_t hi) {
        ops::Embedding op;
        op.ids = ids.view().slice(1, lo, hi);
        op.table = table.view();
        op.y = y.view().slice(1, lo, hi);
        ops::embedding_forward(run.context(), op);
    }

    void backward(Run& run, std::int64_t lo, std::int64_t hi) {
        ops::EmbeddingGrad op;
        op.ids = ids.view().slice(1, lo, hi);
        op.dy = dy.view().slice(1, lo, hi);
        op.dtable = dtable.view();
        ops::embedding_backward(run.context(), op);
    }
};

void check_case(const Case& c, const Backend& backend) {
    INFO(replay_line(backend, c.text()));
    Lab lab(c, backend.activations);
    Run run(backend);
    lab.forward(run, 0, c.length);
    lab.backward(run, 0, c.length);
    const Array ids = to_array(lab.ids.view());
    Array dtable = reference::embedding_grad(ids, to_array(lab.dy.view()), lab.dtable.shape());
    add_to(dtable, Array(dtable.shape, 1.0));
    const Array y = reference::embedding(ids, to_array(lab.table.view()));
    const Errors errors{backend, "embedding"};
    errors.values("y", lab.y.view(), y, 0.0);
    errors.norms("dtable", lab.dtable.view(), dtable);
    CHECK(lab.y.gaps_untouched());
}

/// With rows that vectors can read, and with others.
void check_against_reference(Case c, const Backend& backend) {
    for (const bool aligned : {true, false}) {
        c.aligned = aligned;
        check_case(c, backend);
    }
}

}  // namespace

TEST_CASE("embedding agrees with its reference") {
    std::vector<Case> cases = {{2, 0, 16, 8}, {1, 900, 4, 3}, {2, 300, 256, 40}, {1, 5, 1, 1}};
    for (const std::int64_t length : {1, 2, 3, 63, 64, 65, 257}) {
        cases.push_back({2, length, 16, 80});
    }
    for (const Backend& backend : tested_backends()) {
        for (const Case& c : cases) {
            check_against_reference(c, backend);
        }
    }
}

TEST_CASE("embedding agrees with its reference past a gradient tile") {
    for (const Backend& backend : tested_backends()) {
        check_against_reference({2, backend.table->gradient_tile + 77, 7, 5}, backend);
    }
}

TEST_CASE("embedding's reference backward is the gradient of its forward") {
    const Array ids = to_array(random_ids(DType::u8, {2, 5}, 4, 1, 1).view());
    Array table = to_array(normal_tensor({4, 3}, 1, 2).view());
    const Array dy = to_array(normal_tensor({2, 5, 3}, 1, 3).view());
    const auto loss = [&] { return inner_product(reference::embedding(ids, table), dy); };
    CHECK(relative_error(central_differences(table, loss),
                         reference::embedding_grad(ids, dy, table.shape)) < kFiniteDifference);
}

TEST_CASE("embedding has the same bits for chunks of whole tiles and every number of threads") {
    for (const Backend& backend : tested_backends()) {
        const std::int64_t tile = backend.table->gradient_tile;
        const Case c{3, 3 * tile + 232, 16, 20};
        Run run(backend);
        Lab whole(c);
        whole.forward(run, 0, c.length);
        whole.backward(run, 0, c.length);
        for (const int threads : thread_counts(backend)) {
            Run parallel(backend, threads);
            for (const std::int64_t chunk : {tile, 2 * tile, 4 * tile}) {
                INFO(replay_line(backend, c.text(), " chunk ", chunk, " threads ", threads));
                Lab lab(c);
                for (std::int64_t lo = (c.length - 1) / chunk * chunk; lo >= 0; lo -= chunk) {
                    lab.forward(parallel, lo, std::min(lo + chunk, c.length));
                    lab.backward(parallel, lo, std::min(lo + chunk, c.length));
                }
                CHECK(same_bits(lab.y.view(), whole.y.view()));
                CHECK(same_bits(lab.dtable.view(), whole.dtable.view()));
            }
        }
    }
}

TEST_CASE("an id past the table is refused with its position") {
    Lab lab({1, 5, 16, 8});
    static_cast<std::uint8_t*>(lab.ids.view().data())[3] = 16;
    Run run(cpu_backend(cpu::SimdLevel::scalar));
    CHECK_THROWS_WITH(lab.forward(run, 0, 5),
                      Catch::Contains("id 16 at position 3") && Catch::Contains("16 rows"));
    CHECK_THROWS_WITH(lab.backward(run, 0, 5), Catch::Contains("id 16 at position 3"));
}
