// What the values of a scoring run go to: a track with its description beside it.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "genomics_io/track_sink.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/score.hpp"
#include "pipelines/shard_files.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace mambase::pipelines {

/// Nothing stays without finish().
class ScoreSink {
  public:
    ScoreSink() = default;
    ScoreSink(const ScoreSink&) = delete;
    ScoreSink& operator=(const ScoreSink&) = delete;
    virtual ~ScoreSink() = default;

    /// The values that come are of this record or part of one; those of a record one after the
    /// other, ascending.
    virtual void open(const RowSpan& part) = 0;
    /// As io::TrackSink::values.
    virtual void values(std::int64_t begin, std::span<const float> values) = 0;
    /// `description`: of the values, as score_description() gives it.
    virtual void finish(const nlohmann::ordered_json& description) = 0;
};

class ScoreTrack final : public ScoreSink {
  public:
    /// As io::open_track.
    ScoreTrack(const std::string& path, std::string_view value, std::int64_t bin, int threads);

    void open(const RowSpan& part) override;
    void values(std::int64_t begin, std::span<const float> values) override;
    /// The description appears beside the track, but for that of standard output.
    void finish(const nlohmann::ordered_json& description) override;

  private:
    std::string path_;
    std::unique_ptr<io::TrackSink> sink_;
    std::int64_t input_ = -1;   // of the contig that the track is at
    std::int64_t contig_ = -1;  //
};

/// Where the description of a track lies; empty for standard output.
std::string description_path(const std::string& track);

/// Format and its version, track (file name), value, unit, strand, bin, bases scored, model (its
/// hash), and what add_origin() adds; of a shard also the sum of the values.
nlohmann::ordered_json score_description(const ScoreOptions& options,
                                         const ScoreReport& report,
                                         const std::string& model_hash,
                                         const io::Tokenizer& tokenizer,
                                         const std::optional<ShardFacts>& shard,
                                         const Runtime& runtime);

}  // namespace mambase::pipelines
