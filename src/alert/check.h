/* check.h -- `tidemark check rules|config`: what is wrong with files, as promtool tells it.
 *
 *   check rules  [flags] [FILE...]    rules files; standard input without one
 *   check config [flags] FILE...      configurations, and the rules files that they name
 *
 *   --lint=LIST               all, none or duplicate-rules (the default)
 *   --lint-fatal              what lint finds is a failure
 *   --ignore-unknown-fields   in rules files
 *   --syntax-only             of a configuration: not the rules files
 *   --json                    the result as JSON, on standard output
 *   --enable-feature=LIST     taken for promtool's sake: there is nothing that is not enabled
 *
 * Progress goes to standard output, faults to standard error.
 */
#pragma once

enum { CHECK_GOOD = 0, CHECK_FAILED = 1, CHECK_USAGE = 2, CHECK_LINT = 3 };

/* argv[0] is "check". The exit status, one of CHECK_...; CHECK_LINT when only lint found something.
 * Not for several threads at once (getopt). */
int check_main(int argc, char **argv);
