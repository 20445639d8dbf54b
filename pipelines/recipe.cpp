#include "pipelines/recipe.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "pipelines/reading.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kMostBases = 10'000'000'000;
constexpr std::int64_t kEvaluations = 20;

const model::Preset& preset_of(const PretrainOptions& options, Device device) {
    return model::find_preset(options.preset.empty() ? default_preset(device)
                                                     : std::string_view(options.preset));
}

/// What the user says of the shape, over `config`.
model::ModelConfig with_shape(model::ModelConfig config, const PretrainOptions& options) {
    if (options.d_model || options.expand) {
        const std::int64_t width = options.d_model.value_or(config.d_model);
        const std::int64_t expand = options.expand.value_or(config.d_inner / config.d_model);
        const auto sized = model::ModelConfig::of_width(width, config.n_layer, expand);
        config.d_model = sized.d_model;
        config.d_inner = sized.d_inner;
        config.dt_rank = sized.dt_rank;
    }
    config.n_layer = options.layers.value_or(config.n_layer);
    config.d_state = options.d_state.value_or(config.d_state);
    config.d_conv = options.d_conv.value_or(config.d_conv);
    config.dt_rank = options.dt_rank.value_or(config.dt_rank);
    config.norm_eps = static_cast<float>(options.norm_eps.value_or(config.norm_eps));
    config.use_bias = config.use_bias || options.bias;
    config.use_conv_bias = config.use_conv_bias && !options.no_conv_bias;
    config.tie_embeddings = config.tie_embeddings && !options.untie;
    config.dt_min = options.dt_min.value_or(config.dt_min);
    config.dt_max = options.dt_max.value_or(config.dt_max);
    config.dt_init_floor = options.dt_init_floor.value_or(config.dt_init_floor);
    config.dt_scale = options.dt_scale.value_or(config.dt_scale);
    if (!options.dt_init.empty()) {
        config.dt_init_constant = options.dt_init == "constant";
    }
    return config;
}

Start fresh_start(const PretrainOptions& options, Device device) {
    model::ConfigFile file;
    std::string tokenizer_name = options.tokenizer;
    const bool has_file = !options.config.empty();
    if (has_file) {
        file = model::read_config(options.config);
        if (tokenizer_name.empty() && file.mambase) {
            tokenizer_name = file.mambase->tokenizer;
        }
    } else {
        file.model = preset_of(options, device).model;
    }
    const io::Tokenizer& tokenizer =
        io::Tokenizer::named(tokenizer_name.empty() ? "dna" : tokenizer_name);
    model::ModelConfig config = with_shape(file.model, options);
    if (!has_file) {
        config.vocab_size = tokenizer.vocab_size();
    }
    config.validate();
    Start start{model::Model::initialise(config, options.seed, host_allocator()), &tokenizer};
    choose_tokenizer(start.model, options.config,
                     std::string(tokenizer.name()));  // does the vocabulary hold it?
    return start;
}

/// A model may bear more than it was trained on, and fine-tuning need not take all of it.
std::int64_t default_context(const Start& start, const model::Preset& preset) {
    const auto& provenance = start.model.provenance();
    const bool is_short =
        provenance && provenance->context > 0 && provenance->context < preset.context;
    return is_short ? provenance->context : preset.context;
}

std::int64_t steps_of(const PretrainOptions& options,
                      const model::Preset& preset,
                      std::int64_t bases_per_step,
                      std::int64_t input_bases) {
    if (options.steps) {
        return *options.steps;
    }
    const std::int64_t most = preset.max_bases;
    const std::int64_t bases = options.bases.value_or(
        std::min(checked_mul(20, input_bases), most > 0 ? most : kMostBases));
    return std::max<std::int64_t>(ceil_div(bases, bases_per_step), 1);
}

}  // namespace

std::string_view default_preset(Device device) {
    return device.kind == Device::Kind::cuda ? "small" : "tiny";
}

