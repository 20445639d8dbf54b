// What the tests of shards share: inputs that are cut in every way, and the runs of n shards.
#pragma once

#include "base/file.hpp"
#include "base/text.hpp"
#include "pipelines/shard.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace mambase::test {

inline constexpr std::int64_t kCounts[] = {1, 2, 7};

/// A fixture with gaps, several contigs, one without bases, one that is a gap, and short ones.
inline std::vector<std::string> contigs() {
    return {"x",     gapped_bases(1500, 3, 3, 40),
            "none",  "",
            "y",     gapped_bases(700, 4, 2, 40),
            "gap",   std::string(90, 'N'),
            "short", "ACGTTGCAAC",
            "z",     markov_bases(129, 6)};
}

inline std::string reads(const PipelineLab& lab) {
    std::string text;
    for (std::size_t i = 0; i < 25; ++i) {
        const std::string bases = i == 9 ? "" : gapped_bases(20 + 13 * (i % 7), i, 0, 1);
        text += concat("@read", i, '\n', bases, "\n+\n", std::string(bases.size(), 'I'), '\n');
    }
    write_text(lab.file("reads.fq"), text);
    return lab.file("reads.fq");
}

/// Lines of different lengths, which cannot be indexed.
inline std::string uneven(const PipelineLab& lab) {
    std::string text;
    const std::vector<std::string> records = contigs();
    for (std::size_t i = 0; i < records.size(); i += 2) {
        text += concat('>', records[i], '\n', records[i + 1].substr(0, 5), '\n',
                       records[i + 1].size() > 5 ? records[i + 1].substr(5) + '\n' : "");
    }
    write_text(lab.file("uneven.fa"), text);
    return lab.file("uneven.fa");
}

/// A context and gaps that the fixtures have several of.
template <class Options>
Options options_of(const PipelineLab& lab,
                   const std::vector<std::string>& inputs,
                   const std::string& output) {
    Options options;
    options.model = lab.model_dir();
    options.reading.inputs = inputs;
    options.reading.context = 64;
    options.reading.gap = 30;
    options.output = lab.file(output);
    return options;
}

/// Runs the shards, with one thread or three; gives their outputs, the last first.
template <class Run>
std::vector<std::string> shards_of(const PipelineLab& lab,
                                   std::int64_t count,
                                   const std::string& suffix,
                                   const Run& run) {
    std::vector<std::string> outputs;
    for (std::int64_t index = 0; index < count; ++index) {
        outputs.push_back(lab.file(concat("shard", index + 1, "of", count, suffix)));
        run(pipelines::Shard{index, count}, outputs.back(), lab.runtime(index % 2 == 0 ? 1 : 3));
    }
    std::reverse(outputs.begin(), outputs.end());
    return outputs;
}

template <class Options, class Command>
std::vector<std::string> shards_of(const PipelineLab& lab,
                                   Options options,
                                   std::int64_t count,
                                   const std::string& suffix,
                                   const Command& command) {
    return shards_of(lab, count, suffix,
                     [&](const pipelines::Shard& shard, const std::string& output,
                         const pipelines::Runtime& runtime) {
                         options.reading.shard = shard;
                         options.reading.chunk = shard.index == 1 ? 7 : 0;
                         options.output = output;
                         command(options, runtime);
                     });
}

}  // namespace mambase::test
