#include "pipelines/sequence_reader.hpp"

#include "genomics_io/open.hpp"
#include "genomics_io/segment_encoder.hpp"

namespace mambase::pipelines {

SequenceReader::SequenceReader(const std::string& path,
                               const ReadingOptions& options,
                               const io::Tokenizer& tokenizer,
                               bool keep_letters,
                               const Runtime& runtime)
    : source_(io::open_sequences(path, options.read_options())),
      tokenizer_(tokenizer),
      keep_letters_(keep_letters),
      runtime_(runtime) {}

bool SequenceReader::next(WholeRecord& record) {
    record = {};
    io::Segment segment;
    while (source_->next(segment)) {
        if (segment.first) {
            record.summary.record = segment.record;
            record.summary.name = segment.name;
        }
        const std::size_t length = record.codes.size();
        record.codes.resize(length + segment.bases.size());
        io::encode_segment(tokenizer_, source_->path(), segment, io::Strand::forward, 0,
                           segment.bases.size(), record.codes.data() + length, record.summary);
        if (keep_letters_) {
            record.letters.append(segment.bases.data(), segment.bases.size());
        }
        if (segment.last) {
            tell_letters(record.summary, runtime_.observer);
            return true;
        }
        runtime_.throw_if_stopped();
    }
    tell_skipped(source_->path(), source_->skipped(), runtime_.observer);
    return false;
}

}  // namespace mambase::pipelines
