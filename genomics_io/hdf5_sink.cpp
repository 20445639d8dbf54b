#include "genomics_io/hdf5_sink.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <hdf5.h>
#include <system_error>
#include <utility>
#include <vector>

namespace mambase::io {

namespace {

constexpr std::int64_t kChunkBytes = std::int64_t{1} << 18;
constexpr hsize_t kSpanChunk = 1024;

/// Owner of an identifier of HDF5, closed by `Close`.
template <herr_t (*Close)(hid_t)>
class Handle {
  public:
    explicit Handle(hid_t id = H5I_INVALID_HID) : id_(id) {}
    Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
    Handle& operator=(Handle&& other) noexcept {
        std::swap(id_, other.id_);
        return *this;
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() {
        if (id_ >= 0) {
            Close(id_);
        }
    }
    hid_t get() const { return id_; }
    herr_t close() { return Close(std::exchange(id_, H5I_INVALID_HID)); }

  private:
    hid_t id_;
};

using FileHandle = Handle<H5Fclose>;
using Dataset = Handle<H5Dclose>;
using Space = Handle<H5Sclose>;
using Type = Handle<H5Tclose>;
using Properties = Handle<H5Pclose>;
using Attribute = Handle<H5Aclose>;

/// A line of "rows" as HDF5 takes it from memory.
struct SpanLine {
    const char* contig;
    std::int64_t start;
    std::int64_t end;
    char strand;
    std::int64_t first_row;
    std::int64_t rows;
};

struct Span {
    std::string contig;
    std::int64_t start;
    std::int64_t end;
    char strand;
    std::int64_t first_row;
    std::int64_t rows;
};

}  // namespace

struct Hdf5Sink::State {
    State(const std::string& path, RowType type, std::int64_t dim)
        : place(path), encoder(path, type, dim) {}

    template <class Result>
    Result require(Result result) const {
        if (result < 0) {
            const int number = errno;
            throw Error(ErrorCode::io,
                        concat("cannot write HDF5",
                               number != 0 ? ": " + std::generic_category().message(number) : ""))
                .at(place.path());
        }
        return result;
    }

    Dataset make(const char* name, hid_t type, const std::vector<hsize_t>& chunk) const {
        std::vector<hsize_t> none = chunk;
        std::vector<hsize_t> most = chunk;
        none[0] = 0;
        most[0] = H5S_UNLIMITED;
        const int rank = static_cast<int>(chunk.size());
        const Space space(require(H5Screate_simple(rank, none.data(), most.data())));
        const Properties properties(require(H5Pcreate(H5P_DATASET_CREATE)));
        require(H5Pset_chunk(properties.get(), rank, chunk.data()));
        require(H5Pset_obj_track_times(properties.get(), false));
        return Dataset(require(H5Dcreate2(file.get(), name, type, space.get(), H5P_DEFAULT,
                                          properties.get(), H5P_DEFAULT)));
    }

    /// n rows from `first` on of a dataset that is grown to `total` rows of `width` numbers (0: a
    /// line each).
    void write(const Dataset& to,
               hid_t type,
               std::int64_t first,
               std::int64_t n,
               std::int64_t width,
               std::int64_t total,
               const void* from) const {
        const int rank = width == 0 ? 1 : 2;
        const auto second = static_cast<hsize_t>(width);
        const std::array<hsize_t, 2> extent{static_cast<hsize_t>(total), second};
        const std::array<hsize_t, 2> start{static_cast<hsize_t>(first), 0};
        const std::array<hsize_t, 2> count{static_cast<hsize_t>(n), second};
        require(H5Dset_extent(to.get(), extent.data()));
        const Space in_file(require(H5Dget_space(to.get())));
        const Space in_memory(require(H5Screate_simple(rank, count.data(), nullptr)));
        require(H5Sselect_hyperslab(in_file.get(), H5S_SELECT_SET, start.data(), nullptr,
                                    count.data(), nullptr));
        require(H5Dwrite(to.get(), type, in_memory.get(), in_file.get(), H5P_DEFAULT, from));
    }

    void flush_spans() {
        std::vector<SpanLine> lines;
        lines.reserve(spans.size());
        for (const Span& span : spans) {
            lines.push_back({span.contig.c_str(), span.start, span.end, span.strand, span.first_row,
                             span.rows});
        }
        const auto n = static_cast<std::int64_t>(lines.size());
        if (n > 0) {
            write(table, span_type.get(), spans_written, n, 0, spans_written + n, lines.data());
        }
        spans_written += n;
        spans.clear();
    }

    void add_attribute(const std::string& name, hid_t type, const void* value) const {
        const Space scalar(require(H5Screate(H5S_SCALAR)));
        const Attribute attribute(require(
            H5Acreate2(file.get(), name.c_str(), type, scalar.get(), H5P_DEFAULT, H5P_DEFAULT)));
        require(H5Awrite(attribute.get(), type, value));
    }

