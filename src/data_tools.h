/* data_tools.h -- the commands that work on data directories.
 *
 *   verify DIR [--json]        looks at every checksum and structure of a directory nobody uses
 *   backup DIR OUT             copies a directory that nobody uses, and verifies the copy
 *   backup --url=URL OUT       has a running server make a snapshot, and moves that to OUT
 *   restore SNAPSHOT DIR       verifies a backup or snapshot and copies it to a new data directory
 *
 * What is done goes to standard output, faults to standard error; on a terminal progress is shown.
 */
#pragma once

#include <stdbool.h>

enum { TOOLS_GOOD = 0, TOOLS_FAILED = 1, TOOLS_USAGE = 2 };

bool data_tools_has(const char *command);

/* argv[0] is the command, which data_tools_has(). The exit status, one of TOOLS_.... Not for several
 * threads at once (getopt). */
int data_tools_main(int argc, char **argv);
