#include "model/safetensors.hpp"

#include "base/text.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <array>
#include <cmath>
#include <span>

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::error_of;
using test::safetensors_text;
using test::TempDir;

std::string parse_error(const std::string& text) {
    return error_of([&] {
        SafetensorsHeader::parse(std::as_bytes(std::span(text.data(), text.size())), "x.st");
    });
}

}  // namespace

TEST_CASE("safetensors: what is written is read back, aligned and in order") {
    const TempDir dir;
    const std::string path = dir.file("t.safetensors");
    const std::array<float, 6> floats{1, 2, 3, 4, 5, 6};
    const std::array<double, 2> doubles{0.5, -0.25};
    const std::array<std::uint8_t, 3> bytes{7, 8, 9};
    const std::array<std::int64_t, 1> wide{-5};
    SafetensorsWriter writer(path);
    writer.add("bytes", {bytes.data(), DType::u8, {3}});
    writer.add("floats", {floats.data(), DType::f32, {2, 1, 3}});
    writer.add("doubles", {doubles.data(), DType::f64, {2}});
    writer.add("wide", {wide.data(), DType::i64, {}});
    writer.add("nothing", {floats.data(), DType::f32, {0, 4}});
    writer.set_metadata("format", "pt");
    writer.commit();

    const SafetensorsFile file(path);
    CHECK(file.metadata().at("format") == "pt");
    CHECK(file.entries().size() == 5);
    for (const SafetensorsEntry& entry : file.entries()) {
        if (entry.shape.count() > 0) {
            const std::int64_t element = (entry.end - entry.begin) / entry.shape.count();
            CHECK(entry.begin % element == 0);
        }
    }
    std::array<float, 6> got{};
    file.read("floats", {got.data(), DType::f32, {2, 1, 3}});
    CHECK(got == floats);
    std::array<std::int64_t, 1> got_wide{};
    file.read("wide", {got_wide.data(), DType::i64, {}});
    CHECK(got_wide == wide);
    file.read("nothing", {got.data(), DType::f32, {0, 4}});
    CHECK(file.find("none") == nullptr);
    CHECK(error_of([&] { file.at("none"); }) == path + ": tensor none is missing");
    CHECK(error_of([&] {
              file.read("floats", {got.data(), DType::f32, {6}});
          }) == path + ": tensor floats is [2, 1, 3], not [6]");
    CHECK(error_of([&] {
              file.read("bytes", {got.data(), DType::f32, {3}});
          }) == path + ": tensor bytes is of type U8, not F32");
}

TEST_CASE("safetensors: half precision widens exactly") {
    const TempDir dir;
    const std::string path = dir.file("half.safetensors");
    std::string text =
        safetensors_text(R"({"b":{"dtype":"BF16","shape":[2],"data_offsets":[12,16]},)"
                         R"("h":{"dtype":"F16","shape":[6],"data_offsets":[0,12]}})",
                         16);
    const std::array<std::uint16_t, 8> raw{0x3C00, 0xC000, 0x0001, 0x7BFF,
                                           0x8000, 0x7C00, 0x3F80, 0xC040};
    std::memcpy(text.data() + text.size() - 16, raw.data(), 16);
    write_text(path, text);
    const SafetensorsFile file(path);
    std::array<float, 6> half{};
    file.read("h", {half.data(), DType::f32, {6}});
    CHECK(half[0] == 1.0F);
    CHECK(half[1] == -2.0F);
    CHECK(half[2] == 0x1.0p-24F);
    CHECK(half[3] == 65504.0F);
    CHECK(std::signbit(half[4]));
    CHECK(std::isinf(half[5]));
    std::array<float, 2> brain{};
    file.read("b", {brain.data(), DType::f32, {2}});
    CHECK(brain[0] == 1.0F);
    CHECK(brain[1] == -3.0F);
}

TEST_CASE("safetensors: a broken header is named, by file and tensor, in one line") {
    const auto one = [](std::string_view fields) {
        return safetensors_text(concat("{\"a\":{", fields, "}}"), 8);
    };
    struct Case {
        std::string text;
        const char* says;
    };
    const std::vector<Case> cases{
        {"", "shorter than the length of a header"},
        {"1234567", "shorter than the length of a header"},
        {std::string(8, '\xff'), "over 100 MB"},
        {std::string("\x10\0\0\0\0\0\0\0{}", 10), "reaches past the end"},
        {safetensors_text("", 0), "this is not JSON"},
        {safetensors_text("{", 0), "this is not JSON"},
        {safetensors_text("[]", 0), "its header is not a JSON object"},
        {safetensors_text("{\"a\":1}", 0), "tensor a is not described by a JSON object"},
        {safetensors_text("{\"\xff\":1}", 0), "this is not JSON"},
        {safetensors_text(R"({"__metadata__":{"a":1}})", 0), "__metadata__.a is not a string"},
        {safetensors_text(R"({"__metadata__":1})", 0), "__metadata__ is not a JSON object"},
        {one(R"("dtype":"F32","shape":[2])"), "tensor a has no pair of data_offsets"},
        {one(R"("dtype":"F32","data_offsets":[0,8])"), "tensor a has no shape"},
        {one(R"("shape":[2],"data_offsets":[0,8])"), "a.dtype is missing"},
        {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)"), "a.x is not a known key"},
        {one(R"("dtype":"Q4","shape":[2],"data_offsets":[0,8])"), "unknown dtype \"Q4\""},
        {one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), "not of whole numbers"},
        {one(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,8])"), "not of whole numbers"},
        {one(R"("dtype":"F32","shape":[1,1,1,1,1,2],"data_offsets":[0,8])"),
         "at most five dimensions"},
        {one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])"),
         "a shape past 63 bits"},
        {one(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,8])"),
         "tensor a has 8 bytes of data"},
        {one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), "is [3] of F32"},
        {one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), "end before they begin"},
        {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,-8])"), "no pair of data_offsets"},
        {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"),
         "the tensors end at byte 4 of 8 bytes of data"},
        {one(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])"),
         "reaches past the end of the file: it ends at byte 12 of 8"},
        {one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), "leaves a gap before it"},
        {safetensors_text(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                          6),
         "tensor b overlaps the tensor before it"},
        {safetensors_text(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                          R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                          8),
         "the key \"a\" is given twice"},
    };
    for (const Case& each : cases) {
        CAPTURE(each.says);
        const std::string message = parse_error(each.text);
        CAPTURE(message);
        CHECK(message.find("x.st: ") == 0);
        CHECK(message.find(each.says) != std::string::npos);
        CHECK(message.find('\n') == std::string::npos);
    }
}

TEST_CASE("safetensors: a file cut at any byte is refused") {
    const TempDir dir;
    const std::string path = dir.file("t.safetensors");
    const std::array<float, 4> values{1, 2, 3, 4};
    SafetensorsWriter writer(path);
    writer.add("a", {values.data(), DType::f32, {2}});
    writer.add("b", {values.data(), DType::f32, {4}});
    writer.commit();
    const std::string whole = read_text(path);
    for (std::size_t length = 0; length < whole.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(parse_error(whole.substr(0, length)).empty());
    }
    CHECK(parse_error(whole).empty());
}

}  // namespace mambase::model
