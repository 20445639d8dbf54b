// data/presets/*.json as part of the program; written by CMake. Private to model/.
#pragma once

#include <span>
#include <string_view>

namespace mambase::model {

struct PresetText {
    const char* file;
    std::string_view text;
};

/// In the order in which model/CMakeLists.txt names them.
std::span<const PresetText> preset_texts();

}  // namespace mambase::model
