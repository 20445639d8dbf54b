#include "model/model.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "model/init.hpp"
#include "model/safetensors.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

namespace mambase::model {

namespace {

constexpr const char* kConfigName = "config.json";
constexpr const char* kWeightsName = "model.safetensors";
constexpr std::string_view kEmbedding = "backbone.embeddings.weight";
constexpr std::string_view kOriginalEmbedding = "backbone.embedding.weight";
constexpr std::string_view kHead = "lm_head.weight";

std::span<const std::byte> bytes_of(ConstTensorView view) {
    return {static_cast<const std::byte*>(view.data()),
            static_cast<std::size_t>(view.count() * size_of(view.dtype()))};
}

/// The name under which a file holds the embedding: libraries that store a tied tensor once may
/// keep either name.
std::string_view embedding_name(const SafetensorsFile& file) {
    for (const std::string_view name : {kEmbedding, kOriginalEmbedding, kHead}) {
        if (file.find(name) != nullptr) {
            return name;
        }
    }
    return kEmbedding;
}

/// Biases, an untied head and a classifier's are where their tensors are, whatever the config says.
void believe_tensors(ConfigFile& config, const SafetensorsFile& file) {
    ModelConfig& model = config.model;
    model.use_bias = file.find("backbone.layers.0.mixer.in_proj.bias") != nullptr;
    model.use_conv_bias = file.find("backbone.layers.0.mixer.conv1d.bias") != nullptr;
    const SafetensorsEntry* const classes = file.find(kClassWeightName);
    model.n_classes = classes != nullptr && classes->shape.rank() == 2 ? classes->shape[0] : 0;
    const SafetensorsEntry* const head = file.find(kHead);
    const SafetensorsEntry* const table = file.find(embedding_name(file));
    if (head == nullptr || head == table) {
        return;  // one tensor: tied, or the other one will be missed
    }
    const bool same = std::ranges::equal(file.bytes(*head), file.bytes(*table));
    if (!config.says_tied) {
        model.tie_embeddings = same;
    } else if (model.tie_embeddings && !same) {
        throw Error(ErrorCode::format,
                    concat("tensor ", kHead, " differs from ", table->name,
                           ", but tie_word_embeddings in config.json says that they are one"))
            .at(file.path());
    }
}

void require_finite(const Param& param, const std::string& file) {
    const auto* const values = static_cast<const float*>(param.value.view().data());
    const float* const end = values + param.shape.count();
    const float* const bad =
        std::find_if(values, end, [](float value) { return !std::isfinite(value); });
    if (bad != end) {
        throw Error(ErrorCode::format,
                    concat("tensor ", param.name, " is not finite at element ", bad - values))
            .at(file);
    }
}

/// Names and shapes first, so that nothing is allocated for a file that does not fit.
void check_tensors(const ParamTable& params,
                   const SafetensorsFile& file,
                   const ModelConfig& model) {
    const std::string_view table = embedding_name(file);
    for (const Param& param : params) {
        const SafetensorsEntry& entry = file.at(param.name == kEmbedding ? table : param.name);
        if (entry.shape != param.shape) {
            throw Error(ErrorCode::format,
                        concat("tensor ", entry.name, " is ", entry.shape.text(),
                               ", but config.json makes it ", param.shape.text()))
                .at(file.path());
        }
    }
    for (const SafetensorsEntry& entry : file.entries()) {
        const bool known = params.find(entry.name) != nullptr || entry.name == table ||
                           (entry.name == kHead && model.tie_embeddings);
        if (!known) {
            throw Error(ErrorCode::format, concat("tensor ", entry.name,
                                                  " is not part of a Mamba-1 model of this config"))
                .at(file.path());
        }
    }
}

void require_safetensors(const std::string& dir) {
    const std::string weights = concat(dir, '/', kWeightsName);
    if (exists(weights)) {
        return;
    }
    const std::string pickle = dir + "/pytorch_model.bin";
    if (exists(pickle)) {
        throw Error(ErrorCode::unsupported,
                    "a pickle can run any code when it is read, so this program does not; write "
                    "model.safetensors beside it, in Python: safetensors.torch.save_file("
                    "{k: v.clone().contiguous() for k, v in torch.load('pytorch_model.bin', "
                    "weights_only=True).items()}, 'model.safetensors')")
            .at(pickle);
    }
    if (exists(weights + ".index.json")) {
        throw Error(ErrorCode::unsupported,
                    "the weights are cut into several files; one model.safetensors is read")
            .at(weights + ".index.json");
    }
}

}  // namespace

Model::Model(ConfigFile file, Allocator& allocator) : file_(std::move(file)), params_(file_.model) {
    params_.allocate(allocator);
}

Model Model::load(const std::string& dir, Allocator& allocator) {
    return load(dir, read_config(concat(dir, '/', kConfigName)), allocator);
}

Model Model::load(const std::string& dir, ConfigFile config, Allocator& allocator) {
    require_safetensors(dir);
    const SafetensorsFile file(concat(dir, '/', kWeightsName));
    believe_tensors(config, file);
    check_tensors(ParamTable(config.model), file, config.model);
    Model model(std::move(config), allocator);
    const std::string_view table = embedding_name(file);
    for (Param& param : model.params_) {
        file.read(param.name == kEmbedding ? table : param.name, param.value.view());
        require_finite(param, file.path());
    }
    return model;
}

Model Model::with_classes(std::int64_t classes) const {
    ConfigFile file = file_;
    file.model.n_classes = classes;
    file.model.validate();
    Model out(std::move(file), host_allocator());
    for (Param& param : out.params_) {
        const Param* const mine = params_.find(param.name);
        if (mine != nullptr && mine->shape == param.shape) {
            copy(host_queue(), mine->value.view(), param.value.view());
        } else {
            zero(host_queue(), param.value.view());
        }
    }
    return out;
}

Model Model::initialise(const ModelConfig& config, std::uint64_t seed, Allocator& allocator) {
    Model model = uninitialised(config, allocator);
    for (std::size_t i = 0; i < model.params_.size(); ++i) {
        model::initialise(model.params_[i], i, config, seed);
    }
    return model;
}

Model Model::uninitialised(const ModelConfig& config, Allocator& allocator) {
    config.validate();
    ConfigFile file;
    file.model = config;
    return {std::move(file), allocator};
}

Model Model::copy_in(Allocator& allocator, DeviceQueue& queue) const {
    Model out(file_, allocator);
    for (std::size_t i = 0; i < params_.size(); ++i) {
        copy(queue, params_[i].value.view(), out.params_[i].value.view());
    }
    queue.wait();
    return out;
}

Model Model::on_device(DeviceQueue& queue) && {
    return queue.device().kind == Device::Kind::cpu ? std::move(*this)
                                                    : copy_in(queue.memory(), queue);
}

Model Model::on_host(DeviceQueue& queue) const {
    return copy_in(host_allocator(), queue);
}

std::string Model::hash() const {
    Sha256 hash;
    for (const Param& param : params_) {
        hash.update(concat(param.name, ' ', param.shape.text(), '\n'));
        hash.update(bytes_of(param.value.view()));
    }
    return hash.hex();
}

std::int64_t Model::context_or_default() const noexcept {
    return file_.mambase ? file_.mambase->context : kDefaultContext;
}

void Model::require_tokenizer(std::string_view name, std::string_view hash) const {
    if (!file_.mambase) {
        return;
    }
    const Provenance& origin = *file_.mambase;
    MAMBASE_REQUIRE(origin.tokenizer == name && origin.tokenizer_hash == hash, ErrorCode::format,
                    concat("the model was trained with tokenizer ", origin.tokenizer, " (",
                           origin.tokenizer_hash, "), not ", name, " (", hash, ")"));
}

void save_model(const std::string& dir, const Model& model) {
    make_directories(dir);
    SafetensorsWriter weights(concat(dir, '/', kWeightsName));
    weights.set_metadata("format", "pt");  // transformers reads no file without it
    for (const Param& param : model.params()) {
        weights.add(param.name, param.value.view());
    }
    weights.commit();
    write_text(concat(dir, '/', kConfigName), config_json(model.config_file()));
}

}  // namespace mambase::model
