// Letters of nucleotide sequence: the IUPAC codes (Cornish-Bowden, Nucleic Acids Res. 13, 1985).
#pragma once

#include <span>

namespace mambase::io {

/// A, C, G, T or U, either case.
bool is_base(char letter);
/// One of the codes for several bases (R Y S W K M B D H V N), either case.
bool is_ambiguous(char letter);
/// The code of the complementary bases, case kept; U gives A. Any other byte stays as it is, so
/// that who judges letters later still sees it.
char complement(char letter);
/// In place.
void reverse_complement(std::span<char> bases);

}  // namespace mambase::io
