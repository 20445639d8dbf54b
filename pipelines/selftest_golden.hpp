// data/golden/selftest.json as part of the program; written by CMake.
#pragma once

#include <string_view>

namespace mambase::pipelines {

std::string_view selftest_golden_text();

}  // namespace mambase::pipelines
