#include "cli/option_types.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>

namespace mambase::cli {

namespace {

template <class Number>
Number parse_plain(std::string_view text, const char* kind) {
    Number value{};
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    MAMBASE_REQUIRE(result.ec == std::errc() && result.ptr == text.data() + text.size(),
                    ErrorCode::usage, concat("'", text, "' is not ", kind));
    return value;
}

double parse_number(std::string_view text) {
    const auto value = parse_plain<double>(text, "a number");
    MAMBASE_REQUIRE(std::isfinite(value), ErrorCode::usage, concat("'", text, "' is not finite"));
    return value;
}

std::int64_t parse_count(std::string_view text) {
    return parse_size(text, SizeUnits::decimal);
}

}  // namespace

std::string long_name(std::string_view names) {
    return std::string(names.substr(names.rfind(',') + 1));
}

CLI::Option* add_parsed(CLI::App& app,
                        const std::string& names,
                        const std::string& type,
                        const std::string& help,
                        std::function<void(const std::string&)> take) {
    CLI::Option* const option = app.add_option_function<std::string>(
        names,
        [name = long_name(names), take = std::move(take)](const std::string& text) {
            try {
                take(text);
            } catch (const Error& error) {
                throw Error(error.code(), concat(name, ": ", error.what()));
            }
        },
        help);
    return option->type_name(type);
}

CLI::Option* add_text(CLI::App& app,
                      const std::string& names,
                      std::string& target,
                      const std::string& type,
                      const std::string& help) {
    CLI::Option* const option =
        add_parsed(app, names, type, help, [&target](const std::string& text) { target = text; });
    return option->default_str(target);
}

CLI::Option* add_texts(CLI::App& app,
                       const std::string& names,
                       std::vector<std::string>& target,
                       const std::string& type,
                       const std::string& help) {
    return app.add_option(names, target, help)->allow_extra_args(false)->type_name(type);
}

CLI::Option* add_choice(CLI::App& app,
                        const std::string& names,
                        std::string& target,
                        const std::vector<std::string>& words,
                        const std::string& help) {
    std::string type;
    for (const std::string& word : words) {
        type += concat(type.empty() ? "" : "|", word);
    }
    CLI::Option* const option =
        add_parsed(app, names, type, help, [&target, words, type](const std::string& text) {
            MAMBASE_REQUIRE(std::find(words.begin(), words.end(), text) != words.end(),
                            ErrorCode::usage, concat("'", text, "' is not one of ", type));
            target = text;
        });
    return option->default_str(target);
}

CLI::Option* add_count(CLI::App& app,
                       const std::string& names,
                       std::int64_t& target,
                       const std::string& help) {
    CLI::Option* const option =
        add_parsed(app, names, "INT", help,
                   [&target](const std::string& text) { target = parse_count(text); });
    return option->default_str(concat(target));
}

CLI::Option* add_count(CLI::App& app,
                       const std::string& names,
                       std::optional<std::int64_t>& target,
                       const std::string& help) {
    return add_parsed(app, names, "INT", help,
                      [&target](const std::string& text) { target = parse_count(text); });
}

CLI::Option* add_count(CLI::App& app,
                       const std::string& names,
                       int& target,
                       const std::string& help) {
    CLI::Option* const option =
        add_parsed(app, names, "INT", help, [&target](const std::string& text) {
            const std::int64_t value = parse_count(text);
            MAMBASE_REQUIRE(value <= std::numeric_limits<int>::max(), ErrorCode::usage,
                            concat("'", text, "' is too large"));
            target = static_cast<int>(value);
        });
    return option->default_str(concat(target));
}

CLI::Option* add_bytes(CLI::App& app,
                       const std::string& names,
                       std::int64_t& target,
                       const std::string& help) {
    CLI::Option* const option = add_parsed(
        app, names, "SIZE", help,
        [&target](const std::string& text) { target = parse_size(text, SizeUnits::binary); });
    return option->default_str(format_bytes(target));
}

CLI::Option* add_seed(CLI::App& app,
                      const std::string& names,
                      std::uint64_t& target,
                      const std::string& help) {
    CLI::Option* const option =
        add_parsed(app, names, "INT", help, [&target](const std::string& text) {
            target = parse_plain<std::uint64_t>(text, "a whole number from 0 to 2^64 - 1");
        });
    return option->default_str(concat(target));
}

CLI::Option* add_number(CLI::App& app,
                        const std::string& names,
                        double& target,
                        const std::string& help) {
    CLI::Option* const option =
        add_parsed(app, names, "FLOAT", help,
                   [&target](const std::string& text) { target = parse_number(text); });
    return option->default_str(concat(target));
}

CLI::Option* add_number(CLI::App& app,
                        const std::string& names,
                        std::optional<double>& target,
                        const std::string& help) {
    return add_parsed(app, names, "FLOAT", help,
                      [&target](const std::string& text) { target = parse_number(text); });
}

CLI::Option* add_flag(CLI::App& app,
                      const std::string& names,
                      bool& target,
                      const std::string& help) {
    return app.add_flag(names, target, help);
}

double parse_duration(std::string_view text) {
    constexpr std::string_view units = "smhd";
    constexpr double seconds[] = {1.0, 60.0, 3600.0, 86400.0};
    double factor = 1.0;
    std::string_view number = text;
    if (!number.empty()) {
        const std::size_t unit = units.find(number.back());
        if (unit != std::string_view::npos) {
            factor = seconds[unit];
            number.remove_suffix(1);
        }
    }
    double value = 0.0;
    const auto result = std::from_chars(number.data(), number.data() + number.size(), value,
                                        std::chars_format::fixed);
    MAMBASE_REQUIRE(result.ec == std::errc() && result.ptr == number.data() + number.size() &&
                        value > 0.0 && std::isfinite(value),
                    ErrorCode::usage,
                    concat("'", text, "' is not a time: seconds, or a number with s, m, h or d"));
    return value * factor;
}

}  // namespace mambase::cli
