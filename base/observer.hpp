// How the library speaks: through callbacks that the caller gives. The default says nothing.
#pragma once

#include <functional>
#include <string_view>

namespace mambase {

struct Observer {
    std::function<void(std::string_view)> on_info;     // facts of the run: device, counts by contig
    std::function<void(std::string_view)> on_warning;  // something the user should look at
    std::function<void(std::string_view)> on_progress;  // transient: rate, time left

    void info(std::string_view text) const {
        if (on_info) {
            on_info(text);
        }
    }
    void warning(std::string_view text) const {
        if (on_warning) {
            on_warning(text);
        }
    }
    void progress(std::string_view text) const {
        if (on_progress) {
            on_progress(text);
        }
    }
};

}  // namespace mambase
