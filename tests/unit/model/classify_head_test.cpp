#include "model/classify_head.hpp"

#include "base/text.hpp"
#include "model/adamw.hpp"
#include "model/classifier.hpp"
#include "tests/support/places.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <cmath>
#include <cstring>

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::bytes_of;
using test::CpuContext;
using test::error_of;
using test::Place;
using test::PlacedContext;
using test::places;
using test::random_ids;
using test::random_model;
using test::small_config;

ModelConfig classes_config(std::int64_t classes = 3) {
    ModelConfig config = small_config();
    config.n_classes = classes;
    return config;
}

/// Windows, some rows of which do not count, and their labels.
struct Batch {
    Tensor ids;
    Tensor member;
    Tensor labels;

    ClassBatch view() const { return {ids.view(), member.view(), labels.view()}; }
    Batch up(PlacedContext& context) const {
        return {context.up(ids.view()), context.up(member.view()), context.up(labels.view())};
    }
};

Batch make_batch(std::int64_t lanes, std::int64_t length) {
    Batch out{random_ids(lanes, length, 12, 5),
              Tensor(host_allocator(), DType::i32, {lanes, length}, "member"),
              random_ids(lanes, 1, 3, 6)};
    const auto member = out.member.view().as<std::int32_t, 2>();
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
        for (std::int64_t t = 0; t < length; ++t) {
            member(lane, t) = (t + lane) % 5 == 0 ? -1 : 0;
        }
    }
    return out;
}

double loss_of(CpuContext& context, const Model& model, const Batch& batch, HeadPool pool) {
    Gradients gradients(model, host_queue());
    return classification_step(*context, model, batch.view(), pool, false, 1000, 1.0, gradients);
}

/// The bytes of all sums of gradients.
std::string all_bytes(PlacedContext& context, const Gradients& gradients) {
    std::string out;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        out += bytes_of(context.down(gradients.of(i)).view());
    }
    return out;
}

const char* const kClassifierText = R"({
  "format_version": 1,
  "labels": ["a", "b"],
  "pool": "last",
  "window": 100,
  "gap": 11,
  "temperatures": [{"length": 50, "value": 2.0}, {"length": 200, "value": 0.5}],
  "confidence": 0.75,
  "taxonomy": [{"taxid": 1, "parent": 0, "rank": "R", "name": "root", "label": ""}],
  "base_model": "abc",
  "frozen": true,
  "samples": "def"
})";

std::string with(std::string_view from, std::string_view to) {
    std::string text = kClassifierText;
    text.replace(text.find(from), from.size(), to);
    return text;
}

}  // namespace

TEST_CASE("classification step: every gradient agrees with differences of the loss") {
    for (const HeadPool pool : {HeadPool::mean, HeadPool::last}) {
        CpuContext context(2);
        Model model = random_model(classes_config(), 21);
        const Batch batch = make_batch(2, 37);
        Gradients gradients(model, host_queue());
        classification_step(*context, model, batch.view(), pool, false, 37, 1.0, gradients);
        for (std::size_t i = 0; i < model.params().size(); ++i) {
            Param& param = model.params()[i];
            CAPTURE(name(pool), param.name);
            const auto* const along = static_cast<const double*>(gradients.of(i).data());
            double slope = 0.0;
            for (std::int64_t k = 0; k < param.shape.count(); ++k) {
                slope += along[k] * along[k];
            }
            slope = std::sqrt(slope);
            REQUIRE(slope > 0.0);
            const double step = std::clamp(1e-3 / slope, 4e-3, 0.1);
            const std::string before = bytes_of(param.value.view());
            const auto loss_at = [&](double distance) {
                auto* const values = static_cast<float*>(param.value.view().data());
                for (std::int64_t k = 0; k < param.shape.count(); ++k) {
                    values[k] += static_cast<float>(distance / slope * along[k]);
                }
                const double loss = loss_of(context, model, batch, pool);
                std::memcpy(param.value.view().data(), before.data(), before.size());
                return loss;
            };
            CHECK((loss_at(step) - loss_at(-step)) / (2 * step) == Approx(slope).epsilon(0.02));
        }
    }
}

