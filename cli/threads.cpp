#include "cli/threads.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <sched.h>
#include <string_view>
#include <system_error>
#include <vector>

namespace mambase::cli {

namespace {

constexpr int kMostThreads = 4096;
constexpr int kMostByDefault = 8;

std::optional<std::int64_t> whole_number(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
        text.remove_suffix(1);
    }
    std::int64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc() || result.ptr != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<int> threads_of_environment(const char* variable) {
    const char* const text = std::getenv(variable);
    if (text == nullptr || *text == '\0') {
        return std::nullopt;
    }
    const std::optional<std::int64_t> count = whole_number(text);
    MAMBASE_REQUIRE(
        count && *count >= 1 && *count <= kMostThreads, ErrorCode::usage,
        concat(variable, "='", text, "' is not a number of threads (1 to ", kMostThreads, ")"));
    return static_cast<int>(*count);
}

// The files of /proc and /sys say that they hold nothing, so that only reading tells; what cannot
// be read sets no limit.
std::string text_or_nothing(const std::string& path) {
    try {
        return exists(path) ? read_text(path) : std::string();
    } catch (const Error&) {
        return {};
    }
}

std::optional<int> rounded_up(std::optional<std::int64_t> quota,
                              std::optional<std::int64_t> period) {
    if (!quota || !period || *quota <= 0 || *period <= 0) {
        return std::nullopt;  // "max" in version 2, -1 in version 1
    }
    return static_cast<int>(std::min<std::int64_t>((*quota + *period - 1) / *period, kMostThreads));
}

std::optional<int> limit_of_group(const std::string& directory, bool version_2) {
    if (version_2) {
        const std::string text = text_or_nothing(directory + "/cpu.max");
        const std::vector<std::string_view> fields = split(text, ' ');
        return fields.size() == 2 ? rounded_up(whole_number(fields[0]), whole_number(fields[1]))
                                  : std::nullopt;
    }
    return rounded_up(whole_number(text_or_nothing(directory + "/cpu.cfs_quota_us")),
                      whole_number(text_or_nothing(directory + "/cpu.cfs_period_us")));
}

void take_smaller(std::optional<int>& limit, std::optional<int> other) {
    if (other && (!limit || *other < *limit)) {
        limit = other;
    }
}

int affinity_count() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return kMostByDefault;  // more CPUs than the set has room for
    }
    return std::max(1, CPU_COUNT(&set));
}

}  // namespace

std::optional<int> cgroup_cpu_limit(const std::string& root) {
    std::optional<int> limit;
    const std::string groups = text_or_nothing(root + "/proc/self/cgroup");
    for (const std::string_view line : split(groups, '\n')) {
        // hierarchy:controllers:path; version 2 has hierarchy 0 and names no controllers
        const std::vector<std::string_view> fields = split(line, ':');
        if (fields.size() < 3) {
            continue;
        }
        const bool version_2 = fields[1].empty();
        const std::vector<std::string_view> controllers = split(fields[1], ',');
        if (!version_2 &&
            std::find(controllers.begin(), controllers.end(), "cpu") == controllers.end()) {
            continue;
        }
        const std::string mount = concat(root, "/sys/fs/cgroup", version_2 ? "" : "/cpu");
        std::string path(line.substr(fields[0].size() + fields[1].size() + 2));
        // A parent may hold less than its child; in a container the path is often not mounted.
        for (;;) {
            take_smaller(limit, limit_of_group(mount + path, version_2));
            if (path.empty()) {
                break;
            }
            path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
        }
    }
    return limit;
}

int computing_threads(std::optional<int> additional) {
    if (additional) {
        return *additional + 1;
    }
    for (const char* const variable : {"MAMBASE_THREADS", "SLURM_CPUS_PER_TASK"}) {
        if (const std::optional<int> count = threads_of_environment(variable)) {
            return *count;
        }
    }
    int count = std::min(kMostByDefault, affinity_count());
    if (const std::optional<int> limit = cgroup_cpu_limit("")) {
        count = std::min(count, *limit);
    }
    return std::max(1, count);
}

}  // namespace mambase::cli
