// classifier.json: what the classes of a model with a classification head are, and how its scores
// are read. Beside config.json and model.safetensors; docs/formats/classifier.md.
#pragma once

#include "model/classify_head.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::model {

inline constexpr std::string_view kClassifierName = "classifier.json";

/// Scores of a sequence of that many bases are divided by this.
struct Temperature {
    std::int64_t length = 0;
    double value = 1.0;
    friend bool operator==(const Temperature&, const Temperature&) = default;
};

/// A node of a taxonomy, as a line of its table has it.
struct Taxon {
    std::int64_t taxid = 0;
    std::int64_t parent = 0;  // the root's is 0
    std::string rank;         // code: "R", "G", "S", "S1" …
    std::string name;
    std::string label;  // class that the node stands for; empty for inner nodes
    friend bool operator==(const Taxon&, const Taxon&) = default;
};

struct Classifier {
    std::vector<std::string> labels;  // by class
    HeadPool pool = HeadPool::mean;
    std::int64_t window = 0;                // bases that are read from a fresh state, N
    std::int64_t gap = 1;                   // bases in a row, not A, C, G, T, that no window held
    std::vector<Temperature> temperatures;  // by ascending length, at least one
    double confidence = 0.0;                // least probability of a call
    std::vector<Taxon> taxonomy;            // empty: none was given
    std::string base_model;                 // hash of the model that training started from
    bool frozen = false;                    // the base's weights were left as they were
    std::string samples;                    // digest of table and sequence it was trained on
    friend bool operator==(const Classifier&, const Classifier&) = default;

    /// The temperature of a sequence of so many bases: log-linear between those that were fitted,
    /// the nearest beyond them.
    double temperature(std::int64_t length) const;
};

/// Throws Error{format} with file and JSON path; Error{not_found} that says how a classifier is
/// made.
Classifier read_classifier(const std::string& dir);
/// The model beside it, on the host. Throws Error{format} where it has not as many classes; else as
/// Model::load.
Model load_classifier(const std::string& dir, const Classifier& classifier);
Classifier parse_classifier(std::string_view text, const std::string& file);
std::string classifier_json(const Classifier& classifier);
void write_classifier(const std::string& dir, const Classifier& classifier);

}  // namespace mambase::model
