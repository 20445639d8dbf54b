#include "genomics_io/alignment_source.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/references.hpp"
#include "genomics_io/text_sources.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>
#include <vector>

#include <htslib/cram.h>

namespace mambase::io {

namespace {

/// Letters of HTSlib's four bits (one for each of A, C, G, T), and of the complement: its bits the
/// other way round.
constexpr std::array<char, 17> kLetters{"=ACMGRSVTWYHKDBN"};
constexpr std::array<char, 17> kComplements{"=TGKCYSBAWRDMHVN"};

using Pair = std::array<char, 2>;
template <class Spell>
constexpr std::array<Pair, 256> pairs(Spell spell) {
    std::array<Pair, 256> out{};
    for (unsigned byte = 0; byte < out.size(); ++byte) {
        out[byte] = spell(byte >> 4U, byte & 0xFU);
    }
    return out;
}
/// Of a byte: its two bases, the left one in the upper half; and those of the other strand.
constexpr auto kPairs = pairs([](unsigned left, unsigned right) {
    return Pair{kLetters[left], kLetters[right]};
});
constexpr auto kReversedPairs = pairs([](unsigned left, unsigned right) {
    return Pair{kComplements[right], kComplements[left]};
});

// What hts_check_EOF answers, beside 1 (there) and 3 (a version without end markers).
constexpr int kMarkerMissing = 0;
constexpr int kMarkerUnknown = 2;

class AlignmentSource final : public SequenceSource {
  public:
    AlignmentSource(const std::string& path, HFileHandle file, const ReadOptions& options)
        : path_(path),
          has_reference_(!options.reference.empty()),
          ignore_eof_(options.ignore_eof),
          bases_(kSegmentBases) {
        file_.reset(hts_hopen(file.get(), path.c_str(), "r"));
        if (!file_) {
            throw Error(ErrorCode::format, "the header is damaged or cut short").at(path);
        }
        static_cast<void>(file.release());  // closed with file_ from here on
        if (is_cram()) {
            set_reference(file_.get(), options);
            hts_set_opt(file_.get(), CRAM_OPT_REQUIRED_FIELDS, SAM_QNAME | SAM_FLAG | SAM_SEQ);
            hts_set_opt(file_.get(), CRAM_OPT_DECODE_MD, 0);
            cram_marker_ = hts_check_EOF(file_.get());
        }
        // The threads of BAM start after its header: HTSlib looks for the end marker there, and
        // waits for ever where they have met an error. With threads it forgets how a CRAM ended,
        // and a pipe cannot be looked into before.
        const bool bam = file_->format.format == ::bam;
        const bool threaded = options.threads > 0 && (!is_cram() || cram_marker_ != kMarkerUnknown);
        if (threaded && !bam) {
            start_threads(options.threads);
        }
        header_.reset(sam_hdr_read(file_.get()));
        alignment_.reset(bam_init1());
        if (!header_) {
            throw Error(ErrorCode::format, "the header cannot be read: damaged or cut short")
                .at(path);
        }
        if (!alignment_) {
            throw Error(ErrorCode::out_of_memory, "no memory for an alignment").at(path);
        }
        if (threaded && bam) {
            start_threads(options.threads);
        }
    }

    const std::string& path() const override { return path_; }
    bool has_reads() const override { return true; }
    Skipped skipped() const override { return skipped_; }

    bool next(Segment& segment) override {
        const bool first = at_ == length_;
        if (first && !read_alignment()) {
            return false;
        }
        const std::int64_t n = std::min(length_ - at_, static_cast<std::int64_t>(bases_.size()));
        spell(at_, n);
        segment.record = record_;
        segment.name = name_;
        segment.start = at_;
        segment.bases = {bases_.data(), static_cast<std::size_t>(n)};
        segment.first = first;
        at_ += n;
        segment.last = at_ == length_;
        return true;
    }

  private:
    bool is_cram() const { return file_->format.format == cram; }

    void start_threads(int additional) {
        if (hts_set_threads(file_.get(), additional + 1) != 0) {
            throw Error(ErrorCode::io, "cannot start the threads that decode").at(path_);
        }
    }

    /// The next one that is a read; false at the end of the file.
    bool read_alignment() {
        while (!ended_) {  // asked again after the end, threads of HTSlib wait for ever
            const int result = sam_read1(file_.get(), header_.get(), alignment_.get());
            if (result < -1) {
                fail();
            }
            ended_ = result < 0;
            if (ended_) {
                require_end_marker();
                break;
            }
            ++alignments_;
            const unsigned flag = alignment_->core.flag;
            if ((flag & BAM_FSECONDARY) != 0) {
                ++skipped_.secondary;
            } else if ((flag & BAM_FSUPPLEMENTARY) != 0) {
                ++skipped_.supplementary;
            } else {
                begin_read(flag);
                return true;
            }
        }
        return false;
    }

