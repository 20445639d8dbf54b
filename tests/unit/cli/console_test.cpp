#include "cli/console.hpp"

#include "base/file.hpp"
#include "cli/exit_code.hpp"
#include "tests/support/temp_dir.hpp"

#include <algorithm>
#include <string>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::cli;

TEST_CASE("JSON strings escape what JSON wants escaped and survive bytes that are no text") {
    CHECK(json_string("") == "\"\"");
    CHECK(json_string("a\"b\\c\nd\te") == "\"a\\\"b\\\\c\\nd\\u0009e\"");
    CHECK(json_string("größe \xE2\x82\xAC \xF0\x9F\xA7\xAC") ==
          "\"größe \xE2\x82\xAC \xF0\x9F\xA7\xAC\"");
    CHECK(json_string("\xFF") == "\"\\ufffd\"");
    CHECK(json_string("\xC3") == "\"\\ufffd\"");                        // cut short
    CHECK(json_string("\xC0\x80") == "\"\\ufffd\\ufffd\"");             // overlong
    CHECK(json_string("\xED\xA0\x80") == "\"\\ufffd\\ufffd\\ufffd\"");  // surrogate
}

TEST_CASE("Names from files cannot move the terminal's cursor") {
    CHECK(printable("chr1\x1b[2J\r") == "chr1\\x1b[2J\\x0d");
    CHECK(printable("two\nlines, größe") == "two\nlines, größe");
}

TEST_CASE("The log has one line of JSON for every event, also of a quiet run") {
    const test::TempDir dir;
    CommonOptions common;
    common.quiet = true;
    common.log_json = dir.file("log");
    {
        Console console("embed", common);
        console.observer().info("one");
        console.observer().progress("two\nlines");
        console.exit(0);
    }
    {
        Console console("embed", common);  // a run that goes on adds to the log
        console.exit(85);
    }
    const std::string text = read_text(dir.file("log"));
    CHECK(std::count(text.begin(), text.end(), '\n') == 4);
    CHECK(text.find(R"("command": "embed", "event": "info", "text": "one"})") != std::string::npos);
    CHECK(text.find(R"("event": "progress", "text": "two\nlines"})") != std::string::npos);
    CHECK(text.find(R"("event": "exit", "text": "85"})") != std::string::npos);
}

TEST_CASE("A log that cannot be opened is an error with its name") {
    CommonOptions common;
    common.log_json = "/nowhere/log";
    CHECK_THROWS_WITH(Console("embed", common), Catch::Contains("/nowhere/log"));
}

TEST_CASE("Every error has the exit code of the contract") {
    CHECK(exit_code(ErrorCode::usage) == ExitCode::usage);
    CHECK(exit_code(ErrorCode::unsupported) == ExitCode::usage);
    CHECK(exit_code(ErrorCode::device) == ExitCode::device);
    CHECK(exit_code(ErrorCode::out_of_memory) == ExitCode::device);
    for (const ErrorCode code : {ErrorCode::not_found, ErrorCode::io, ErrorCode::format,
                                 ErrorCode::shape, ErrorCode::cancelled, ErrorCode::internal}) {
        CHECK(exit_code(code) == ExitCode::failed);
    }
}
