// Runs a fuzz target over the files of the directories given, and over every cut of each file: for
// a compiler without libFuzzer.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
    constexpr std::size_t kEveryCutBelow = 4096;
    std::size_t inputs = 0;
    for (int i = 1; i < argc; ++i) {
        for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
            std::ifstream in(entry.path(), std::ios::binary);
            const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
            const std::size_t step = bytes.size() / kEveryCutBelow + 1;
            for (std::size_t size = 0; size <= bytes.size(); size += step) {
                // A copy of just that size: a read past its end is seen by AddressSanitizer.
                const std::vector<std::uint8_t> cut(
                    bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
                LLVMFuzzerTestOneInput(cut.data(), cut.size());
                ++inputs;
            }
        }
    }
    std::printf("%zu inputs\n", inputs);
    return inputs == 0 ? 1 : 0;
}
