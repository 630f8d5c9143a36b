/* compensated.h -- sums that keep the low-order bits.
 *
 * Kahan-Babuska summation as Neumaier improved it: "Rundungsfehleranalyse einiger Verfahren zur
 * Summation endlicher Summen", ZAMM 54 (1974). The sum is *sum + *c. Infinities drop the
 * compensation, which could only be NaN.
 */
#pragma once

#include <math.h>

static inline void compensated_add(double v, double *sum, double *c)
{
    double t = *sum + v;

    if (isinf(t))
        *c = 0;
    else if (fabs(*sum) >= fabs(v))
        *c += (*sum - t) + v;
    else
        *c += (v - t) + *sum;
    *sum = t;
}
