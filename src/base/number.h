/* number.h -- doubles as text, the way Prometheus (Go's strconv) writes and reads them.
 *
 * Shortest decimal that reads back to the same bits; of several shortest ones the closest to the
 * value.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"

enum number_form {
    NUMBER_JSON, /* plain for 1e-6 <= |v| < 1e21 and 0, else 1e-07, 1e+21: sample values in the HTTP
                    API */
    NUMBER_PLAIN, /* never an exponent: 0.0000001 */
    NUMBER_G,     /* Go's %g / %v: exponent form below 1e-4 and from 1e6 */
    NUMBER_E      /* always an exponent: 1e+00 */
};

enum { NUMBER_MAX = 352 }; /* longest text: -0.0…(323 zeros) and 17 digits */

/* Writes v to out, returns the length (no NUL). NaN, +Inf, -Inf and -0 as in Go. */
size_t number_format(double v, enum number_form form, char out[NUMBER_MAX]);

/* Appends v. */
void number_print(struct buf *b, double v, enum number_form form);

/* Reads the whole of s as Go's ParseFloat does: decimal, hexadecimal with p exponent,
 * inf/infinity/nan in any case, a sign, '_' only between digits when underscores is true. False for
 * anything else; overflow gives ERANGE-like *out_of_range = true with +-Inf in *v (NULL when the
 * caller does not care). */
bool number_parse(struct str s, bool underscores, double *v, bool *out_of_range);

/* Reads the whole of s as a decimal int64 with optional sign. */
bool number_parse_i64(struct str s, int64_t *v);