Start make_start(const PretrainOptions& options, Device device) {
    if (options.model.empty()) {
        return fresh_start(options, device);
    }
    model::Model loaded = model::Model::load(options.model, host_allocator());
    const io::Tokenizer& tokenizer = choose_tokenizer(loaded, options.model, options.tokenizer);
    return {std::move(loaded), &tokenizer};
}

Recipe make_recipe(const PretrainOptions& options,
                   const Start& start,
                   std::int64_t input_bases,
                   Engine& engine) {
    const model::Preset& preset = preset_of(options, engine.queue().device());
    Recipe recipe;
    recipe.context = options.context.value_or(default_context(start, preset));
    recipe.batch =
        options.batch.value_or(std::max<std::int64_t>(preset.bases_per_step / recipe.context, 1));
    recipe.lanes =
        std::clamp<std::int64_t>(engine.training_rows() / recipe.context, 1, recipe.batch);
    recipe.precision = engine.context().activations;
    recipe.both_strands = options.both_strands;
    recipe.carry = options.carry;
    recipe.mask_weight = options.mask_weight;
    recipe.seed = options.seed;
    recipe.optimizer.beta1 = options.beta1;
    recipe.optimizer.beta2 = options.beta2;
    recipe.optimizer.weight_decay = options.weight_decay;
    recipe.optimizer.clip = options.clip;

    LrSchedule& schedule = recipe.schedule;
    schedule.steps =
        steps_of(options, preset, checked_mul(recipe.batch, recipe.context), input_bases);
    schedule.peak = options.lr.value_or(preset.lr);
    schedule.last = options.min_lr.value_or(schedule.peak / 10.0);
    schedule.warmup = std::min(
        static_cast<std::int64_t>(std::ceil(options.warmup * static_cast<double>(schedule.steps))),
        schedule.steps);

    recipe.eval_every = options.eval_every.value_or(ceil_div(schedule.steps, kEvaluations));
    const std::int64_t windows = checked_mul(schedule.steps, recipe.batch);
    recipe.valid_windows = std::max<std::int64_t>(std::min(windows / 100, 16 * recipe.batch), 10);
    return recipe;
}

NamedValues named_values(const Recipe& recipe, const Start& start, const NamedValues& data) {
    const model::ModelConfig& config = start.model.config();
    NamedValues values = {
        {"d-model", concat(config.d_model)},
        {"layers", concat(config.n_layer)},
        {"d-inner", concat(config.d_inner)},
        {"d-state", concat(config.d_state)},
        {"d-conv", concat(config.d_conv)},
        {"dt-rank", concat(config.dt_rank)},
        {"norm-eps", concat(config.norm_eps)},
        {"bias", config.use_bias ? "on" : "off"},
        {"conv-bias", config.use_conv_bias ? "on" : "off"},
        {"untie", config.tie_embeddings ? "off" : "on"},
        {"tokenizer", std::string(start.tokenizer->name())},
        {"context", concat(recipe.context)},
        {"batch", concat(recipe.batch)},
        {"steps", concat(recipe.steps())},
        {"rc", recipe.both_strands ? "on" : "off"},
        {"carry", concat(recipe.carry)},
        {"mask-weight", concat(recipe.mask_weight)},
        {"lr", concat(recipe.schedule.peak)},
        {"min-lr", concat(recipe.schedule.last)},
        {"warm-up steps", concat(recipe.schedule.warmup)},
        {"weight-decay", concat(recipe.optimizer.weight_decay)},
        {"clip", concat(recipe.optimizer.clip)},
        {"beta1", concat(recipe.optimizer.beta1)},
        {"beta2", concat(recipe.optimizer.beta2)},
        {"precision", std::string(name(recipe.precision))},
        {"seed", concat(recipe.seed)},
        {"eval-every", concat(recipe.eval_every)},
        {"starting weights", start.model.hash()},
    };
    values.insert(values.end(), data.begin(), data.end());
    return values;
}

}  // namespace mambase::pipelines
