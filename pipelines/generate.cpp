#include "pipelines/generate.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/rng.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "genomics_io/fasta_sink.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/segment_encoder.hpp"
#include "model/forward.hpp"
#include "model/memory_plan.hpp"
#include "model/repeated_work.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/survey.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace mambase::pipelines {

namespace {

constexpr std::string_view kLetters = "ACGT";
constexpr std::int64_t kBasesHeld = std::int64_t{1} << 28;

/// A model and how its next base is drawn.
class BaseModel {
  public:
    BaseModel(Engine& engine,
              const model::Model& model,
              const io::Tokenizer& tokenizer,
              const Sampling& sampling)
        : engine_(engine), model_(model), acgt_(tokenizer.acgt()), sampling_(sampling) {}

    model::StateBank new_states(std::int64_t lanes) const {
        return {model_.config(), lanes, engine_.queue()};
    }

    /// Reads ids [B,T], lane by lane, on from the states; next[b] becomes what follows lane b's
    /// last.
    void read(std::span<const std::uint8_t> ids,
              model::StateBank& states,
              std::span<BaseProbabilities> next) {
        const auto lanes = std::ssize(next);
        const Shape shape{lanes, std::ssize(ids) / lanes};
        if (!ids_ || ids_.shape() != shape) {
            const std::int64_t width = model_.config().vocab_size;
            ids_ = Tensor(engine_.queue().host_memory(), DType::u8, shape, "ids");
            last_ = Tensor(engine_.queue().host_memory(), DType::f32, {lanes, 1, width}, "logits");
            step_.forget();
        }
        std::copy(ids.begin(), ids.end(), static_cast<std::uint8_t*>(ids_.view().data()));
        step_.ask(engine_.context(), states.values().data(), [&] { ask(states); });
        engine_.queue().wait();
        const auto rows = std::as_const(last_).view().as<const float, 3>();
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            std::array<double, 4> four{};
            std::transform(acgt_.begin(), acgt_.end(), four.begin(),
                           [&](std::uint8_t id) { return double{rows(lane, 0, id)}; });
            MAMBASE_REQUIRE(
                std::all_of(four.begin(), four.end(), [](double x) { return std::isfinite(x); }),
                ErrorCode::format,
                "what the model says of the next base is not finite: it has diverged, or its "
                "weights do not suit this input");
            next[static_cast<std::size_t>(lane)] = base_probabilities(four, sampling_);
        }
    }

    std::uint8_t id(int base) const { return acgt_[static_cast<std::size_t>(base)]; }

  private:
    void ask(model::StateBank& states) {
        ops::Context& context = engine_.context();
        const StepMemory::Scope scope(context.step);
        const Shape shape = ids_.shape();
        const TensorView logits =
            context.step.take(DType::f32, {shape[0], shape[1], model_.config().vocab_size});
        model::forward_logits(context, model_,
                              {.ids = ops::on_device(context, std::as_const(ids_).view()),
                               .valid = {},
                               .segment = {},
                               .for_training = false,
                               .scan_starts = {},
                               .check_states = false},  // as costly as the step of one token
                              states, logits);
        // Either there is one lane, or one position.
        copy(context.queue, logits.slice(1, shape[1] - 1, shape[1]), last_.view());
    }

    Engine& engine_;
    const model::Model& model_;
    std::array<std::uint8_t, 4> acgt_;
    Sampling sampling_;
    Tensor ids_;   // [B,T] u8, of the host
    Tensor last_;  // [B,1,V] f32, of the host: logits after the last position
    model::RepeatedWork step_;
};

/// Where the sequences of one prompt start from.
struct Prompt {
    std::string name;
    std::int64_t bases = 0;
    model::StateBank states;  // of one lane
    BaseProbabilities next = kUniformBases;
};

/// The prompts of a run, one after the other: the records of a file, or the one that is given.
class Prompts {
  public:
    Prompts(BaseModel& reader,
            const io::Tokenizer& tokenizer,
            const GenerateOptions& options,
            std::int64_t chunk,
            const Runtime& runtime)
        : reader_(reader),
          tokenizer_(tokenizer),
          options_(options),
          runtime_(runtime),
          chunk_(static_cast<std::size_t>(chunk)),
          prompt_{"sequence", 0, reader.new_states(1), kUniformBases} {
        if (!options.prompt_file.empty()) {
            source_ = io::open_sequences(options.prompt_file, {});
        }
    }

    /// False after the last.
    bool next() {
        prompt_.states.reset();
        prompt_.bases = 0;
        prompt_.next = kUniformBases;
        if (source_) {
            return next_record();
        }
        if (std::exchange(given_, true)) {
            return false;
        }
        std::vector<std::uint8_t> codes(options_.prompt.size());
        const std::int64_t bad = tokenizer_.encode(options_.prompt, codes.data()).bad;
        MAMBASE_REQUIRE(bad < 0, ErrorCode::usage,
                        concat("base ", bad + 1, " of the prompt is no nucleotide code"));
        take(codes);
        end();
        return true;
    }
    const Prompt& prompt() const { return prompt_; }

