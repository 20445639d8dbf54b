#include "cli/app.hpp"

#include <string>
#include <vector>

int main(int argc, char** argv) {
    return mambase::cli::run(std::vector<std::string>(argv, argv + argc));
}
