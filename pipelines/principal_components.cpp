#include "pipelines/principal_components.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mambase::pipelines {

namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// Length 1, unless it is all but zero.
double normalise(Vector& v) {
    const double norm = std::sqrt(dot(v, v));
    if (norm > 0.0) {
        std::for_each(v.begin(), v.end(), [norm](double& x) { x /= norm; });
    }
    return norm;
}

/// Of centred rows [n, dim]: [dim, dim], sums without the division by n.
std::vector<Vector> covariance(const std::vector<Vector>& rows, std::size_t dim) {
    std::vector<Vector> out(dim, Vector(dim));
    for (const Vector& row : rows) {
        for (std::size_t i = 0; i < dim; ++i) {
            for (std::size_t j = 0; j <= i; ++j) {
                out[i][j] += row[i] * row[j];
            }
        }
    }
    for (std::size_t i = 0; i < dim; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            out[j][i] = out[i][j];
        }
    }
    return out;
}

/// The eigenvector of the largest eigenvalue, orthogonal to `before` (where not empty), by power
/// iteration; the eigenvalue is its length after a step.
double leading(const std::vector<Vector>& matrix, const Vector& before, Vector& v) {
    constexpr int most_steps = 2000;
    constexpr double enough = 1e-12;
    const std::size_t dim = matrix.size();
    v.resize(dim);
    for (std::size_t i = 0; i < dim; ++i) {  // no direction is likely to be orthogonal to this
        v[i] = 1.0 + 0.5 * std::sin(static_cast<double>(i + 1));
    }
    double value = 0.0;
    Vector next(dim);
    for (int step = 0; step < most_steps; ++step) {
        if (!before.empty()) {
            const double along = dot(v, before);
            std::transform(v.begin(), v.end(), before.begin(), v.begin(),
                           [along](double x, double b) { return x - along * b; });
        }
        normalise(v);
        std::transform(matrix.begin(), matrix.end(), next.begin(),
                       [&v](const Vector& row) { return dot(row, v); });
        const double change = 1.0 - std::abs(dot(next, v)) / std::sqrt(dot(next, next));
        value = dot(next, v);
        v = next;
        if (!(change > enough)) {  // a NaN too: there is nothing left
            break;
        }
    }
    normalise(v);
    const auto largest = std::max_element(
        v.begin(), v.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
    if (*largest < 0.0) {
        std::for_each(v.begin(), v.end(), [](double& x) { x = -x; });
    }
    return value;
}

}  // namespace

PrincipalComponents principal_components(std::span<const float> rows, std::int64_t dim) {
    const auto width = static_cast<std::size_t>(dim);
    const std::size_t n = rows.size() / width;
    MAMBASE_ASSERT(width >= 1 && n >= 2 && n * width == rows.size());
    Vector mean(width);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        mean[i % width] += static_cast<double>(rows[i]) / static_cast<double>(n);
    }
    std::vector<Vector> centred(n, Vector(width));
    double variance = 0.0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const double value = static_cast<double>(rows[i]) - mean[i % width];
        centred[i / width][i % width] = value;
        variance += value * value;
    }
    const std::vector<Vector> matrix = covariance(centred, width);

    PrincipalComponents out;
    out.places.resize(n);
    std::array<Vector, 2> components;
    for (std::size_t k = 0; k < std::min<std::size_t>(2, width); ++k) {
        const double value = leading(matrix, k == 0 ? Vector() : components[0], components[k]);
        out.shares[k] = variance > 0.0 ? std::max(value, 0.0) / variance : 0.0;
        for (std::size_t i = 0; i < n; ++i) {
            out.places[i][k] = variance > 0.0 ? dot(centred[i], components[k]) : 0.0;
        }
    }
    return out;
}

}  // namespace mambase::pipelines
