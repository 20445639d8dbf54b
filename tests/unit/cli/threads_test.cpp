#include "cli/threads.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdlib>
#include <optional>
#include <string>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::cli;

namespace {

/// Sets a variable for one test.
class Variable {
  public:
    Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
    ~Variable() { ::unsetenv(name_); }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;

  private:
    const char* name_;
};

void put(const std::string& path, const std::string& text) {
    make_directories(parent_directory(path));
    write_text(path, text);
}

}  // namespace

TEST_CASE("additional threads are counted by -@, which goes before every variable") {
    const Variable threads("MAMBASE_THREADS", "5");
    const Variable slurm("SLURM_CPUS_PER_TASK", "3");
    CHECK(computing_threads(0) == 1);
    CHECK(computing_threads(3) == 4);
    CHECK(computing_threads(std::nullopt) == 5);
}

TEST_CASE("SLURM's share holds where nothing else is said, then the machine") {
    ::unsetenv("MAMBASE_THREADS");
    {
        const Variable slurm("SLURM_CPUS_PER_TASK", "3");
        CHECK(computing_threads(std::nullopt) == 3);
    }
    const int count = computing_threads(std::nullopt);
    CHECK(count >= 1);
    CHECK(count <= 8);
}

TEST_CASE("A variable that is no count is an error that names it") {
    for (const char* const text : {"0", "-1", "many", "4x", "99999999999"}) {
        const Variable threads("MAMBASE_THREADS", text);
        CHECK_THROWS_WITH(computing_threads(std::nullopt), Catch::StartsWith("MAMBASE_THREADS='"));
    }
}

TEST_CASE("The cgroup's quota is rounded up, the smallest on the way to the root counts") {
    const test::TempDir dir;
    const std::string root = dir.path();
    CHECK(cgroup_cpu_limit(root) == std::nullopt);

    SECTION("version 2") {
        put(root + "/proc/self/cgroup", "0::/user/job\n");
        CHECK(cgroup_cpu_limit(root) == std::nullopt);
        put(root + "/sys/fs/cgroup/user/job/cpu.max", "max 100000\n");
        CHECK(cgroup_cpu_limit(root) == std::nullopt);
        put(root + "/sys/fs/cgroup/user/job/cpu.max", "350000 100000\n");
        CHECK(cgroup_cpu_limit(root) == 4);
        put(root + "/sys/fs/cgroup/user/cpu.max", "150000 100000\n");
        CHECK(cgroup_cpu_limit(root) == 2);
    }
    SECTION("version 2 in a container that sees only its own root") {
        put(root + "/proc/self/cgroup", "0::/not/mounted/here\n");
        put(root + "/sys/fs/cgroup/cpu.max", "50000 100000\n");
        CHECK(cgroup_cpu_limit(root) == 1);
    }
    SECTION("version 1") {
        put(root + "/proc/self/cgroup", "3:cpuset:/a\n2:cpu,cpuacct:/job\n0::/\n");
        put(root + "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
        put(root + "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
        CHECK(cgroup_cpu_limit(root) == std::nullopt);
        put(root + "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "200000\n");
        CHECK(cgroup_cpu_limit(root) == 2);
    }
    SECTION("what cannot be read sets no limit") {
        put(root + "/proc/self/cgroup", "garbage\n0::/\n");
        put(root + "/sys/fs/cgroup/cpu.max", "so 100000\n");
        CHECK(cgroup_cpu_limit(root) == std::nullopt);
    }
}
