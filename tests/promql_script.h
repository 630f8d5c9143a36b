/* promql_script.h -- runs scripts in the language of Prometheus' promqltest against a store in
 * memory: clear, load, eval instant, eval range, and the expect lines below an eval.
 *
 * Every instant query without range(), step(), start() or end() is also run as the middle of a
 * range query, whose result must agree. Annotations and the messages of failures are checked as
 * far as a script speaks of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct script_counts {
    size_t passed, failed;
};

/* Adds to counts; failures are printed to report, one line each (NULL: not). False when the file
 * cannot be read or a line not be understood. */
bool promql_script_run(const char *path, FILE *report, struct script_counts *counts);
