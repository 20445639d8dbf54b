#include "genomics_io/line_reader.hpp"

#include <cstring>
#include <span>
#include <utility>

namespace mambase::io {

LineReader::LineReader(ByteReader reader) : reader_(std::move(reader)), raw_(std::size_t{1} << 16) {
    refill();
}

bool LineReader::refill() {
    at_ = 0;
    size_ = reader_.read(raw_);
    return size_ != 0;
}

void LineReader::skip() {
    ++at_;
    line_start_ = false;
}

bool LineReader::skip_line_end() {
    if (at_end()) {
        return false;
    }
    const bool carriage_return = peek() == '\r' && carriage_return_ends_line();
    if (!carriage_return && peek() != '\n') {
        return false;
    }
    at_ += carriage_return ? 1 : 0;
    if (!at_end()) {
        ++at_;
        ++line_;
    }
    line_start_ = true;
    return true;
}

bool LineReader::carriage_return_ends_line() {
    if (at_ + 1 == size_) {
        raw_[0] = '\r';
        size_ = 1 + reader_.read(std::span(raw_).subspan(1));
        at_ = 0;
    }
    return at_ + 1 == size_ || raw_[at_ + 1] == '\n';
}

bool LineReader::take(std::string_view& piece, std::size_t most) {
    if (at_end()) {
        line_start_ = true;
        return false;
    }
    if (skip_line_end()) {
        return false;
    }
    const std::string_view rest = buffered();
    piece = rest.substr(0, rest.find('\n'));
    if (piece.size() > 1 &&
        piece.back() == '\r') {  // whether it ends the line is seen when it comes
        piece.remove_suffix(1);
    }
    piece = piece.substr(0, most);
    at_ += piece.size();
    line_start_ = false;
    return true;
}

}  // namespace mambase::io
