#include "pipelines/taxonomy.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <functional>
#include <map>
#include <system_error>
#include <utility>

namespace mambase::pipelines {

namespace {

[[noreturn]] void fail(const std::string& origin, std::string message) {
    throw Error(ErrorCode::format, std::move(message)).at(origin);
}

std::vector<model::Taxon> flat_taxonomy(const std::vector<std::string>& labels) {
    std::vector<model::Taxon> out = {{1, 0, "R", "root", ""}};
    for (const std::string& label : labels) {
        out.push_back({static_cast<std::int64_t>(out.size()) + 1, 1, "S", label, label});
    }
    return out;
}

std::int64_t parse_taxid(std::string_view text, const std::string& path, std::int64_t line) {
    std::int64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size() || value < 0) {
        throw Error(ErrorCode::format, concat("'", text, "' is not a taxid"))
            .at(path)
            .offset(line, "line");
    }
    return value;
}

/// A share as kraken2 prints it: two digits in six columns.
std::string percent(std::int64_t part, std::int64_t all) {
    const double value =
        all == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(all);
    const std::string digits = format_fixed(value, 2);
    return std::string(digits.size() < 6 ? 6 - digits.size() : 0, ' ') + digits;
}

}  // namespace

std::vector<model::Taxon> read_taxonomy(const std::string& path) {
    const std::string text = read_text(path);
    std::vector<model::Taxon> out;
    std::int64_t number = 0;
    for (std::string_view line : split(text, '\n')) {
        ++number;
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        const bool is_header = out.empty() && line.starts_with("taxid\t");
        if (line.empty() || line.front() == '#' || is_header) {
            continue;
        }
        const std::vector<std::string_view> fields = split(line, '\t');
        const bool good =
            (fields.size() == 4 || fields.size() == 5) && !fields[2].empty() && !fields[3].empty();
        if (!good) {
            throw Error(ErrorCode::format,
                        "expected taxid, parent, rank code, name and label (empty for inner "
                        "nodes), parted by tabs")
                .at(path)
                .offset(number, "line");
        }
        const std::int64_t parent = fields[1].empty() ? 0 : parse_taxid(fields[1], path, number);
        out.push_back({parse_taxid(fields[0], path, number), parent, std::string(fields[2]),
                       std::string(fields[3]), fields.size() == 5 ? std::string(fields[4]) : ""});
    }
    if (out.empty()) {
        throw Error(ErrorCode::format, "a taxonomy without a node").at(path);
    }
    return out;
}

Taxonomy::Taxonomy(std::vector<model::Taxon> nodes,
                   const std::vector<std::string>& labels,
                   const std::string& origin)
    : nodes_(nodes.empty() ? flat_taxonomy(labels) : std::move(nodes)), children_(nodes_.size()) {
    link(origin);
    find_leaves(labels, origin);
}

void Taxonomy::link(const std::string& origin) {
    std::map<std::int64_t, std::size_t> by_taxid;
    std::size_t roots = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        model::Taxon& node = nodes_[i];
        if (node.taxid < 1 || !by_taxid.emplace(node.taxid, i).second) {
            fail(origin, concat("taxid ", node.taxid, " is below 1 or there twice"));
        }
        if (node.parent == node.taxid || node.parent == 0) {
            node.parent = 0;
            root_ = i;
            ++roots;
        }
    }
    if (roots != 1) {
        fail(origin, concat("the taxonomy has ", roots, " roots (parent 0 or itself), not one"));
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (i == root_) {
            continue;
        }
        const auto parent = by_taxid.find(nodes_[i].parent);
        if (parent == by_taxid.end()) {
            fail(origin, concat("taxid ", nodes_[i].taxid,
                                " has a parent that is not there: ", nodes_[i].parent));
        }
        children_[parent->second].push_back(i);
    }
    // What cannot be reached from the root lies on a circle, or below one.
    std::vector<std::size_t> reached = {root_};
    for (std::size_t i = 0; i < reached.size(); ++i) {
        const auto& below = children_[reached[i]];
        reached.insert(reached.end(), below.begin(), below.end());
    }
    if (reached.size() != nodes_.size()) {
        fail(origin, "a circle of parents");
    }
}

void Taxonomy::find_leaves(const std::vector<std::string>& labels, const std::string& origin) {
    leaf_.assign(labels.size(), nodes_.size());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (nodes_[i].label.empty()) {
            continue;
        }
        const auto label = std::find(labels.begin(), labels.end(), nodes_[i].label);
        if (label == labels.end()) {
            fail(origin, concat("the classifier has no label '", nodes_[i].label, "'"));
        }
        std::size_t& leaf = leaf_[static_cast<std::size_t>(label - labels.begin())];
        if (leaf != nodes_.size()) {
            fail(origin, concat("label '", nodes_[i].label, "' is at two taxids"));
        }
        leaf = i;
    }
    for (std::size_t label = 0; label < labels.size(); ++label) {
        if (leaf_[label] == nodes_.size()) {
            fail(origin, concat("label '", labels[label], "' has no taxid"));
        }
    }
}

std::string Taxonomy::report(const std::vector<std::int64_t>& counts,
                             std::int64_t unclassified) const {
    std::vector<std::int64_t> own(nodes_.size(), 0);
    std::int64_t all = unclassified;
    for (std::size_t label = 0; label < counts.size(); ++label) {
        own[leaf_[label]] += counts[label];
        all += counts[label];
    }
    std::vector<std::int64_t> clade = own;
    const std::function<void(std::size_t)> add_up = [&](std::size_t node) {
        for (const std::size_t child : children_[node]) {
            add_up(child);
            clade[node] += clade[child];
        }
    };
    add_up(root_);
    std::string out;
    const auto line = [&](std::int64_t in_clade, std::int64_t at_node, std::string_view rank,
                          std::int64_t taxid, std::size_t depth, std::string_view name) {
        out += concat(percent(in_clade, all), "\t", in_clade, "\t", at_node, "\t", rank, "\t",
                      taxid, "\t", std::string(2 * depth, ' '), name, "\n");
    };
    if (unclassified > 0) {
        line(unclassified, unclassified, "U", 0, 0, "unclassified");
    }
    const std::function<void(std::size_t, std::size_t)> print = [&](std::size_t node,
                                                                    std::size_t depth) {
        if (clade[node] == 0) {
            return;
        }
        line(clade[node], own[node], nodes_[node].rank, nodes_[node].taxid, depth,
             nodes_[node].name);
        std::vector<std::size_t> below = children_[node];
        std::stable_sort(below.begin(), below.end(),
                         [&](std::size_t a, std::size_t b) { return clade[a] > clade[b]; });
        for (const std::size_t child : below) {
            print(child, depth + 1);
        }
    };
    print(root_, 0);
    return out;
}

}  // namespace mambase::pipelines
