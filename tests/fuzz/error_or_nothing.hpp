// What a fuzz target lets pass: any Error but one that says that the fault is ours.
#pragma once

#include "base/error.hpp"

#include <cstdlib>

namespace mambase::test {

template <class Call>
void expect_error_or_nothing(const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        if (error.code() == ErrorCode::internal) {
            std::abort();
        }
    }
}

}  // namespace mambase::test
