#include "pipelines/model_tools.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/reading.hpp"

#include <optional>
#include <vector>

namespace mambase::pipelines {

namespace {

// Weights of days of training are not overwritten by a slip of the keyboard.
void require_no_model(const std::string& dir) {
    for (const char* const file : {"/config.json", "/model.safetensors"}) {
        if (exists(dir + file)) {
            throw Error(ErrorCode::usage, "is there already; choose another directory")
                .at(dir + file);
        }
    }
}

model::Provenance provenance_of(const io::Tokenizer& tokenizer,
                                std::int64_t context,
                                std::uint64_t seed,
                                const Runtime& runtime) {
    model::Provenance provenance;
    provenance.tokenizer = tokenizer.name();
    provenance.tokenizer_hash = tokenizer.hash();
    provenance.context = context;
    provenance.seed = seed;
    provenance.tool_version = runtime.version;
    return provenance;
}

}  // namespace

std::string show_model(const std::string& dir, bool json) {
    const model::Model model = model::Model::load(dir, host_allocator());
    return json ? model::summary_json(model) : model::summary_text(model);
}

model::VerifyReport verify_model(const std::string& dir,
                                 const std::string& expected,
                                 const Runtime& runtime) {
    Engine engine(runtime);
    return model::verify(engine.context(), dir, expected);
}

void ConvertOptions::validate() const {
    model::parse_directory_form(to);
    std::vector<std::string> violations;
    if (in.empty() || out.empty()) {
        violations.emplace_back("a directory to read and one to write are needed");
    }
    if (!tokenizer.empty() && model::parse_directory_form(to) != model::DirectoryForm::mambase) {
        violations.emplace_back("only our own form names a tokenizer");
    }
    throw_violations(violations);
}

void convert_model(const ConvertOptions& options, const Runtime& runtime) {
    options.validate();
    require_no_model(options.out);
    const model::DirectoryForm form = model::parse_directory_form(options.to);
    std::optional<model::Provenance> provenance;
    Allocator& allocator = host_allocator();
    if (form == model::DirectoryForm::mambase) {
        const model::Model in = model::load_any_form(options.in, allocator);
        const io::Tokenizer& tokenizer = choose_tokenizer(in, options.in, options.tokenizer);
        if (!in.provenance()) {
            provenance = provenance_of(tokenizer, in.context_or_default(), 0, runtime);
            runtime.observer.warning(
                concat("the model does not say what it was validated for: ", "taking tokenizer ",
                       tokenizer.name(), " and ", in.context_or_default(), " bases"));
        }
    }
    runtime.throw_if_stopped();
    model::convert(options.in, options.out, form, provenance, allocator);
}

void InitOptions::validate() const {
    MAMBASE_REQUIRE(!output.empty(), ErrorCode::usage, "no directory to write to (-o)");
    model::find_preset(preset);
}

void init_model(const InitOptions& options, const Runtime& runtime) {
    options.validate();
    require_no_model(options.output);
    const model::Preset& preset = model::find_preset(options.preset);
    model::Model model = model::Model::initialise(preset.model, options.seed, host_allocator());
    model.provenance() =
        provenance_of(io::Tokenizer::named("dna"), preset.context, options.seed, runtime);
    runtime.throw_if_stopped();
    model::save_model(options.output, model);
}

}  // namespace mambase::pipelines
