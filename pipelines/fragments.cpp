#include "pipelines/fragments.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>

namespace mambase::pipelines {

std::span<const std::uint8_t> Sequence::codes(const io::Interval& window) const {
    return std::span(record.codes)
        .subspan(static_cast<std::size_t>(window.begin), static_cast<std::size_t>(window.size()));
}

std::int64_t Fragment::length() const {
    std::int64_t sum = 0;
    for (const Sequence& mate : mates) {
        sum += mate.record.summary.length;
    }
    return sum;
}

std::string_view fragment_name(std::string_view name) {
    return name.ends_with("/1") || name.ends_with("/2") ? name.substr(0, name.size() - 2) : name;
}

FragmentReader::FragmentReader(std::span<const std::string> paths,
                               const ClassifyPredictOptions& options,
                               const io::Tokenizer& tokenizer,
                               const Runtime& runtime) {
    const bool keeps = !options.classified_out.empty() || !options.unclassified_out.empty();
    for (const std::string& path : paths) {
        readers_.emplace_back(path, options.reading, tokenizer, keeps, runtime);
    }
}

bool FragmentReader::next(Fragment& fragment) {
    fragment.mates.clear();
    for (SequenceReader& reader : readers_) {
        Sequence mate;
        if (reader.next(mate.record)) {
            fragment.mates.push_back(std::move(mate));
        }
    }
    if (fragment.mates.empty()) {
        return false;
    }
    const io::RecordSummary& first = fragment.mates.front().record.summary;
    if (fragment.mates.size() < readers_.size()) {
        throw Error(ErrorCode::format,
                    concat("the files of the pairs (", readers_.front().path(), ", ",
                           readers_.back().path(),
                           ") have different numbers of records: ", first.name, " has no mate"))
            .at(readers_.front().path());
    }
    const io::RecordSummary& last = fragment.mates.back().record.summary;
    if (fragment_name(first.name) != fragment_name(last.name)) {
        throw Error(ErrorCode::format, concat("its mate in ", readers_.front().path(),
                                              " is called '", first.name, "'"))
            .at(readers_.back().path())
            .record(last.record, last.name);
    }
    return true;
}

SequenceFiles::SequenceFiles(const std::string& path, bool paired) {
    if (path.empty()) {
        return;
    }
    const std::size_t mark = paired ? path.find('#') : std::string::npos;
    if (mark == std::string::npos) {
        files_.emplace_back(path);
        return;
    }
    for (const char mate : {'1', '2'}) {
        std::string name = path;
        name[mark] = mate;
        files_.emplace_back(name);
    }
}

void SequenceFiles::write(const Fragment& fragment, std::string_view remark) {
    for (std::size_t mate = 0; mate < fragment.mates.size() && !files_.empty(); ++mate) {
        const WholeRecord& record = fragment.mates[mate].record;
        files_[std::min(mate, files_.size() - 1)].write(
            concat(">", record.summary.name, remark, "\n", record.letters, "\n"));
    }
}

void SequenceFiles::finish() {
    for (OutputFile& file : files_) {
        file.commit();
    }
}

}  // namespace mambase::pipelines
