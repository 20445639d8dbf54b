#include "model/config.hpp"

#include "base/text.hpp"
#include "model/param_table.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::error_of;

constexpr std::string_view kTheirs = R"({
  "architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_act": "silu",
  "vocab_size": 16, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128,
  "state_size": 16, "conv_kernel": 4, "time_step_rank": 4, "expand": 2,
  "layer_norm_epsilon": 1e-05, "use_bias": false, "tie_word_embeddings": true,
  "bos_token_id": 2)";

constexpr std::string_view kOurs = R"({
  "format_version": 1, "tokenizer": "dna", "tokenizer_hash": "abc", "context": 1024,
  "training_data": "d", "steps": 7, "seed": 18446744073709551615, "tool_version": "0.1.0",
  "licence": "Apache-2.0"})";

std::string with_ours(std::string_view ours) {
    return concat(kTheirs, ", \"mambase\": ", ours, "}");
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("config: what Hugging Face writes is read, and written back with its own keys") {
    const ConfigFile read = parse_config(concat(kTheirs, "}"), "config.json");
    CHECK(read.model.vocab_size == 16);
    CHECK(read.model.d_model == 64);
    CHECK(read.model.n_layer == 3);
    CHECK(read.model.d_inner == 128);
    CHECK(read.model.dt_rank == 4);
    CHECK(read.model.norm_eps == 1e-5F);
    CHECK_FALSE(read.mambase);
    const std::string written = config_json(read);
    CHECK(written.find("\"bos_token_id\": 2") != std::string::npos);
    CHECK(written.find("\"layer_norm_epsilon\": 1e-05") != std::string::npos);
    CHECK(written.find("\"expand\": 2") != std::string::npos);
    CHECK(written.find("mambase") == std::string::npos);
    CHECK(parse_config(written, "again").model == read.model);
    CHECK(config_json(parse_config(written, "again")) == written);
}

TEST_CASE("config: sizes that are not there follow from the others") {
    const ConfigFile read = parse_config(
        R"({"vocab_size": 16, "hidden_size": 100, "num_hidden_layers": 1, "time_step_rank": "auto"})",
        "config.json");
    CHECK(read.model.d_inner == 200);
    CHECK(read.model.dt_rank == 7);
    CHECK(read.model.d_state == 16);
    CHECK(read.model.d_conv == 4);
}

TEST_CASE("config: our key goes there and back") {
    const ConfigFile read = parse_config(with_ours(kOurs), "config.json");
    REQUIRE(read.mambase);
    CHECK(read.mambase->context == 1024);
    CHECK(read.mambase->seed == 18446744073709551615U);
    CHECK(read.mambase->tokenizer == "dna");
    const ConfigFile again = parse_config(config_json(read), "again");
    CHECK(again.mambase == read.mambase);

    const ConfigFile unbounded = parse_config(
        with_ours(replaced(std::string(kOurs), "1024", "\"unbounded\"")), "config.json");
    CHECK(unbounded.mambase->context == 0);
    CHECK(config_json(unbounded).find("\"context\": \"unbounded\"") != std::string::npos);
}

TEST_CASE("config: a fresh model gets every key that Hugging Face's class writes") {
    ConfigFile file;
    const std::string text = config_json(file);
    for (const char* key : {"architectures",
                            "bos_token_id",
                            "conv_kernel",
                            "dtype",
                            "eos_token_id",
                            "expand",
                            "hidden_act",
                            "hidden_size",
                            "initializer_range",
                            "intermediate_size",
                            "layer_norm_epsilon",
                            "model_type",
                            "num_hidden_layers",
                            "pad_token_id",
                            "rescale_prenorm_residual",
                            "residual_in_fp32",
                            "state_size",
                            "tie_word_embeddings",
                            "time_step_floor",
                            "time_step_init_scheme",
                            "time_step_max",
                            "time_step_min",
                            "time_step_rank",
                            "time_step_scale",
                            "use_associative_scan",
                            "use_bias",
                            "use_cache",
                            "use_conv_bias",
                            "use_mambapy",
                            "vocab_size"}) {
        CAPTURE(key);
        CHECK(text.find(concat("\"", key, "\":")) != std::string::npos);
    }
}

TEST_CASE("config: what is wrong is named, by file and JSON path, in one line") {
    struct Case {
        std::string text;
        const char* says;
    };
    const std::string ours(kOurs);
    const std::string theirs = concat(kTheirs, "}");
    const std::vector<Case> cases{
        {"", "config.json: byte 1: this is not JSON"},
        {"{\"vocab_size\": 16,", "config.json: byte 19: this is not JSON"},
        {"[1]", "the document is not a JSON object"},
        {"{\"a\": 1, \"a\": 2}", "the key \"a\" is given twice"},
        {"{\"a\": 1e999}", "this is not JSON"},
        {std::string(100, '[') + std::string(100, ']'), "JSON is nested too deeply"},
        {"{}", "config.json: vocab_size is missing"},
        {replaced(theirs, "\"mamba\"", "\"mamba2\""), "model_type is \"mamba2\""},
        {replaced(theirs, "\"silu\"", "\"gelu\""), "hidden_act is \"gelu\""},
        {replaced(theirs, "64", "\"64\""), "hidden_size is not a whole number"},
        {replaced(theirs, "64", "64.5"), "hidden_size is not a whole number"},
        {replaced(theirs, "64", "18446744073709551615"), "hidden_size is not a whole number"},
        {replaced(theirs, "64", "0"), "d_model is 0, not within 1 to 65536"},
        {replaced(theirs, ": 16", ": 50280"), "vocab_size is 50280, not within 1 to 256"},
        {replaced(theirs, "\"conv_kernel\": 4", "\"conv_kernel\": 5"), "d_conv is 5"},
        {replaced(theirs, "1e-05", "-1"), "norm_eps is not within 0 to 1"},
        {replaced(theirs, "\"use_bias\": false", "\"use_bias\": 0"),
         "use_bias is not true or false"},
        {R"({"d_model": 64, "n_layer": 3, "vocab_size": 16})", "mambase model convert"},
        {with_ours("1"), "mambase is not a JSON object"},
        {with_ours(replaced(ours, "\"format_version\": 1", "\"format_version\": 2")),
         "mambase.format_version is 2; this program reads version 1"},
        {with_ours(replaced(ours, "\"steps\": 7,", "")), "mambase.steps is missing"},
        {with_ours(replaced(ours, "\"steps\": 7", "\"steps\": 7, \"more\": 1")),
         "mambase.more is not a known key"},
        {with_ours(replaced(ours, "\"steps\": 7", "\"steps\": \"7\"")),
         "mambase.steps is not a whole number"},
        {with_ours(replaced(ours, "1024", "0")), "mambase.context is neither a positive"},
        {with_ours(replaced(ours, "1024", "\"long\"")), "mambase.context is not a whole number"},
        {with_ours(replaced(ours, "\"dna\"", "null")), "mambase.tokenizer is not a string"},
    };
    for (const Case& each : cases) {
        CAPTURE(each.text);
        const std::string message = error_of([&] { parse_config(each.text, "config.json"); });
        CAPTURE(message);
        CHECK(message.find("config.json: ") == 0);
        CHECK(message.find(each.says) != std::string::npos);
        CHECK(message.find('\n') == std::string::npos);
    }
}

TEST_CASE("config: validate names every violated rule at once") {
    ModelConfig config;
    config.d_model = 0;
    config.d_conv = 9;
    const std::string message = error_of([&] { config.validate(); });
    CHECK(message.find("d_model is 0") != std::string::npos);
    CHECK(message.find("d_conv is 9") != std::string::npos);
}

TEST_CASE("presets: all are part of the program, and the ladder has the paper's sizes") {
    CHECK(presets().front().name == "tiny");
    CHECK(preset("tiny") == ModelConfig::of_width(64, 4));
    CHECK(preset("small") == ModelConfig::of_width(256, 8));
    CHECK(preset("base") == ModelConfig::of_width(256, 16));
    CHECK(find_preset("tiny").context == 1024);
    CHECK(find_preset("tiny").bases_per_step == 16384);
    // spec Mamba 5.3: our count, blocks alone
    struct Rung {
        const char* name;
        std::int64_t values;
    };
    for (const Rung rung :
         {Rung{"paper-250k", 261'632}, Rung{"paper-700k", 682'560}, Rung{"paper-1.4m", 1'399'296},
          Rung{"paper-3.5m", 3'523'968}, Rung{"paper-7m", 7'008'256}, Rung{"paper-19m", 19'284'480},
          Rung{"paper-41m", 40'685'568}}) {
        CAPTURE(rung.name);
        const ModelConfig config = preset(rung.name);
        const std::int64_t outside = (config.vocab_size + 1) * config.d_model;  // and the last norm
        CHECK(ParamTable(config).count() - outside == rung.values);
    }
    const std::string message = error_of([] { find_preset("huge"); });
    CHECK(message.find("tiny, small, base") != std::string::npos);
}

TEST_CASE("presets: a file of one is read strictly") {
    const std::string good = R"({"name": "mine", "summary": "s",
        "model": {"d_model": 32, "n_layer": 2, "expand": 2, "d_state": 8, "d_conv": 3,
                  "vocab_size": 16, "dt_rank": 5},
        "training": {"context": 512, "bases_per_step": 4096, "lr": 0.002, "max_bases": 1000}})";
    const Preset read = parse_preset(good, "mine.json");
    CHECK(read.model.dt_rank == 5);
    CHECK(read.model.d_inner == 64);
    CHECK(read.lr == 0.002);
    CHECK(error_of([&] { parse_preset(replaced(good, "\"lr\"", "\"rate\""), "mine.json"); }) ==
          "mine.json: training.lr is missing");
    CHECK(error_of([&] {
              parse_preset(replaced(good, "\"lr\"", "\"x\": 1, \"lr\""), "mine.json");
          }).find("training.x is not a known key") != std::string::npos);
    CHECK(error_of([&] {
              parse_preset(replaced(good, "512", "0"), "mine.json");
          }).find("not positive") != std::string::npos);
}

}  // namespace mambase::model
