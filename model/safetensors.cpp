#include "model/safetensors.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "model/json_reader.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

namespace mambase::model {

namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kMaxHeader = 100'000'000;
constexpr std::size_t kDataAlignment = 64;  // of the data in files that we write
constexpr const char* kMetadata = "__metadata__";

struct TypeSize {
    std::string_view name;
    std::int64_t bytes;
};
constexpr std::array<TypeSize, 15> kTypes{{{"BOOL", 1},
                                           {"U8", 1},
                                           {"I8", 1},
                                           {"F8_E4M3", 1},
                                           {"F8_E5M2", 1},
                                           {"I16", 2},
                                           {"U16", 2},
                                           {"F16", 2},
                                           {"BF16", 2},
                                           {"I32", 4},
                                           {"U32", 4},
                                           {"F32", 4},
                                           {"F64", 8},
                                           {"I64", 8},
                                           {"U64", 8}}};

/// 0 for an unknown type.
std::int64_t bytes_of(std::string_view dtype) {
    const auto* const found = std::find_if(
        kTypes.begin(), kTypes.end(), [&](const TypeSize& type) { return type.name == dtype; });
    return found == kTypes.end() ? 0 : found->bytes;
}

std::string_view file_name_of(DType dtype) {
    switch (dtype) {
        case DType::f32:
            return "F32";
        case DType::f64:
            return "F64";
        case DType::bf16:
            return "BF16";
        case DType::i32:
            return "I32";
        case DType::i64:
            return "I64";
        case DType::u8:
            return "U8";
    }
    return "";
}

Error tensor_error(const std::string& file, std::string_view tensor, std::string_view what) {
    Error problem(ErrorCode::format, concat("tensor ", tensor, " ", what));
    problem.at(file);
    return problem;
}

Shape parse_shape(const json& extents, const std::string& file, const std::string& tensor) {
    if (!extents.is_array() || extents.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
        throw tensor_error(file, tensor, "has no shape of at most five dimensions");
    }
    std::array<std::int64_t, Shape::kMaxRank> values{};
    for (std::size_t i = 0; i < extents.size(); ++i) {
        if (!extents[i].is_number_unsigned() ||
            extents[i].get<std::uint64_t>() > (std::uint64_t{1} << 62)) {
            throw tensor_error(file, tensor, "has a shape that is not of whole numbers");
        }
        values[i] = extents[i].get<std::int64_t>();
    }
    try {
        switch (extents.size()) {
            case 0:
                return {};
            case 1:
                return {values[0]};
            case 2:
                return {values[0], values[1]};
            case 3:
                return {values[0], values[1], values[2]};
            case 4:
                return {values[0], values[1], values[2], values[3]};
            default:
                return {values[0], values[1], values[2], values[3], values[4]};
        }
    } catch (const Error&) {
        throw tensor_error(file, tensor, "has a shape past 63 bits");
    }
}

SafetensorsEntry parse_entry(const std::string& name, const json& value, const std::string& file) {
    if (!value.is_object()) {
        throw tensor_error(file, name, "is not described by a JSON object");
    }
    JsonReader reader(value, name, file);
    SafetensorsEntry out;
    out.name = name;
    out.dtype = reader.get<std::string>("dtype");
    const json* const shape = reader.member("shape");
    const json* const offsets = reader.member("data_offsets");
    reader.require_all_known();
    const std::int64_t element = bytes_of(out.dtype);
    if (element == 0) {
        throw tensor_error(file, name, concat("has the unknown dtype \"", out.dtype, "\""));
    }
    out.shape = parse_shape(shape == nullptr ? json() : *shape, file, name);
    if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2 ||
        !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
        throw tensor_error(file, name, "has no pair of data_offsets");
    }
    const auto begin = (*offsets)[0].get<std::uint64_t>();
    const auto end = (*offsets)[1].get<std::uint64_t>();
    if (begin > end || end > (std::uint64_t{1} << 62)) {
        throw tensor_error(file, name, "has data_offsets that end before they begin");
    }
    out.begin = static_cast<std::int64_t>(begin);
    out.end = static_cast<std::int64_t>(end);
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(out.shape.count(), element, &bytes) ||
        bytes != out.end - out.begin) {
        throw tensor_error(file, name,
                           concat("has ", out.end - out.begin, " bytes of data, but is ",
                                  out.shape.text(), " of ", out.dtype));
    }
    return out;
}

