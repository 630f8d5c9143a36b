/* range_histograms.h -- functions over windows that have histograms among their samples: what rows
 * of functions.c name as .histograms.
 *
 * Windows of floats alone are range_functions.h's, whatever else the series holds.
 */
#pragma once

#include "base/err.h"
#include "query/functions.h"

over_histograms rate_histograms, increase_histograms, delta_histograms, irate_histograms,
    idelta_histograms;
over_histograms resets_histograms, changes_histograms;
over_histograms sum_histograms, avg_histograms, first_histograms, last_histograms;
