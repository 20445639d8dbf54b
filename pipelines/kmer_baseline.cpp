#include "pipelines/kmer_baseline.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <utility>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kTasks = 16;  // that rows are parted into, whatever the threads
constexpr int kSteps = 100;
constexpr std::size_t kMemory = 10;  // pairs that L-BFGS keeps
constexpr double kFlat = 1e-6;       // length of a gradient that counts as none
constexpr double kSlope = 1e-4;      // share of the expected fall that a step has to reach
constexpr int kHalvings = 30;
constexpr std::array kPenalties = {1.0, 0.1, 0.01, 1e-3, 1e-4};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

void add_scaled(std::vector<double>& a, double scale, const std::vector<double>& b) {
    std::transform(a.begin(), a.end(), b.begin(), a.begin(),
                   [scale](double x, double y) { return x + scale * y; });
}

/// Four sums side by side: one chain of additions would wait on itself.
double dot(const float* x, const double* w, std::int64_t n) {
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    std::int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (int j = 0; j < 4; ++j) {
            sums[j] += static_cast<double>(x[i + j]) * w[i + j];
        }
    }
    for (; i < n; ++i) {
        sums[0] += static_cast<double>(x[i]) * w[i];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// A change of place and the change of the gradient that came with it.
struct Move {
    std::vector<double> place;
    std::vector<double> gradient;
    double scale = 0.0;  // 1 / place·gradient
};

/// −H·gradient with the inverse Hessian H that the moves tell of (Nocedal, Math. Comp. 35, 1980).
std::vector<double> descent(const std::deque<Move>& moves, std::vector<double> gradient) {
    std::vector<double> alpha(moves.size());
    for (std::size_t i = moves.size(); i-- > 0;) {
        alpha[i] = moves[i].scale * dot(moves[i].place, gradient);
        add_scaled(gradient, -alpha[i], moves[i].gradient);
    }
    if (!moves.empty()) {
        const Move& last = moves.back();
        const double scale = 1.0 / (last.scale * dot(last.gradient, last.gradient));
        std::for_each(gradient.begin(), gradient.end(), [scale](double& x) { x *= scale; });
    }
    for (std::size_t i = 0; i < moves.size(); ++i) {
        const double beta = moves[i].scale * dot(moves[i].gradient, gradient);
        add_scaled(gradient, alpha[i] - beta, moves[i].place);
    }
    std::for_each(gradient.begin(), gradient.end(), [](double& x) { x = -x; });
    return gradient;
}

FeatureRows count_windows(const KmerCounter& counter,
                          const SampleSet& samples,
                          const std::vector<LabelledWindow>& windows,
                          ThreadPool& pool) {
    FeatureRows out;
    out.width = counter.size();
    out.values.resize(windows.size() * static_cast<std::size_t>(out.width));
    for (const LabelledWindow& window : windows) {
        out.labels.push_back(window.label);
    }
    pool.parallel_for(out.size(), [&](std::int64_t i) {
        counter.shares(samples.codes(windows[static_cast<std::size_t>(i)]),
                       out.values.data() + i * out.width);
    });
    return out;
}

/// Each feature less its mean over the training windows, over its deviation there.
class Standard {
  public:
    explicit Standard(const FeatureRows& rows)
        : mean_(static_cast<std::size_t>(rows.width), 0.0),
          deviation_(static_cast<std::size_t>(rows.width), 0.0) {
        const auto n = static_cast<double>(rows.size());
        for (std::int64_t i = 0; i < rows.size(); ++i) {
            for (std::size_t f = 0; f < mean_.size(); ++f) {
                mean_[f] += static_cast<double>(rows.row(i)[f]) / n;
            }
        }
        for (std::int64_t i = 0; i < rows.size(); ++i) {
            for (std::size_t f = 0; f < mean_.size(); ++f) {
                const double off = static_cast<double>(rows.row(i)[f]) - mean_[f];
                deviation_[f] += off * off / n;
            }
        }
        std::for_each(deviation_.begin(), deviation_.end(),
                      [](double& value) { value = value > 0.0 ? std::sqrt(value) : 1.0; });
    }
    void apply(FeatureRows& rows) const {
        for (std::size_t i = 0; i < rows.values.size(); ++i) {
            const std::size_t f = i % mean_.size();
            rows.values[i] = static_cast<float>((static_cast<double>(rows.values[i]) - mean_[f]) /
                                                deviation_[f]);
        }
    }

  private:
    std::vector<double> mean_;
    std::vector<double> deviation_;
};

}  // namespace

