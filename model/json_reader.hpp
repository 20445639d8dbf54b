// JSON as our files use it: strict about what it reads, and every message names file and path.
// Private to model/.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace mambase::model {

/// Throws Error{format} on anything that is not JSON, on a key given twice and on nesting deeper
/// than 64.
nlohmann::json parse_json(std::string_view text, const std::string& file);

/// The members of one object, each asked for by name and type.
class JsonReader {
  public:
    /// `path` names the object in messages; empty for the whole document.
    JsonReader(const nlohmann::json& object, std::string path, std::string file);

    /// T: std::int64_t, std::uint64_t, double, bool, std::string. Empty where the key is not there;
    /// throws Error{format} where it is of another type.
    template <class T>
    std::optional<T> find(const std::string& key);
    /// Throws where it is missing.
    template <class T>
    T get(const std::string& key);
    /// A member that the caller reads on its own; null where it is not there.
    const nlohmann::json* member(const std::string& key);
    /// An object within; throws where it is missing or something else.
    JsonReader object(const std::string& key);

    /// Throws on the first key that nobody asked for.
    void require_all_known() const;
    /// The members that nobody asked for.
    nlohmann::json rest() const;
    /// An Error{format} at the path of `key`.
    Error error(const std::string& key, std::string_view what) const;

  private:
    std::string path_of(const std::string& key) const;

    const nlohmann::json* object_;
    std::string path_;
    std::string file_;
    std::set<std::string> asked_;
};

}  // namespace mambase::model
