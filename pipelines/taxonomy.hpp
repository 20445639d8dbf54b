// A taxonomy of a classifier's labels, and reports over it in kraken2's form.
#pragma once

#include "model/classifier.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::pipelines {

class Taxonomy {
  public:
    /// The nodes as given, or, of none, the labels as taxids 2 … C + 1 (rank code S) below root 1.
    /// Error{format} naming `origin`: a taxid below 1 or given twice, not exactly one root (its
    /// parent 0 or itself), a parent that is not there, a circle, a label that is none of the
    /// classifier's, given twice or without a node.
    Taxonomy(std::vector<model::Taxon> nodes,
             const std::vector<std::string>& labels,
             const std::string& origin);

    std::int64_t taxid(std::int64_t label) const { return node_of(label).taxid; }
    const std::string& name(std::int64_t label) const { return node_of(label).name; }

    /// kraken2's six columns: percent of all sequences in the clade, sequences in the clade, at the
    /// node itself, rank code, taxid, name indented by two blanks a level. The unclassified first,
    /// then each clade with any, the larger first. counts: [C].
    std::string report(const std::vector<std::int64_t>& counts, std::int64_t unclassified) const;

  private:
    const model::Taxon& node_of(std::int64_t label) const {
        return nodes_[leaf_[static_cast<std::size_t>(label)]];
    }
    void link(const std::string& origin);
    void find_leaves(const std::vector<std::string>& labels, const std::string& origin);

    std::vector<model::Taxon> nodes_;
    std::vector<std::vector<std::size_t>> children_;
    std::vector<std::size_t> leaf_;  // node by label
    std::size_t root_ = 0;
};

/// A table with the columns taxid, parent, rank code, name, label (empty for inner nodes), parted
/// by tabs; blank lines, '#' lines and a first line "taxid …" are passed over. Error{format} with
/// the line.
std::vector<model::Taxon> read_taxonomy(const std::string& path);

}  // namespace mambase::pipelines
