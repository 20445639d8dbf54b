// config.json, classifier.json and presets: any text gives an Error, or something that is written
// and read the same.
#include "model/classifier.hpp"
#include "model/config.hpp"
#include "tests/fuzz/error_or_nothing.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    mambase::test::expect_error_or_nothing([&] {
        const mambase::model::ConfigFile config = mambase::model::parse_config(text, "input");
        const std::string written = mambase::model::config_json(config);
        const mambase::model::ConfigFile again = mambase::model::parse_config(written, "written");
        if (!(again.model == config.model) || !(again.mambase == config.mambase) ||
            mambase::model::config_json(again) != written) {
            std::abort();
        }
    });
    mambase::test::expect_error_or_nothing([&] {
        const auto classifier = mambase::model::parse_classifier(text, "input");
        const std::string written = mambase::model::classifier_json(classifier);
        if (!(mambase::model::parse_classifier(written, "written") == classifier)) {
            std::abort();
        }
    });
    mambase::test::expect_error_or_nothing([&] { mambase::model::parse_preset(text, "input"); });
    return 0;
}
