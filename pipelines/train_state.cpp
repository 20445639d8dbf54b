#include "pipelines/train_state.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/safetensors.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <functional>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>

namespace mambase::pipelines {

namespace {

constexpr std::string_view kOption = "option.";
constexpr std::string_view kFormatVersion = "1";

using Metadata = std::map<std::string, std::string>;

template <class Number>
Number number(const Metadata& metadata, const std::string& key, const std::string& path) {
    const auto found = metadata.find(key);
    Number value{};
    if (found != metadata.end()) {
        const std::string& text = found->second;
        const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (failure == std::errc() && end == text.data() + text.size()) {
            return value;
        }
    }
    throw Error(ErrorCode::format, concat("no number under \"", key, "\" of its metadata"))
        .at(path);
}

/// The differences, one after the other: "--lr was 0.005, is 0.001".
std::string differences(const Metadata& metadata, const NamedValues& options) {
    std::string out;
    for (const auto& [name, value] : options) {
        const auto found = metadata.find(concat(kOption, name));
        const std::string was = found != metadata.end() ? found->second : "not there";
        if (was != value) {
            out += concat(out.empty() ? "" : "; ", name, " was ", was, ", is ", value);
        }
    }
    return out;
}

void read_tensors(const model::SafetensorsFile& file,
                  std::string_view prefix,
                  const model::ParamTable& params,
                  DeviceQueue& queue,
                  const std::function<TensorView(std::size_t)>& out) {
    for (std::size_t i = 0; i < params.size(); ++i) {
        Tensor value(host_allocator(), DType::f32, params[i].shape, "a saved tensor");
        file.read(concat(prefix, params[i].name), value.view());
        copy(queue, value.view(), out(i));
        queue.wait();
    }
}

/// The windows of lanes as they are stored.
struct LaneTensors {
    explicit LaneTensors(std::int64_t batch)
        : contig(host_allocator(), DType::i64, {batch}, "contigs of lanes"),
          start(host_allocator(), DType::i64, {batch}, "starts of lanes"),
          strand(host_allocator(), DType::u8, {batch}, "strands of lanes") {}