KmerCounter::KmerCounter(int k, const io::Tokenizer& tokenizer) : k_(k) {
    MAMBASE_REQUIRE(k >= 1 && k <= kLongestKmer, ErrorCode::usage,
                    concat("k-mers are from 1 to ", kLongestKmer, " bases long, not ", k));
    base_of_id_.fill(-1);
    int base = 0;
    for (const std::uint8_t id : tokenizer.acgt()) {
        base_of_id_[id] = base++;
    }
    const std::uint32_t words = std::uint32_t{1} << (2 * k);
    feature_of_.assign(words, -1);
    for (std::uint32_t word = 0; word < words; ++word) {
        std::uint32_t reverse = 0;
        for (int i = 0; i < k; ++i) {
            reverse = reverse << 2 | (3U - (word >> (2 * i) & 3U));
        }
        if (reverse < word) {
            feature_of_[word] = feature_of_[reverse];
        } else {
            feature_of_[word] = static_cast<std::int32_t>(size_++);
        }
    }
}

void KmerCounter::shares(std::span<const std::uint8_t> codes, float* out) const {
    std::vector<std::int32_t> counts(static_cast<std::size_t>(size_), 0);
    const std::uint32_t mask = (std::uint32_t{1} << (2 * k_)) - 1;
    std::uint32_t word = 0;
    std::int64_t known = 0;  // bases in a row
    std::int64_t total = 0;
    for (const std::uint8_t code : codes) {
        const int base = base_of_id_[code & 0x7F];
        known = base < 0 ? 0 : known + 1;
        word = (word << 2 | static_cast<std::uint32_t>(std::max(base, 0))) & mask;
        if (known >= k_) {
            ++counts[static_cast<std::size_t>(feature_of_[word])];
            ++total;
        }
    }
    const double scale = 1.0 / static_cast<double>(std::max<std::int64_t>(total, 1));
    std::transform(counts.begin(), counts.end(), out, [scale](std::int32_t count) {
        return static_cast<float>(static_cast<double>(count) * scale);
    });
}

LogisticRegression::LogisticRegression(std::int64_t classes, std::int64_t width)
    : classes_(classes),
      width_(width),
      weights_(static_cast<std::size_t>(classes * (width + 1)), 0.0) {}

double LogisticRegression::loss(const FeatureRows& rows,
                                double penalty,
                                const std::vector<double>& weights,
                                std::vector<double>& gradient,
                                ThreadPool& pool) const {
    const std::int64_t stride = width_ + 1;
    const auto n = static_cast<double>(rows.size());
    std::vector<std::vector<double>> parts(static_cast<std::size_t>(kTasks));
    std::vector<double> sums(static_cast<std::size_t>(kTasks), 0.0);
    pool.parallel_for(kTasks, [&](std::int64_t task) {
        std::vector<double>& part = parts[static_cast<std::size_t>(task)];
        part.assign(weights.size(), 0.0);
        std::vector<double> values(static_cast<std::size_t>(classes_));
        for (std::int64_t i = task * rows.size() / kTasks; i < (task + 1) * rows.size() / kTasks;
             ++i) {
            const float* const x = rows.row(i).data();
            for (std::int64_t c = 0; c < classes_; ++c) {
                const double* const w = weights.data() + c * stride;
                values[static_cast<std::size_t>(c)] = dot(x, w, width_) + w[width_];
            }
            probabilities(values, 1.0, values);
            const std::int64_t label = rows.labels[static_cast<std::size_t>(i)];
            double& right = values[static_cast<std::size_t>(label)];
            sums[static_cast<std::size_t>(task)] -= std::log(std::max(right, 1e-300));
            right -= 1.0;
            for (std::int64_t c = 0; c < classes_; ++c) {
                const double off = values[static_cast<std::size_t>(c)] / n;
                double* const g = part.data() + c * stride;
                for (std::int64_t f = 0; f < width_; ++f) {
                    g[f] += off * static_cast<double>(x[f]);
                }
                g[width_] += off;
            }
        }
    });
    gradient.assign(weights.size(), 0.0);
    double total = 0.0;
    for (std::size_t task = 0; task < parts.size(); ++task) {
        add_scaled(gradient, 1.0, parts[task]);
        total += sums[task] / n;
    }
    for (std::size_t i = 0; i < weights.size(); ++i) {
        if (static_cast<std::int64_t>(i) % stride != width_) {  // biases are free
            gradient[i] += penalty * weights[i];
            total += 0.5 * penalty * weights[i] * weights[i];
        }
    }
    return total;
}