  private:
    bool next_record() {
        io::Segment segment;
        io::RecordSummary summary;
        std::vector<std::uint8_t> codes;
        while (source_->next(segment)) {
            runtime_.throw_if_stopped();
            if (segment.first) {
                prompt_.name = segment.name;
                summary.name = segment.name;
                if (!names_.insert(prompt_.name).second) {
                    throw Error(ErrorCode::format,
                                "a prompt of this name was there before; names tell the "
                                "sequences apart, so give each prompt its own")
                        .at(source_->path())
                        .record(segment.record, segment.name);
                }
            }
            codes.resize(segment.bases.size());
            io::encode_segment(tokenizer_, source_->path(), segment, io::Strand::forward, 0,
                               codes.size(), codes.data(), summary);
            take(codes);
            if (segment.last) {
                end();
                tell_letters(summary, runtime_.observer);
                return true;
            }
        }
        tell_skipped(source_->path(), source_->skipped(), runtime_.observer);
        MAMBASE_REQUIRE(!names_.empty(), ErrorCode::format,
                        concat(source_->path(), ": no record to go on from"));
        return false;
    }

    /// The model reads whole chunks, so that where the source cuts changes nothing.
    void take(std::span<const std::uint8_t> codes) {
        for (const std::uint8_t code : codes) {
            pending_.push_back(code & static_cast<std::uint8_t>(~io::kSoftMask));
            if (pending_.size() == chunk_) {
                read_pending();
            }
        }
    }
    void end() {
        if (!pending_.empty()) {
            read_pending();
        }
    }
    void read_pending() {
        reader_.read(pending_, prompt_.states, {&prompt_.next, 1});
        prompt_.bases += std::ssize(pending_);
        pending_.clear();
    }

    BaseModel& reader_;
    const io::Tokenizer& tokenizer_;
    const GenerateOptions& options_;
    const Runtime& runtime_;
    std::size_t chunk_;
    std::unique_ptr<io::SequenceSource> source_;
    bool given_ = false;
    Prompt prompt_;
    std::vector<std::uint8_t> pending_;
    std::unordered_set<std::string> names_;
};

/// The stream of draws that belongs to a name.
CounterRng draws_of(const std::string& name, std::uint64_t seed) {
    Sha256 hash;
    hash.update(name);
    const std::string digits = hash.hex().substr(0, 16);
    std::uint64_t stream = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), stream, 16);
    return {seed, stream};
}

/// A sequence on its way.
struct Lane {
    std::string name;
    CounterRng draws;
    std::string bases;
};

/// Sequences side by side, from their prompts to their ends.
class LaneGroup {
  public:
    LaneGroup(BaseModel& model, std::int64_t lanes)
        : model_(model), states_(model.new_states(lanes)) {}

    bool is_full() const { return std::ssize(lanes_) == states_.lanes(); }

    void add(const Prompt& prompt, std::int64_t number, std::uint64_t seed) {
        states_.copy_lane(std::ssize(lanes_), prompt.states, 0);
        next_.push_back(prompt.next);
        std::string name = concat(prompt.name, '_', number);
        const CounterRng draws = draws_of(name, seed);
        lanes_.push_back({std::move(name), draws, {}});
    }

    /// Draws `length` bases of each sequence, writes them, and is empty again.
    void run(std::int64_t length, const Runtime& runtime, Progress& progress, io::FastaSink& out) {
        const std::int64_t taken = std::ssize(lanes_);
        if (taken == 0) {
            return;
        }
        if (taken < states_.lanes()) {  // the last group computes no more than it holds
            model::StateBank fewer = model_.new_states(taken);
            for (std::int64_t lane = 0; lane < taken; ++lane) {
                fewer.copy_lane(lane, states_, lane);
            }
            states_ = std::move(fewer);
        }
        std::vector<std::uint8_t> ids(lanes_.size());
        for (std::int64_t t = 0; t < length; ++t) {
            runtime.throw_if_stopped();
            for (std::size_t i = 0; i < lanes_.size(); ++i) {
                Lane& lane = lanes_[i];
                const int base =
                    draw_base(next_[i], lane.draws.uniform(static_cast<std::uint64_t>(t)));
                lane.bases.push_back(kLetters[static_cast<std::size_t>(base)]);
                ids[i] = model_.id(base);
            }
            if (t + 1 < length) {
                model_.read(ids, states_, next_);
            }
            progress.advance(taken, lanes_.front().name);
        }
        for (const Lane& lane : lanes_) {
            out.record(lane.name, lane.bases);
        }
        lanes_.clear();
        next_.clear();
    }

