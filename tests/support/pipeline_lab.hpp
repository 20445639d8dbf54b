// What the tests of evaluate and embed share: sequence with gaps, a small model on disk, runs with
// all that they say, and a reader of their arrays.
#pragma once

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"
#include "genomics_io/tokenizer.hpp"
#include "kernels/tensor/buffer.hpp"
#include "model/model.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"
#include "tests/support/synthetic_fasta.hpp"
#include "tests/support/temp_dir.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace mambase::test {

/// Bases in either case with single N, IUPAC codes, and about `gaps` stretches of N of up to twice
/// `gap`.
inline std::string gapped_bases(std::size_t length,
                                std::uint64_t seed,
                                std::size_t gaps,
                                std::size_t gap) {
    std::string out = markov_bases(length, seed);
    const CounterRng rng(seed, 77);
    bool lower = false;
    for (std::size_t i = 0; i < length; ++i) {
        lower = rng.below(3 * i, 50) == 0 ? !lower : lower;
        if (rng.below(3 * i + 1, 97) == 0) {
            out[i] = rng.below(3 * i + 2, 2) == 0 ? 'N' : 'R';
        }
        out[i] = lower ? static_cast<char>(out[i] + ('a' - 'A')) : out[i];
    }
    const CounterRng places(seed, 78);
    for (std::size_t g = 0; g < gaps; ++g) {
        const std::size_t start = places.below(2 * g, length);
        const std::size_t size = 1 + places.below(2 * g + 1, 2 * gap);
        std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(start),
                    std::min(size, length - start), 'N');
    }
    return out;
}

inline const io::Tokenizer& dna() {
    return io::Tokenizer::named("dna");
}

inline std::string mirrored_bases(std::string bases) {
    io::reverse_complement(bases);
    return bases;
}

/// rows[rows, dim] of an array file.
struct Array2 {
    std::int64_t rows = 0;
    std::int64_t dim = 0;
    std::int64_t item = 0;  // bytes a value
    std::string bytes;

    std::string row(std::int64_t index) const {
        return bytes.substr(static_cast<std::size_t>(index * dim * item),
                            static_cast<std::size_t>(dim * item));
    }
    std::string rows_of(std::int64_t first, std::int64_t count) const {
        return bytes.substr(static_cast<std::size_t>(first * dim * item),
                            static_cast<std::size_t>(count * dim * item));
    }
    float value(std::int64_t index, std::int64_t channel) const {  // of f32
        float out = 0.0F;
        std::memcpy(&out, bytes.data() + (index * dim + channel) * item, sizeof out);
        return out;
    }
};

/// A .npy file of version 1.0, f16 or f32, C order.
inline Array2 read_array(const std::string& path) {
    const std::string text = read_text(path);
    const std::size_t header =
        10 + static_cast<unsigned char>(text.at(8)) + 256U * static_cast<unsigned char>(text.at(9));
    const std::string about = text.substr(10, header - 10);
    Array2 out;
    out.item = about.find("'<f2'") != std::string::npos ? 2 : 4;
    const std::size_t open = about.find("'shape': (");
    const std::size_t comma = about.find(',', open + 10);
    const std::size_t close = about.find(')', comma);
    if (text.substr(1, 5) != "NUMPY" || close == std::string::npos) {
        throw std::runtime_error("not an array file: " + path);
    }
    out.rows = std::stoll(about.substr(open + 10, comma - open - 10));
    out.dim = std::stoll(about.substr(comma + 1, close - comma - 1));
    out.bytes = text.substr(header);
    return out;
}

/// A directory with a model, and runs in it.
class PipelineLab {
  public:
    /// Random weights: D 12, three blocks; validated for `context` bases.
    explicit PipelineLab(std::int64_t context = 64) {
        model::ModelConfig config = model::ModelConfig::of_width(12, 3);
        config.d_state = 5;
        model::Model made = model::Model::initialise(config, 11, host_allocator());
        // Fresh weights hardly tell bases apart; larger ones make every value speak.
        for (model::Param& param : made.params()) {
            if (param.init == model::Init::embedding) {
                const auto values = static_cast<float*>(param.value.view().data());
                std::for_each_n(values, param.shape.count(), [](float& value) { value *= 50.0F; });
            }
        }
        made.provenance() = model::Provenance{};
        made.provenance()->tokenizer = dna().name();
        made.provenance()->tokenizer_hash = dna().hash();
        made.provenance()->context = context;
        model::save_model(model_dir(), made);

        observer_.on_info = [this](std::string_view text) { infos.emplace_back(text); };
        observer_.on_warning = [this](std::string_view text) { warnings.emplace_back(text); };
    }

    std::string model_dir() const { return dir_.file("model"); }
    std::string file(const std::string& name) const { return dir_.file(name); }
    std::string directory() const { return dir_.path(); }
    /// Writes records (name, bases, name, bases, …) to a file; gives its path.
    std::string fasta(const std::string& name, const std::vector<std::string>& records) const {
        std::string text;
        for (std::size_t i = 0; i + 1 < records.size(); i += 2) {
            text += fasta_record(records[i], records[i + 1]);
        }
        write_text(file(name), text);
        return file(name);
    }

    /// Options of a command that reads each record whole.
    template <class Options>
    Options whole_reads(const std::vector<std::string>& inputs, const std::string& output) const {
        Options options;
        options.model = model_dir();
        options.reading.inputs = inputs;
        options.reading.context = pipelines::kWholeContext;
        options.output = file(output);
        return options;
    }

    pipelines::Runtime runtime(int threads = 1) const {
        return {.threads = threads,
                .device = {},
                .observer = observer_,
                .stop = nullptr,
                .no_pg = true,
                .command_line = "mambase test"};
    }
    bool warned_of(std::string_view text) const {
        return std::any_of(warnings.begin(), warnings.end(), [text](const std::string& line) {
            return line.find(text) != std::string::npos;
        });
    }

    std::vector<std::string> infos;
    std::vector<std::string> warnings;

  private:
    TempDir dir_;
    Observer observer_;
};

/// The message of the Error that `body` throws, with its code's name in front.
template <class Body>
std::string failure_of(const Body& body) {
    try {
        body();
    } catch (const Error& error) {
        return concat(name(error.code()), ": ", error.what());
    }
    return "";
}

}  // namespace mambase::test
