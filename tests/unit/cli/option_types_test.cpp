#include "cli/option_types.hpp"

#include "base/error.hpp"

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::cli;

namespace {

struct Values {
    std::string text = "default";
    std::vector<std::string> texts;
    std::string choice;
    std::int64_t count = 7;
    std::optional<std::int64_t> maybe;
    int small = 1;
    std::int64_t bytes = 1 << 20;
    std::uint64_t seed = 0;
    double number = 0.5;
    bool flag = true;
    std::vector<std::string> inputs;
};

Values parsed(std::vector<std::string> words) {
    CLI::App app;
    Values v;
    add_text(app, "-t,--text", v.text, "T", "");
    add_texts(app, "-r,--region", v.texts, "R", "");
    add_choice(app, "--choice", v.choice, {"one", "two"}, "");
    add_count(app, "--count", v.count, "");
    add_count(app, "--maybe", v.maybe, "");
    add_count(app, "--small", v.small, "");
    add_bytes(app, "--bytes", v.bytes, "");
    add_seed(app, "--seed", v.seed, "");
    add_number(app, "--number", v.number, "");
    add_flag(app, "--flag,!--no-flag", v.flag, "");
    app.add_option("in", v.inputs, "");
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
    return v;
}

}  // namespace

TEST_CASE("Option values are read, and what is not given keeps its default") {
    const Values v =
        parsed({"--count", "1M", "--maybe=3k", "--small", "2", "--bytes", "2G", "--seed",
                "18446744073709551615", "--number", "1e-3", "--no-flag", "--choice", "two"});
    CHECK(v.text == "default");
    CHECK(v.choice == "two");
    CHECK(v.count == 1'000'000);
    CHECK(v.maybe == 3000);
    CHECK(v.small == 2);
    CHECK(v.bytes == std::int64_t{2} << 30);
    CHECK(v.seed == 18446744073709551615U);
    CHECK(v.number == 1e-3);
    CHECK_FALSE(v.flag);
    CHECK(parsed({}).count == 7);
    CHECK_FALSE(parsed({}).maybe.has_value());
}

TEST_CASE("A repeatable option takes one word each time and leaves the inputs alone") {
    const Values v = parsed({"-r", "chr1:1-2", "a.fa", "-rchr2", "-", "--region", "{x:y}", "b.fa"});
    CHECK(v.texts == std::vector<std::string>{"chr1:1-2", "chr2", "{x:y}"});
    CHECK(v.inputs == std::vector<std::string>{"a.fa", "-", "b.fa"});
}

TEST_CASE("A wrong value is an error that names the option and quotes the value") {
    const auto message = [](const std::vector<std::string>& words) {
        try {
            parsed(words);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::usage);
            return error.message();
        }
        return std::string("no error");
    };
    CHECK(message({"--count", "1X"}).starts_with("--count: '1X' is not a size"));
    CHECK(message({"--count=-1"}).starts_with("--count: '-1' is not a size"));
    CHECK(message({"--small", "3G"}) == "--small: '3G' is too large");
    CHECK(message({"--seed=-1"}).starts_with("--seed: '-1' is not a whole number"));
    CHECK(message({"--seed", "18446744073709551616"}).starts_with("--seed: '1844"));
    CHECK(message({"--number", "1.5x"}) == "--number: '1.5x' is not a number");
    CHECK(message({"--number", "nan"}) == "--number: 'nan' is not finite");
    CHECK(message({"--choice", "three"}) == "--choice: 'three' is not one of one|two");
}

TEST_CASE("Times take seconds or a unit") {
    CHECK(parse_duration("90") == 90.0);
    CHECK(parse_duration("90s") == 90.0);
    CHECK(parse_duration("1.5m") == 90.0);
    CHECK(parse_duration("11h") == 39600.0);
    CHECK(parse_duration("2d") == 172800.0);
    for (const char* const text : {"", "s", "0", "-1", "1w", "1h30m", "1e3", "inf"}) {
        CHECK_THROWS_AS(parse_duration(text), Error);
    }
}
