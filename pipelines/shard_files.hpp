// What the files of shards have in common, and how n of them are put together.
#pragma once

#include "base/file.hpp"
#include "kernels/tensor/dtype.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/shard.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mambase::pipelines {

/// A record or region: the index of its input, and its number there.
struct PartKey {
    std::int64_t input = 0;
    std::int64_t number = 0;
    friend auto operator<=>(const PartKey&, const PartKey&) = default;
};

/// What a shard is of its run.
struct ShardFacts {
    Shard shard;
    ShardCut cut = ShardCut::record;
    std::string input;  // digest_of() what the whole run reads
};

/// The object "shard" of a shard's description: index (from 1), count, cut ("grid", "record"),
/// input, precision of activations.
nlohmann::ordered_json shard_json(const ShardFacts& facts, DType precision);

/// The indices of `descriptions` in the order of shards. Each is a shard's JSON object, of the file
/// of that path. Error{usage}: a shard that is missing or comes twice, one of another run (a key
/// that differs; but for those of `own_keys`, which a shard has for itself), a file that is none.
std::vector<std::size_t> shards_in_order(std::span<const nlohmann::ordered_json> descriptions,
                                         std::span<const std::string> paths,
                                         std::initializer_list<std::string_view> own_keys);

/// What the merged file says of itself, but for the shards' own keys: the object "shard" goes, the
/// command, where the shards have one, is that of `runtime`.
nlohmann::ordered_json merged_description(nlohmann::ordered_json description,
                                          const Runtime& runtime);

/// The index of the smallest key, of equals the first; empty where there is none.
std::optional<std::size_t> first_of(std::span<const std::optional<PartKey>> keys);

/// The lines of a file of ours, fields parted by tabs. Memory: a line.
class TabbedFile {
  public:
    explicit TabbedFile(const std::string& path);

    /// Past the first line, which has to be `mark` (with its tab) and `version`. Returns the last
    /// line, a JSON object.
    nlohmann::ordered_json open_shard(std::string_view mark, std::int64_t version);
    /// Views are valid as long as this. False at the end. Error{format} where the last line has no
    /// end: the file was cut off.
    bool next(std::vector<std::string_view>& fields);

    std::int64_t integer(std::string_view field) const;
    double real(std::string_view field) const;
    [[noreturn]] void fail(std::string_view why) const;

  private:
    std::string path_;
    MappedFile file_;
    std::string_view text_;
    std::size_t at_ = 0;
    std::int64_t line_ = 0;
};

}  // namespace mambase::pipelines
