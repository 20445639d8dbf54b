// The plainest reader of bigWig files: all values, through the index, and all summaries.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <zlib.h>

namespace mambase::test {

struct BigWigContents {
    struct Value {
        std::string contig;
        std::uint32_t begin;
        std::uint32_t end;
        float value;
        friend bool operator==(const Value&, const Value&) = default;
    };
    struct Summary {
        std::uint32_t contig, begin, end, bases;
        float least, most, sum, squares;
    };
    std::vector<std::pair<std::string, std::uint32_t>> contigs;  // by id
    std::vector<Value> values;
    std::map<std::uint32_t, std::vector<Summary>> summaries;  // by reduction
    std::uint64_t bases = 0;
    double least = 0.0, most = 0.0, sum = 0.0, squares = 0.0;
};

class BigWigReader {
  public:
    explicit BigWigReader(std::string_view bytes) : bytes_(bytes) {
        require(get<std::uint32_t>(0) == 0x888FFC26 && get<std::uint16_t>(4) == 4, "magic");
        require(get<std::uint32_t>(bytes.size() - 4) == 0x888FFC26, "closing magic");
        read_contigs(get<std::uint64_t>(8));
        const auto totals = get<std::uint64_t>(44);
        out_.bases = get<std::uint64_t>(totals);
        out_.least = get<double>(totals + 8);
        out_.most = get<double>(totals + 16);
        out_.sum = get<double>(totals + 24);
        out_.squares = get<double>(totals + 32);
        std::uint64_t blocks = 0;
        read_tree(get<std::uint64_t>(24), [&](const std::string& raw) {
            read_values(raw);
            ++blocks;
        });
        require(get<std::uint64_t>(get<std::uint64_t>(16)) == blocks, "number of blocks");
        for (std::size_t level = 0; level < get<std::uint16_t>(6); ++level) {
            const std::size_t at = 64 + 24 * level;
            std::vector<BigWigContents::Summary>& of = out_.summaries[get<std::uint32_t>(at)];
            read_tree(get<std::uint64_t>(at + 16), [&](const std::string& raw) {
                for (std::size_t i = 0; i + 32 <= raw.size(); i += 32) {
                    BigWigContents::Summary summary{};
                    std::memcpy(&summary, raw.data() + i, sizeof summary);
                    of.push_back(summary);
                }
            });
            require(get<std::uint32_t>(get<std::uint64_t>(at + 8)) == of.size(), "summaries");
        }
    }
    const BigWigContents& contents() const { return out_; }

  private:
    static void require(bool holds, const char* what) {
        if (!holds) {
            throw std::runtime_error(what);
        }
    }
    template <class T>
    T get(std::size_t at) const {
        return get_from<T>(bytes_, at);
    }
    template <class T>
    static T get_from(std::string_view text, std::size_t at) {
        require(at + sizeof(T) <= text.size(), "place past the end");
        T value{};
        std::memcpy(&value, text.data() + at, sizeof value);
        return value;
    }

    void read_contigs(std::size_t tree) {
        require(get<std::uint32_t>(tree) == 0x78CA8C91, "contig tree");
        contig_key_ = get<std::uint32_t>(tree + 8);
        out_.contigs.resize(get<std::uint64_t>(tree + 16));
        std::size_t seen = 0;
        read_contig_node(tree + 32, seen);
        require(seen == out_.contigs.size(), "number of contigs");
    }
    void read_contig_node(std::size_t at, std::size_t& seen) {
        const bool leaf = get<std::uint8_t>(at) == 1;
        const auto count = get<std::uint16_t>(at + 2);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t item = at + 4 + i * (contig_key_ + 8);
            if (!leaf) {
                read_contig_node(get<std::uint64_t>(item + contig_key_), seen);
                continue;
            }
            std::string name(bytes_.substr(item, contig_key_));
            name.resize(std::strlen(name.c_str()));
            require(get<std::uint32_t>(item + contig_key_) == seen, "contigs in order");
            require(seen == 0 || out_.contigs[seen - 1].first < name, "names in order");
            out_.contigs[seen++] = {name, get<std::uint32_t>(item + contig_key_ + 4)};
        }
    }

    template <class Take>
    void read_tree(std::size_t tree, const Take& take) {
        require(get<std::uint32_t>(tree) == 0x2468ACE0, "block tree");
        std::uint64_t seen = 0;
        read_node(tree + 48, take, seen);
        require(seen == get<std::uint64_t>(tree + 8), "number of blocks in the tree");
    }
    template <class Take>
    void read_node(std::size_t at, const Take& take, std::uint64_t& seen) {
        const bool leaf = get<std::uint8_t>(at) == 1;
        const auto count = get<std::uint16_t>(at + 2);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t item = at + 4 + i * (leaf ? 32 : 24);
            const auto offset = get<std::uint64_t>(item + 16);
            if (!leaf) {
                read_node(offset, take, seen);
                continue;
            }
            const std::string_view packed = bytes_.substr(offset, get<std::uint64_t>(item + 24));
            std::string raw(get<std::uint32_t>(52), '\0');  // no block may be larger
            uLongf size = raw.size();
            require(
                uncompress(reinterpret_cast<Bytef*>(raw.data()), &size,
                           reinterpret_cast<const Bytef*>(packed.data()), packed.size()) == Z_OK,
                "block");
            raw.resize(size);
            for (std::size_t field = 0; field < 2; ++field) {  // contig and first base
                require(
                    get<std::uint32_t>(item + 4 * field) == get_from<std::uint32_t>(raw, 4 * field),
                    "place in the index");
            }
            take(raw);
            ++seen;
        }
    }

    void read_values(const std::string& raw) {
        const std::string& contig = out_.contigs.at(get_from<std::uint32_t>(raw, 0)).first;
        auto begin = get_from<std::uint32_t>(raw, 4);
        const auto end = get_from<std::uint32_t>(raw, 8);
        const auto step = get_from<std::uint32_t>(raw, 12);
        const auto count = get_from<std::uint16_t>(raw, 22);
        if (get_from<std::uint8_t>(raw, 20) == 1) {
            require(count == 1 && raw.size() == 36, "bedGraph block");
            out_.values.push_back({contig, get_from<std::uint32_t>(raw, 24),
                                   get_from<std::uint32_t>(raw, 28), get_from<float>(raw, 32)});
            return;
        }
        require(get_from<std::uint8_t>(raw, 20) == 3 && get_from<std::uint32_t>(raw, 16) == step &&
                    raw.size() == 24 + 4U * count,
                "fixedStep block");
        for (std::size_t i = 0; i < count; ++i, begin += step) {
            out_.values.push_back({contig, begin, begin + step, get_from<float>(raw, 24 + 4 * i)});
        }
        require(begin == end, "end of a block");
    }

    std::string_view bytes_;
    std::size_t contig_key_ = 0;
    BigWigContents out_;
};

}  // namespace mambase::test
