// The sink of a build without libhdf5.
#include "base/error.hpp"
#include "genomics_io/hdf5_sink.hpp"

namespace mambase::io {

struct Hdf5Sink::State {};

Hdf5Sink::Hdf5Sink(const std::string& path, RowType /*type*/, std::int64_t /*dim*/) {
    throw Error(ErrorCode::unsupported,
                "this build has no HDF5 (it was not there when mambase was built: libhdf5-dev); "
                "write .npy")
        .at(path);
}
Hdf5Sink::~Hdf5Sink() = default;

void Hdf5Sink::write_rows(std::int64_t, const float*, std::int64_t) {}
void Hdf5Sink::add_span(
    std::string_view, std::int64_t, std::int64_t, std::string_view, std::int64_t, std::int64_t) {}
void Hdf5Sink::attribute(const std::string&, const std::string&) {}
void Hdf5Sink::attribute(const std::string&, std::int64_t) {}
void Hdf5Sink::finish(std::int64_t) {}

}  // namespace mambase::io