    void begin_read(unsigned flag) {
        ++record_;
        name_ = bam_get_qname(alignment_.get());
        if (name_.empty()) {
            name_ = "*";
        }
        const unsigned mate = flag & (BAM_FREAD1 | BAM_FREAD2);
        if (mate == BAM_FREAD1 || mate == BAM_FREAD2) {
            name_ += mate == BAM_FREAD1 ? "/1" : "/2";
        }
        reverse_ = (flag & BAM_FREVERSE) != 0;
        length_ = alignment_->core.l_qseq;
        at_ = 0;
    }

    /// Bases [from, from + n) of the read as it was sequenced, into bases_.
    void spell(std::int64_t from, std::int64_t n) {
        const std::uint8_t* const codes = bam_get_seq(alignment_.get());
        char* out = bases_.data();
        if (reverse_) {
            std::int64_t end = length_ - from;
            const std::int64_t begin = end - n;
            if (end % 2 == 1 && end > begin) {
                *out++ = kReversedPairs[codes[--end / 2]][1];
            }
            for (; end - begin >= 2; end -= 2, out += 2) {
                std::copy_n(kReversedPairs[codes[end / 2 - 1]].data(), 2, out);
            }
            if (end > begin) {
                *out = kReversedPairs[codes[begin / 2]][0];
            }
            return;
        }
        std::int64_t at = from;
        const std::int64_t end = from + n;
        if (at % 2 == 1 && at < end) {
            *out++ = kPairs[codes[at++ / 2]][1];
        }
        for (; end - at >= 2; at += 2, out += 2) {
            std::copy_n(kPairs[codes[at / 2]].data(), 2, out);
        }
        if (at < end) {
            *out = kPairs[codes[at / 2]][0];
        }
    }

    Error located(Error error) const {
        error.at(path_);
        if (!is_cram() && file_->is_bgzf != 0) {
            error.offset(bgzf_tell(file_->fp.bgzf), "virtual offset");
        } else if (file_->format.format == sam) {
            error.offset(file_->lineno, "line");
        }
        return error;
    }

    [[noreturn]] void fail() const {
        std::string what =
            concat("alignment ", alignments_,
                   " of the file (counted from 0) is malformed, damaged or cut short");
        if (is_cram() && has_reference_) {
            what += ", or the reference is not the one that it was written against";
        } else if (is_cram()) {
            what +=
                ", or its reference is missing: give it with -T, or have it where REF_PATH or "
                "REF_CACHE says (none is fetched from a network)";
        }
        throw located(Error(ErrorCode::format, what));
    }

    void require_end_marker() const {
        if (!is_cram() && file_->is_bgzf != 0 && file_->fp.bgzf->errcode != 0) {
            fail();  // to its threads a file that cannot be read on is one that has ended
        }
        bool missing = false;
        if (is_cram()) {
            missing = cram_marker_ == kMarkerMissing ||
                      (cram_marker_ == kMarkerUnknown && cram_eof(file_->fp.cram) != 1);
        } else if (file_->is_bgzf != 0 && file_->format.compression == bgzf) {
            missing = file_->fp.bgzf->no_eof_block != 0;
        }
        if (missing && !ignore_eof_) {
            throw located(Error(ErrorCode::format,
                                "the end marker is missing, so the file may be truncated "
                                "(--ignore-eof accepts it)"));
        }
    }

    std::string path_;
    bool has_reference_;
    bool ignore_eof_;
    HtsFileHandle file_;
    int cram_marker_ = kMarkerUnknown;
    SamHeaderHandle header_;
    AlignmentHandle alignment_;
    std::int64_t alignments_ = 0;  // read, skipped ones too
    Skipped skipped_;
    bool ended_ = false;

    std::int64_t record_ = -1;
    std::string name_;
    bool reverse_ = false;
    std::int64_t length_ = 0;
    std::int64_t at_ = 0;  // of the next base
    std::vector<char> bases_;
};

}  // namespace

std::unique_ptr<SequenceSource> read_alignments(const std::string& path,
                                                HFileHandle file,
                                                const ReadOptions& options) {
    return std::make_unique<AlignmentSource>(path, std::move(file), options);
}

}  // namespace mambase::io