void LogisticRegression::fit(const FeatureRows& rows, double penalty, ThreadPool& pool) {
    std::vector<double> gradient;
    double now = loss(rows, penalty, weights_, gradient, pool);
    std::deque<Move> moves;
    for (int step = 0; step < kSteps && dot(gradient, gradient) > kFlat * kFlat; ++step) {
        const std::vector<double> direction = descent(moves, gradient);
        const double slope = dot(direction, gradient);
        std::vector<double> place;
        std::vector<double> next_gradient;
        double next = now;
        bool falls = false;
        double length = moves.empty() ? 1.0 / std::sqrt(dot(gradient, gradient)) : 1.0;
        for (int i = 0; i < kHalvings && !falls; ++i, length *= 0.5) {
            place = weights_;
            add_scaled(place, length, direction);
            next = loss(rows, penalty, place, next_gradient, pool);
            falls = next <= now + kSlope * length * slope;
        }
        if (!falls) {
            return;
        }
        Move move{place, next_gradient, 0.0};
        add_scaled(move.place, -1.0, weights_);
        add_scaled(move.gradient, -1.0, gradient);
        const double curvature = dot(move.place, move.gradient);
        if (curvature > 0.0) {
            move.scale = 1.0 / curvature;
            moves.push_back(std::move(move));
            if (moves.size() > kMemory) {
                moves.pop_front();
            }
        }
        weights_ = std::move(place);
        gradient = std::move(next_gradient);
        now = next;
    }
}

ScoredSet LogisticRegression::score(const FeatureRows& rows) const {
    ScoredSet out{classes_, {}, {}};
    std::vector<double> values(static_cast<std::size_t>(classes_));
    for (std::int64_t i = 0; i < rows.size(); ++i) {
        for (std::int64_t c = 0; c < classes_; ++c) {
            const double* const w = weights_.data() + c * (width_ + 1);
            values[static_cast<std::size_t>(c)] = dot(rows.row(i).data(), w, width_) + w[width_];
        }
        out.add(rows.labels[static_cast<std::size_t>(i)], values);
    }
    return out;
}

ScoredSet kmer_scores(int k,
                      const SampleSet& samples,
                      const std::vector<LabelledWindow>& train,
                      const std::vector<LabelledWindow>& valid,
                      const std::vector<LabelledWindow>& test,
                      ThreadPool& pool) {
    const KmerCounter counter(k, samples.tokenizer());
    FeatureRows fitted = count_windows(counter, samples, train, pool);
    FeatureRows chosen_by = count_windows(counter, samples, valid, pool);
    FeatureRows scored = count_windows(counter, samples, test, pool);
    const Standard standard(fitted);
    for (FeatureRows* const rows : {&fitted, &chosen_by, &scored}) {
        standard.apply(*rows);
    }
    LogisticRegression model(static_cast<std::int64_t>(samples.labels().size()), counter.size());
    if (valid.empty()) {
        model.fit(fitted, kPenalties[kPenalties.size() / 2], pool);
        return model.score(scored);
    }
    LogisticRegression best = model;
    double least = HUGE_VAL;
    for (const double penalty : kPenalties) {
        model.fit(fitted, penalty, pool);
        const double nats = mean_nats(model.score(chosen_by), 1.0);
        if (nats < least) {
            least = nats;
            best = model;
        }
    }
    return best.score(scored);
}

}  // namespace mambase::pipelines