    OutputPath place;
    RowEncoder encoder;
    FileHandle file;
    Type row_type;
    Type span_type;
    Dataset array;
    Dataset table;
    std::int64_t rows_written = 0;  // one past the highest
    std::vector<Span> spans;        // that wait
    std::int64_t spans_written = 0;
};

namespace {

Type half_type() {
    Type type(H5Tcopy(H5T_IEEE_F32LE));
    H5Tset_fields(type.get(), 15, 10, 5, 0, 10);
    H5Tset_size(type.get(), 2);
    H5Tset_ebias(type.get(), 15);
    return type;
}

Type text_type() {
    Type type(H5Tcopy(H5T_C_S1));
    H5Tset_size(type.get(), H5T_VARIABLE);
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    return type;
}

Type span_line_type() {
    const Type text = text_type();
    const Type letter(H5Tcopy(H5T_C_S1));
    H5Tset_strpad(letter.get(), H5T_STR_NULLPAD);  // of one letter, which C_S1 would end at once
    Type type(H5Tcreate(H5T_COMPOUND, sizeof(SpanLine)));
    H5Tinsert(type.get(), "contig", HOFFSET(SpanLine, contig), text.get());
    H5Tinsert(type.get(), "start", HOFFSET(SpanLine, start), H5T_NATIVE_INT64);
    H5Tinsert(type.get(), "end", HOFFSET(SpanLine, end), H5T_NATIVE_INT64);
    H5Tinsert(type.get(), "strand", HOFFSET(SpanLine, strand), letter.get());
    H5Tinsert(type.get(), "first_row", HOFFSET(SpanLine, first_row), H5T_NATIVE_INT64);
    H5Tinsert(type.get(), "rows", HOFFSET(SpanLine, rows), H5T_NATIVE_INT64);
    return type;
}

}  // namespace

Hdf5Sink::Hdf5Sink(const std::string& path, RowType type, std::int64_t dim) {
    MAMBASE_REQUIRE(path != "-", ErrorCode::unsupported,
                    "HDF5 is written in place: it needs a file, not standard output");
    H5dont_atexit();  // after a write that failed its tidying up at exit crashes; we close it all
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // its words lack the file's name
    state_ = std::make_unique<State>(path, type, dim);
    State& to = *state_;
    errno = 0;
    const Properties properties(to.require(H5Pcreate(H5P_FILE_CREATE)));
    to.require(H5Pset_obj_track_times(properties.get(), false));
    to.file = FileHandle(to.require(
        H5Fcreate(to.place.temporary().c_str(), H5F_ACC_TRUNC, properties.get(), H5P_DEFAULT)));
    to.row_type = type == RowType::f16 ? half_type() : Type(H5Tcopy(H5T_IEEE_F32LE));
    to.span_type = span_line_type();
    const std::int64_t chunk = std::max<std::int64_t>(1, kChunkBytes / row_bytes(type, dim));
    to.array = to.make("embedding", to.row_type.get(),
                       {static_cast<hsize_t>(chunk), static_cast<hsize_t>(dim)});
    to.table = to.make("rows", to.span_type.get(), {kSpanChunk});
}

Hdf5Sink::~Hdf5Sink() = default;

void Hdf5Sink::write_rows(std::int64_t first_row, const float* rows, std::int64_t n) {
    State& to = *state_;
    const std::span<const std::byte> bytes = to.encoder.encode(first_row, rows, n);
    to.rows_written = std::max(to.rows_written, first_row + n);
    errno = 0;
    to.write(to.array, to.row_type.get(), first_row, n, to.encoder.dim(), to.rows_written,
             bytes.data());
}

void Hdf5Sink::add_span(std::string_view contig,
                        std::int64_t start,
                        std::int64_t end,
                        std::string_view strand,
                        std::int64_t first_row,
                        std::int64_t rows) {
    state_->spans.push_back({std::string(contig), start, end, strand.at(0), first_row, rows});
    if (state_->spans.size() == kSpanChunk) {
        errno = 0;
        state_->flush_spans();
    }
}

void Hdf5Sink::attribute(const std::string& name, const std::string& text) {
    const char* const value = text.c_str();
    state_->add_attribute(name, text_type().get(), &value);
}

void Hdf5Sink::attribute(const std::string& name, std::int64_t number) {
    state_->add_attribute(name, H5T_NATIVE_INT64, &number);
}

void Hdf5Sink::finish(std::int64_t total_rows) {
    State& to = *state_;
    errno = 0;
    to.flush_spans();
    const std::array<hsize_t, 2> extent{static_cast<hsize_t>(total_rows),
                                        static_cast<hsize_t>(to.encoder.dim())};
    to.require(H5Dset_extent(to.array.get(), extent.data()));
    to.require(to.array.close());
    to.require(to.table.close());
    to.require(to.file.close());
    to.place.commit();
}

}  // namespace mambase::io
