// How many threads compute (cli.md, "Common to all").
#pragma once

#include <optional>
#include <string>

namespace mambase::cli {

/// Total computing threads: `additional` + 1 if given, else MAMBASE_THREADS, else
/// SLURM_CPUS_PER_TASK, else the smaller of 8 and what affinity and cgroup allow. Throws
/// Error{usage} that names the variable which is not a count.
int computing_threads(std::optional<int> additional);

/// CPUs that the cgroups (v1 or v2) of this process allow it, rounded up; nothing where no quota is
/// set. `root` is where /proc and /sys are looked for, "" for the real ones.
std::optional<int> cgroup_cpu_limit(const std::string& root);

}  // namespace mambase::cli