    Tensor contig;
    Tensor start;
    Tensor strand;  // 1: reverse
};

LaneTensors lane_tensors(const std::vector<io::SampledWindow>& windows) {
    LaneTensors out(static_cast<std::int64_t>(windows.size()));
    for (std::size_t i = 0; i < windows.size(); ++i) {
        const auto lane = static_cast<std::int64_t>(i);
        out.contig.view().as<std::int64_t, 1>()(lane) = windows[i].contig;
        out.start.view().as<std::int64_t, 1>()(lane) = windows[i].start;
        out.strand.view().as<std::uint8_t, 1>()(lane) =
            windows[i].strand == io::Strand::reverse ? 1 : 0;
    }
    return out;
}

void read_lanes(const model::SafetensorsFile& file, CarriedLanes& lanes, DeviceQueue& queue) {
    LaneTensors stored(static_cast<std::int64_t>(lanes.windows.size()));
    file.read("lane.contig", stored.contig.view());
    file.read("lane.start", stored.start.view());
    file.read("lane.strand", stored.strand.view());
    for (std::size_t i = 0; i < lanes.windows.size(); ++i) {
        const auto lane = static_cast<std::int64_t>(i);
        const bool reverse = stored.strand.view().as<std::uint8_t, 1>()(lane) != 0;
        lanes.windows[i] = {stored.contig.view().as<std::int64_t, 1>()(lane),
                            stored.start.view().as<std::int64_t, 1>()(lane),
                            reverse ? io::Strand::reverse : io::Strand::forward};
    }
    for (std::size_t lot = 0; lot < lanes.states.size(); ++lot) {
        model::StateBank& bank = lanes.states[lot];
        Tensor values(host_allocator(), DType::f32, {bank.layout().count()}, "saved states");
        file.read(concat("lane.states.", lot), values.view());
        bank.restore(values.view());
        queue.wait();
    }
}

}  // namespace

CarriedLanes::CarriedLanes(const model::ModelConfig& config,
                           std::int64_t batch,
                           std::int64_t lot,
                           DeviceQueue& queue)
    : windows(static_cast<std::size_t>(batch), io::SampledWindow{-1, 0, io::Strand::forward}) {
    for (std::int64_t first = 0; first < batch; first += lot) {
        states.emplace_back(config, std::min(lot, batch - first), queue);
    }
}

std::vector<Tensor> copy_weights(const model::Model& model, DeviceQueue& queue) {
    std::vector<Tensor> out;
    for (const model::Param& param : model.params()) {
        Tensor& copy = out.emplace_back(host_allocator(), DType::f32, param.shape,
                                        "weights of the best model");
        mambase::copy(queue, param.value.view(), copy.view());
    }
    queue.wait();
    return out;
}

void set_weights(model::Model& model, const std::vector<Tensor>& weights, DeviceQueue& queue) {
    MAMBASE_ASSERT(weights.size() == model.params().size());
    for (std::size_t i = 0; i < weights.size(); ++i) {
        copy(queue, weights[i].view(), model.params()[i].value.view());
    }
    queue.wait();
}

void save_train_state(const std::string& path,
                      TrainState& state,
                      const NamedValues& options,
                      ops::Context& context) {
    const StepMemory::Scope scope(context.host);
    model::SafetensorsWriter writer(path);
    const model::ParamTable& params = state.model.params();
    for (std::size_t i = 0; i < params.size(); ++i) {
        const std::string& name = params[i].name;
        writer.add(concat("model.", name), ops::on_host(context, params[i].value.view()));
        writer.add(concat("m.", name), ops::on_host(context, state.optimizer.m(i)));
        writer.add(concat("v.", name), ops::on_host(context, state.optimizer.v(i)));
        if (state.best) {
            writer.add(concat("best.", name), state.best->weights[i].view());
        }
    }
    std::optional<LaneTensors> lanes;
    if (state.lanes) {
        lanes.emplace(lane_tensors(state.lanes->windows));
        writer.add("lane.contig", lanes->contig.view());
        writer.add("lane.start", lanes->start.view());
        writer.add("lane.strand", lanes->strand.view());
        for (std::size_t lot = 0; lot < state.lanes->states.size(); ++lot) {
            const model::StateBank& bank = state.lanes->states[lot];
            writer.add(concat("lane.states.", lot), ops::on_host(context, bank.values()));
        }
    }
    writer.set_metadata("format_version", std::string(kFormatVersion));
    writer.set_metadata("step", concat(state.optimizer.steps()));
    if (state.best) {
        writer.set_metadata("best_step", concat(state.best->step));
        writer.set_metadata("best_nats", concat(state.best->nats));
    }
    for (const auto& [name, value] : options) {
        writer.set_metadata(concat(kOption, name), value);
    }
    writer.commit();
}

void load_train_state(const std::string& path,
                      TrainState& state,
                      const NamedValues& options,
                      DeviceQueue& queue) {
    const model::SafetensorsFile file(path);
    const Metadata& metadata = file.metadata();
    const auto version = metadata.find("format_version");
    if (version == metadata.end() || version->second != kFormatVersion) {
        throw Error(ErrorCode::format, "not a training state of this version").at(path);
    }
    const std::string different = differences(metadata, options);
    if (!different.empty()) {
        throw Error(ErrorCode::usage,
                    concat("the run that was stopped had other options: ", different,
                           " (give the same, or another output directory)"))
            .at(path);
    }
    const model::ParamTable& params = state.model.params();
    read_tensors(file, "model.", params, queue,
                 [&](std::size_t i) { return state.model.params()[i].value.view(); });
    read_tensors(file, "m.", params, queue, [&](std::size_t i) { return state.optimizer.m(i); });
    read_tensors(file, "v.", params, queue, [&](std::size_t i) { return state.optimizer.v(i); });
    if (state.lanes) {
        read_lanes(file, *state.lanes, queue);
    }
    state.optimizer.set_steps(number<std::int64_t>(metadata, "step", path));
    if (metadata.contains("best_step")) {
        BestModel best{number<std::int64_t>(metadata, "best_step", path),
                       number<double>(metadata, "best_nats", path),
                       copy_weights(state.model, queue)};
        for (std::size_t i = 0; i < params.size(); ++i) {
            file.read(concat("best.", params[i].name), best.weights[i].view());
        }
        state.best = std::move(best);
    }
}

}  // namespace mambase::pipelines