  private:
    BaseModel& model_;
    model::StateBank states_;
    std::vector<Lane> lanes_;
    std::vector<BaseProbabilities> next_;  // of each lane
};

/// Most sequences side by side.
std::int64_t lanes_together(const Engine& engine, const GenerateOptions& options) {
    const std::int64_t held = std::max<std::int64_t>(1, kBasesHeld / options.length);
    const std::int64_t most = std::min(engine.most_lanes(), held);
    return options.prompt_file.empty() ? std::min(most, options.count) : most;
}

std::string plan_text(Engine& engine,
                      const model::Model& model,
                      BaseModel& reader,
                      const GenerateOptions& options) {
    const std::int64_t prompts =
        options.prompt_file.empty()
            ? 1
            : count_bases(*io::open_sequences(options.prompt_file, {})).records;
    const std::int64_t sequences = checked_mul(prompts, options.count);
    const std::int64_t bases = checked_mul(sequences, options.length);
    const std::int64_t lanes =
        std::max<std::int64_t>(1, std::min(lanes_together(engine, options), sequences));
    const model::MemoryPlan memory =
        model::plan(engine.context().table, model.config(), lanes, 1, 1, model::RunMode::forward,
                    engine.context().activations);
    constexpr int trial = 8;
    model::StateBank states = reader.new_states(lanes);
    std::vector<BaseProbabilities> next(static_cast<std::size_t>(lanes));
    const std::vector<std::uint8_t> ids(next.size(), reader.id(0));
    reader.read(ids, states, next);  // the first also touches memory and tables
    const Progress clock(Observer{}, 0);
    for (int i = 0; i < trial; ++i) {
        reader.read(ids, states, next);
    }
    const double steps =
        static_cast<double>(ceil_div(sequences, lanes)) * static_cast<double>(options.length);
    return concat("sequences: ", format_count(sequences), " of ", format_count(options.length),
                  " bases, ", format_count(lanes), " side by side\n", memory.text(),
                  "\ntime: about ", format_duration(clock.seconds() / trial * steps), " for ",
                  format_bases(static_cast<double>(bases)), ", without the reading of prompts\n");
}

}  // namespace

void GenerateOptions::validate() const {
    std::vector<std::string> violations;
    if (model.empty()) {
        violations.emplace_back("no model directory");
    }
    if (count < 1) {
        violations.push_back(concat("the number of sequences is at least 1, not ", count));
    }
    if (length < 1) {
        violations.push_back(concat("the length is at least 1 base, not ", length));
    }
    if (!prompt.empty() && !prompt_file.empty()) {
        violations.emplace_back("a prompt and a file of prompts: one of them");
    }
    if (!std::isfinite(sampling.temperature) || sampling.temperature <= 0.0) {
        violations.push_back(concat("the temperature is above 0, not ", sampling.temperature,
                                    "; the likeliest base alone is top-k 1"));
    }
    if (sampling.top_k < 1 || sampling.top_k > 4) {
        violations.push_back(concat("top-k is 1 to 4 bases, not ", sampling.top_k));
    }
    if (output.empty()) {
        violations.emplace_back("no output file");
    }
    throw_violations(violations);
}

GenerateReport generate(const GenerateOptions& options, const Runtime& runtime) {
    options.validate();
    Engine engine(runtime);
    const model::Model model =
        model::Model::load(options.model, host_allocator()).on_device(engine.queue());
    const io::Tokenizer& tokenizer = choose_tokenizer(model, options.model, options.tokenizer);
    BaseModel reader(engine, model, tokenizer, options.sampling);
    GenerateReport report;
    if (options.dry_run) {
        report.plan = plan_text(engine, model, reader, options);
        return report;
    }

    const std::int64_t context = model.context_or_default();
    bool past_context = false;
    Prompts prompts(reader, tokenizer, options, engine.reading(model.config(), 0).chunk, runtime);
    io::FastaSink out(options.output, runtime.threads);
    Progress progress(runtime.observer,
                      options.prompt_file.empty() ? checked_mul(options.count, options.length) : 0);
    LaneGroup group(reader, lanes_together(engine, options));
    while (prompts.next()) {
        const std::int64_t reach = checked_add(prompts.prompt().bases, options.length);
        if (context != kWholeContext && reach > context && !std::exchange(past_context, true)) {
            runtime.observer.warning(concat("the last of ", format_count(reach),
                                            " bases is past the ", format_count(context),
                                            " bases the model was validated for"));
        }
        for (std::int64_t number = 1; number <= options.count; ++number) {
            group.add(prompts.prompt(), number, options.seed);
            if (group.is_full()) {
                group.run(options.length, runtime, progress, out);
            }
            ++report.sequences;
        }
    }
    group.run(options.length, runtime, progress, out);
    out.finish();
    report.bases = progress.done();
    report.seconds = progress.seconds();
    return report;
}

}  // namespace mambase::pipelines
