// Which commit this build was made from.
#pragma once

namespace mambase::cli {

/// Abbreviated; "" where the source was no git repository. Defined by a file that the build writes.
extern const char* const kCommit;

}  // namespace mambase::cli
