// Errors against the reference, checked and kept: MAMBASE_TEST_REPORT=FILE writes the largest of
// each op, result and backend when the tests end.
#pragma once

#include "tests/parity/tolerances.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/tensor_tools.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <tuple>

#include <catch2/catch.hpp>

namespace mambase::test {

class ErrorReport {
  public:
    static ErrorReport& instance() {
        static ErrorReport report;
        return report;
    }
    void add(
        const Backend& backend, const char* op, const char* result, double error, double bound) {
        Row& row = rows_[{op, result, std::string(backend.name())}];
        row.error = std::max(row.error, error);
        row.bound = bound;
    }
    ~ErrorReport() {
        if (const char* const path = std::getenv("MAMBASE_TEST_REPORT"); path != nullptr) {
            std::ofstream out(path);
            out << "op\tresult\tbackend\tlargest error\tbound\n";
            for (const auto& [key, row] : rows_) {
                const auto& [op, result, backend] = key;
                out << op << '\t' << result << '\t' << backend << '\t' << row.error << '\t'
                    << row.bound << '\n';
            }
        }
    }

  private:
    struct Row {
        double error = 0.0;
        double bound = 0.0;
    };
    ErrorReport() = default;
    std::map<std::tuple<std::string, std::string, std::string>, Row> rows_;
};

/// Checks what a backend made of one case of an op.
struct Errors {
    const Backend& backend;
    const char* op;

    /// max|a − b| / max|b|
    void values(const char* result, const Array& a, const Array& b, double bound) const {
        check(result, relative_error(a, b), bound);
    }
    void values(const char* result, ConstTensorView a, const Array& b, double bound) const {
        values(result, to_array(a), b, bound);
    }
    /// ‖a − b‖ / ‖b‖
    void norms(const char* result,
               const Array& a,
               const Array& b,
               double bound = kParameterGradient) const {
        check(result, relative_norm_error(a, b), bound);
    }
    void norms(const char* result,
               ConstTensorView a,
               const Array& b,
               double bound = kParameterGradient) const {
        norms(result, to_array(a), b, bound);
    }

  private:
    void check(const char* result, double error, double bound) const {
        ErrorReport::instance().add(backend, op, result, error, bound);
        INFO(result);
        CHECK(error <= bound);
    }
};

}  // namespace mambase::test