TEST_CASE("classification step: the same bits for every chunk and number of threads") {
    for (const Place& place : places()) {
        for (const HeadPool pool : {HeadPool::mean, HeadPool::last}) {
            std::string expected;
            double expected_loss = 0.0;
            const std::int64_t length = 2 * place.tile() + 57;
            const Batch batch = make_batch(2, length);
            for (const std::int64_t chunk : {length, std::int64_t{1}, 2 * place.tile()}) {
                PlacedContext context(place, chunk == 1 ? 3 : 1);
                const Model model = context.up(random_model(classes_config(), 3));
                const Batch placed = batch.up(context);
                Gradients gradients(model, context.queue());
                const double loss = classification_step(*context, model, placed.view(), pool, false,
                                                        chunk, 0.5, gradients);
                const std::string bytes = all_bytes(context, gradients);
                CAPTURE(place.text(), name(pool), chunk);
                if (expected.empty()) {
                    expected = bytes;
                    expected_loss = loss;
                }
                CHECK((bytes == expected));
                CHECK(loss == expected_loss);
            }
        }
    }
}

TEST_CASE("classification step: the head alone has the head's gradients of the whole") {
    CpuContext context;
    const Model model = random_model(classes_config(), 3);
    const Batch batch = make_batch(3, 150);
    Gradients whole(model, host_queue());
    Gradients head(model, host_queue());
    const double loss =
        classification_step(*context, model, batch.view(), HeadPool::mean, false, 64, 1.0, whole);
    CHECK(classification_step(*context, model, batch.view(), HeadPool::mean, true, 64, 1.0, head) ==
          loss);
    for (std::size_t i = 0; i < model.params().size(); ++i) {
        const bool is_head = i >= model.params().class_weight();
        CAPTURE(model.params()[i].name);
        CHECK((bytes_of(head.of(i)) == bytes_of(whole.of(i))) == is_head);
    }
}

TEST_CASE("class logits: pooled rows times the head, whatever the chunks") {
    CpuContext context;
    const Model model = random_model(classes_config(), 9);
    const Batch batch = make_batch(2, 50);
    Tensor hidden = test::filled({2, 50, 12}, 0.0F);
    StateBank bank(model.config(), 2, host_queue());
    forward_hidden(*context, model, {batch.ids.view(), {}, {}}, bank, kLastLayer, hidden.view());
    const auto group_of = [&](std::int64_t lane, std::int64_t t) {
        const bool counts = batch.member.view().as<const std::int32_t, 2>()(lane, t) == 0;
        return counts ? static_cast<std::int32_t>(lane) : -1;
    };
    std::string expected;
    for (const std::int64_t chunk : {50, 1, 7}) {
        Tensor sum(host_allocator(), DType::f64, {1, 2, 12}, "sum");
        Tensor count(host_allocator(), DType::i64, {1, 2}, "count");
        zero(host_queue(), sum.view());
        zero(host_queue(), count.view());
        bank.reset();
        for (std::int64_t at = 0; at < 50; at += chunk) {
            const std::int64_t end = std::min<std::int64_t>(at + chunk, 50);
            Tensor group(host_allocator(), DType::i32, {2, end - at}, "group");
            for (std::int64_t lane = 0; lane < 2; ++lane) {
                for (std::int64_t t = at; t < end; ++t) {
                    group.view().as<std::int32_t, 2>()(lane, t - at) = group_of(lane, t);
                }
            }
            forward_pooled(*context, model, {batch.ids.view().slice(1, at, end), {}, {}}, bank,
                           kLastLayer,
                           {.group = group.view(),
                            .mode = pool_mode(HeadPool::mean),
                            .sum = sum.view(),
                            .count = count.view()});
        }
        Tensor logits = test::filled({1, 2, 3}, 0.0F);
        class_logits(*context, model, {sum.view(), count.view()}, HeadPool::mean, logits.view());
        if (expected.empty()) {
            expected = bytes_of(logits.view());
        }
        CAPTURE(chunk);
        CHECK((bytes_of(logits.view()) == expected));
        const auto rows = hidden.view().as<const float, 3>();
        const auto member = batch.member.view().as<const std::int32_t, 2>();
        const ParamTable& params = model.params();
        const auto weight = params[params.class_weight()].value.view().as<const float, 2>();
        const auto bias = params[params.class_bias()].value.view().as<const float, 1>();
        for (std::int64_t lane = 0; lane < 2; ++lane) {
            for (std::int64_t c = 0; c < 3; ++c) {
                double score = static_cast<double>(bias(c));
                for (std::int64_t d = 0; d < 12; ++d) {
                    double mean = 0.0;
                    for (std::int64_t t = 0; t < 50; ++t) {
                        mean += member(lane, t) == 0 ? static_cast<double>(rows(lane, t, d)) : 0.0;
                    }
                    score += mean / 40.0 * static_cast<double>(weight(c, d));
                }
                CHECK(logits.view().as<const float, 3>()(0, lane, c) == Approx(score).margin(1e-5));
            }
        }
    }
}

