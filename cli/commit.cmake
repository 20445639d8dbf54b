# Writes OUTPUT, the definition of kCommit (cli/commit.hpp): the commit of SOURCE_DIR, nothing where there is no git or no
# repository. Touches the file only when the commit has changed. At every build: cmake -DSOURCE_DIR=… -DOUTPUT=… -P this
set(commit "")
find_program(GIT git)
if(GIT AND EXISTS ${SOURCE_DIR}/.git)
    execute_process(COMMAND ${GIT} -C ${SOURCE_DIR} rev-parse --short=10 HEAD
        OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "cli/commit.hpp"

namespace mambase::cli {

const char* const kCommit = "@commit@";

}  // namespace mambase::cli
]])
