#include "genomics_io/record_spool.hpp"

#include "genomics_io/alphabet.hpp"
#include "tests/unit/genomics_io/source_conformance.hpp"

using namespace mambase;
using namespace mambase::io;

namespace {

/// What a spool gives, which it has to outlive.
class SpooledSource final : public SequenceSource {
  public:
    SpooledSource(const std::vector<test::Record>& records, Strand strand) {
        test::MemorySource source(records, 5, 70000);
        if (spool_.fill(source, Tokenizer::named("dna"), 1 << 20, std::int64_t{1} << 40)) {
            source_ = spool_.read(strand);
        }
    }
    bool next(Segment& segment) override { return source_ != nullptr && source_->next(segment); }
    const std::string& path() const override { return source_->path(); }

  private:
    RecordSpool spool_;
    std::unique_ptr<SequenceSource> source_;
};

}  // namespace

TEST_CASE("a spool does what a source has to do, on either strand") {
    test::check_conformance(
        [](const std::vector<test::Record>& records) {
            return std::make_unique<SpooledSource>(records, Strand::forward);
        },
        false);
    test::check_conformance(
        [](std::vector<test::Record> records) {
            for (test::Record& record : records) {
                reverse_complement(record.bases);
            }
            return std::make_unique<SpooledSource>(records, Strand::reverse);
        },
        false);
}

TEST_CASE("a spool takes whole records up to its limits, again and again") {
    const std::vector<test::Record> records{{"a", "ACGT"}, {"b", ""},  {"c", "GG"},
                                            {"d", "TTT"},  {"e", "A"}, {"f", "CCCCCCC"}};
    for (const std::int64_t most_bases : {1, 4, 5, 6, 100}) {
        for (const std::int64_t most_records : {1, 2, 100}) {
            test::MemorySource source(records, 1, 3);
            RecordSpool spool;
            std::vector<test::Record> got;
            while (spool.fill(source, Tokenizer::named("dna"), most_records, most_bases)) {
                REQUIRE_FALSE(spool.records().empty());
                REQUIRE(static_cast<std::int64_t>(spool.records().size()) <= most_records);
                std::int64_t before_last = 0;
                for (std::size_t i = 0; i + 1 < spool.records().size(); ++i) {
                    before_last += spool.records()[i].length;
                }
                REQUIRE((before_last < most_bases || before_last == 0));
                REQUIRE(spool.records().front().index == static_cast<std::int64_t>(got.size()));
                for (test::Record& record : test::collect(*spool.read(Strand::forward))) {
                    got.push_back(std::move(record));
                }
            }
            REQUIRE(got == records);
        }
    }
}

TEST_CASE("a spool judges letters where they stand") {
    test::MemorySource source({{"a", "ACGT"}, {"b", "ACEGT"}}, 1, 3);
    RecordSpool spool;
    CHECK_THAT(
        test::error_of([&] { spool.fill(source, Tokenizer::named("dna"), 9, 99); }),
        Catch::Contains("record 1 (b): 'E' is not a nucleotide code") && Catch::Contains("b:3-3"));
}