TEST_CASE("A model with classes: saved, loaded, and without its head again") {
    const test::TempDir dir;
    const Model base = random_model(small_config(), 4);
    Model model = base.with_classes(3);
    CHECK(model.params().size() == base.params().size() + 2);
    CHECK(model.params()[model.params().class_weight()].shape == Shape{3, 12});
    auto* const head =
        static_cast<float*>(model.params()[model.params().class_weight()].value.view().data());
    CHECK(head[0] == 0.0F);
    head[5] = 2.5F;
    save_model(dir.file("model"), model);
    const Model loaded = Model::load(dir.file("model"), host_allocator());
    CHECK(loaded.config().n_classes == 3);
    CHECK(loaded.hash() == model.hash());
    CHECK(loaded.with_classes(3).hash() == model.hash());
    CHECK(loaded.with_classes(0).hash() == base.hash());
}

TEST_CASE("AdamW leaves frozen parameters as they are") {
    CpuContext context;
    Model model = random_model(classes_config(), 3);
    for (std::size_t i = 0; i < model.params().class_weight(); ++i) {
        model.params()[i].frozen = true;
    }
    const std::string before = bytes_of(model.params()[0].value.view());
    const std::string head = bytes_of(model.params()[model.params().class_weight()].value.view());
    Gradients gradients(model, host_queue());
    classification_step(*context, model, make_batch(2, 20).view(), HeadPool::mean, false, 20, 1.0,
                        gradients);
    AdamW optimizer(model, {}, host_queue());
    optimizer.step(*context, model, gradients, 0.1);
    CHECK((bytes_of(model.params()[0].value.view()) == before));
    CHECK((bytes_of(model.params()[model.params().class_weight()].value.view()) != head));
}

TEST_CASE("classifier.json: written and read, and strict") {
    const Classifier classifier = parse_classifier(kClassifierText, "x.json");
    CHECK(classifier.labels == std::vector<std::string>{"a", "b"});
    CHECK(classifier.pool == HeadPool::last);
    CHECK(parse_classifier(classifier_json(classifier), "y.json") == classifier);

    const auto failure = [](const std::string& text) {
        return error_of([&] { parse_classifier(text, "x.json"); });
    };
    CHECK(failure(with("\"gap\": 11", "\"gap\": 101")) ==
          "x.json: gap is not from 1 to the window");
    CHECK(failure(with("\"window\": 100", "\"window\": 0")) == "x.json: window is not above 0");
    CHECK(failure(with("\"window\"", "\"windows\"")) == "x.json: window is missing");
    CHECK(failure(with("\"frozen\": true", "\"frozen\": true, \"more\": 1")) ==
          "x.json: more is not a known key");
    CHECK(failure(with("[\"a\", \"b\"]", "[\"a\", \"a\"]")) ==
          "x.json: labels[1] is not a text, is empty, or stands there twice");
    CHECK(failure(with("\"length\": 200", "\"length\": 50")) ==
          "x.json: temperatures[1].length is not above the one before it");
    CHECK(failure(with("0.75", "1.5")) == "x.json: confidence is not from 0 to 1");
    CHECK(failure(with("\"taxid\": 1", "\"taxid\": \"1\"")) ==
          "x.json: taxonomy[0].taxid is not a whole number");
    CHECK(failure(with("\"last\"", "\"max\"")) == "x.json: pool is neither \"mean\" nor \"last\"");
}

TEST_CASE("Temperatures between those that were fitted are log-linear") {
    const Classifier classifier = parse_classifier(kClassifierText, "x.json");
    CHECK(classifier.temperature(1) == 2.0);
    CHECK(classifier.temperature(50) == 2.0);
    CHECK(classifier.temperature(100) == Approx(1.0));
    CHECK(classifier.temperature(200) == 0.5);
    CHECK(classifier.temperature(1'000'000) == 0.5);
}

}  // namespace mambase::model
