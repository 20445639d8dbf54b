// safetensors files: eight bytes of header length, a JSON header, raw little-endian tensors.
#pragma once

#include "base/file.hpp"
#include "kernels/tensor/shape.hpp"
#include "kernels/tensor/view.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::model {

struct SafetensorsEntry {
    std::string name;
    std::string dtype;  // as in the file: "F32", "BF16", "I64", …
    Shape shape;
    std::int64_t begin = 0;  // bytes, from the start of the data
    std::int64_t end = 0;
};

/// The header alone. Throws Error{format} naming `file` and the tensor: header over 100 MB or past
/// the end of the file, not JSON, duplicate names, an unknown dtype, more than five dimensions,
/// offsets that leave a gap, overlap or reach outside, a size that is not dtype times shape.
struct SafetensorsHeader {
    std::vector<SafetensorsEntry> entries;        // by offset
    std::map<std::string, std::string> metadata;  // "__metadata__"
    std::int64_t data_begin = 0;                  // byte of the file where the data starts

    static SafetensorsHeader parse(std::span<const std::byte> file_bytes, const std::string& file);
};

/// A mapped file, read tensor by tensor.
class SafetensorsFile {
  public:
    explicit SafetensorsFile(const std::string& path);

    const std::string& path() const noexcept { return path_; }
    const std::vector<SafetensorsEntry>& entries() const noexcept { return header_.entries; }
    const std::map<std::string, std::string>& metadata() const noexcept { return header_.metadata; }
    /// Null where there is no such tensor.
    const SafetensorsEntry* find(std::string_view name) const noexcept;
    /// Throws Error{format} where there is none.
    const SafetensorsEntry& at(std::string_view name) const;
    /// Raw bytes; no alignment is promised.
    std::span<const std::byte> bytes(const SafetensorsEntry& entry) const;
    /// Copies a tensor into `out` (contiguous, host memory) of the same shape and type. F16 and
    /// BF16 widen to f32. Throws Error{format} naming file and tensor where shape or type differ.
    void read(std::string_view name, TensorView out) const;

  private:
    std::string path_;
    MappedFile file_;
    SafetensorsHeader header_;
};

/// Writes a whole file, by rename. Larger elements first, then by name, so that every tensor is
/// aligned to its element.
class SafetensorsWriter {
  public:
    explicit SafetensorsWriter(std::string path);
    void set_metadata(std::string key, std::string value);
    /// `value`: contiguous, host memory, alive and unchanged until commit(). f32, f64, i32, i64,
    /// u8.
    void add(std::string name, ConstTensorView value);
    /// Throws Error{io}.
    void commit();

  private:
    struct Item {
        std::string name;
        ConstTensorView value;
    };
    std::string path_;
    std::map<std::string, std::string> metadata_;
    std::vector<Item> items_;
};

}  // namespace mambase::model