/// Tensors lie one after the other and fill the data.
void check_layout(const std::vector<SafetensorsEntry>& entries,
                  std::int64_t data_bytes,
                  const std::string& file) {
    std::int64_t expected = 0;
    for (const SafetensorsEntry& entry : entries) {
        if (entry.begin != expected) {
            throw tensor_error(
                file, entry.name,
                concat(entry.begin < expected ? "overlaps the tensor before it"
                                              : "leaves a gap before it",
                       ": it begins at byte ", entry.begin, " of the data, not ", expected));
        }
        if (entry.end > data_bytes) {
            throw tensor_error(file, entry.name,
                               concat("reaches past the end of the file: it ends at byte ",
                                      entry.end, " of ", data_bytes, " bytes of data"));
        }
        expected = entry.end;
    }
    if (expected != data_bytes) {
        throw Error(ErrorCode::format, concat("the tensors end at byte ", expected, " of ",
                                              data_bytes, " bytes of data"))
            .at(file);
    }
}

float widen_half(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1FU;
    const std::uint32_t fraction = half & 0x3FFU;
    if (exponent == 0) {  // zero or a denormal: fraction · 2^-24
        const float magnitude = static_cast<float>(fraction) * 0x1.0p-24F;
        return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
    }
    const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
    return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

float widen_bfloat(std::uint16_t value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

template <class Widen>
void widen(std::span<const std::byte> from, float* to, Widen one) {
    for (std::size_t i = 0; i < from.size() / 2; ++i) {
        std::uint16_t value = 0;
        std::memcpy(&value, from.data() + 2 * i, sizeof value);
        to[i] = one(value);
    }
}

}  // namespace

SafetensorsHeader SafetensorsHeader::parse(std::span<const std::byte> file_bytes,
                                           const std::string& file) {
    const auto size = static_cast<std::int64_t>(file_bytes.size());
    const auto broken = [&](std::string_view what) {
        return Error(ErrorCode::format, concat("not a safetensors file: ", what)).at(file);
    };
    if (size < kLengthBytes) {
        throw broken("it is shorter than the length of a header");
    }
    std::uint64_t length = 0;
    std::memcpy(&length, file_bytes.data(), sizeof length);
    if (length > static_cast<std::uint64_t>(kMaxHeader)) {
        throw broken(concat("its header would be ", length, " bytes long, over 100 MB"));
    }
    SafetensorsHeader out;
    out.data_begin = kLengthBytes + static_cast<std::int64_t>(length);
    if (out.data_begin > size) {
        throw broken(
            concat("its header of ", length, " bytes reaches past the end, at byte ", size));
    }
    const std::string_view text(reinterpret_cast<const char*>(file_bytes.data()) + kLengthBytes,
                                static_cast<std::size_t>(length));
    const json document = parse_json(text, file);
    if (!document.is_object()) {
        throw broken("its header is not a JSON object");
    }
    for (const auto& [name, value] : document.items()) {
        if (name != kMetadata) {
            out.entries.push_back(parse_entry(name, value, file));
            continue;
        }
        JsonReader reader(value, kMetadata, file);
        for (const auto& [key, text_value] : value.items()) {
            out.metadata[key] = reader.get<std::string>(key);
        }
    }
    std::stable_sort(out.entries.begin(), out.entries.end(),
                     [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
                         return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
                     });
    check_layout(out.entries, size - out.data_begin, file);
    return out;
}

SafetensorsFile::SafetensorsFile(const std::string& path)
    : path_(path), file_(path), header_(SafetensorsHeader::parse(file_.bytes(), path)) {}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const noexcept {
    const auto found =
        std::find_if(header_.entries.begin(), header_.entries.end(),
                     [&](const SafetensorsEntry& entry) { return entry.name == name; });
    return found == header_.entries.end() ? nullptr : &*found;
}

const SafetensorsEntry& SafetensorsFile::at(std::string_view name) const {
    const SafetensorsEntry* const entry = find(name);
    if (entry == nullptr) {
        throw tensor_error(path_, name, "is missing");
    }
    return *entry;
}

std::span<const std::byte> SafetensorsFile::bytes(const SafetensorsEntry& entry) const {
    return file_.bytes().subspan(static_cast<std::size_t>(header_.data_begin + entry.begin),
                                 static_cast<std::size_t>(entry.end - entry.begin));
}

void SafetensorsFile::read(std::string_view name, TensorView out) const {
    const SafetensorsEntry& entry = at(name);
    if (entry.shape != out.shape()) {
        throw tensor_error(path_, name,
                           concat("is ", entry.shape.text(), ", not ", out.shape().text()));
    }
    MAMBASE_ASSERT(out.is_contiguous());
    const std::span<const std::byte> from = bytes(entry);
    if (entry.dtype == file_name_of(out.dtype())) {
        if (!from.empty()) {
            std::memcpy(out.data(), from.data(), from.size());
        }
    } else if (out.dtype() == DType::f32 && entry.dtype == "BF16") {
        widen(from, static_cast<float*>(out.data()), widen_bfloat);
    } else if (out.dtype() == DType::f32 && entry.dtype == "F16") {
        widen(from, static_cast<float*>(out.data()), widen_half);
    } else {
        throw tensor_error(path_, name,
                           concat("is of type ", entry.dtype, ", not ", file_name_of(out.dtype())));
    }
}

SafetensorsWriter::SafetensorsWriter(std::string path) : path_(std::move(path)) {}

void SafetensorsWriter::set_metadata(std::string key, std::string value) {
    metadata_[std::move(key)] = std::move(value);
}

void SafetensorsWriter::add(std::string name, ConstTensorView value) {
    MAMBASE_ASSERT(value.is_contiguous() && value.device() == Device{});
    items_.push_back({std::move(name), value});
}

void SafetensorsWriter::commit() {
    std::sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) {
        const std::int64_t size_a = size_of(a.value.dtype());
        const std::int64_t size_b = size_of(b.value.dtype());
        return size_a != size_b ? size_a > size_b : a.name < b.name;
    });
    json header = json::object();
    if (!metadata_.empty()) {
        header[kMetadata] = metadata_;
    }
    std::int64_t offset = 0;
    for (const Item& item : items_) {
        MAMBASE_ASSERT(!header.contains(item.name));
        json shape = json::array();
        for (int dim = 0; dim < item.value.shape().rank(); ++dim) {
            shape.push_back(item.value.extent(dim));
        }
        const std::int64_t end =
            checked_add(offset, checked_mul(item.value.count(), size_of(item.value.dtype())));
        header[item.name] = {{"dtype", file_name_of(item.value.dtype())},
                             {"shape", std::move(shape)},
                             {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text = header.dump();
    while ((text.size() + static_cast<std::size_t>(kLengthBytes)) % kDataAlignment != 0) {
        text.push_back(' ');
    }
    const std::uint64_t length = text.size();
    OutputFile out(path_);
    out.write(std::as_bytes(std::span(&length, 1)));
    out.write(text);
    for (const Item& item : items_) {
        out.write({static_cast<const std::byte*>(item.value.data()),
                   static_cast<std::size_t>(item.value.count() * size_of(item.value.dtype()))});
    }
    out.commit();
}

}  // namespace mambase::model
