/* template_verbs.h -- one value as one verb of Go's package fmt. Only the template engine includes it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "alert/template_private.h"

/* One % of a format. */
struct spec {
    bool plus, minus, sharp, space, zero;
    bool plus_v, sharp_v; /* + and # of %v mean something else */
    bool has_width, has_precision;
    int width, precision;
};

struct printer {
    struct buf *b;
    struct spec spec;
    bool bare;   /* as an action prints: <no value>, and no & before a record */
    bool erring; /* inside a %!d(...): values print without their String() */
};

/* Whether the text has failed, or is longer than an expansion may be: then nothing more is written. */
bool printer_is_full(const struct printer *p);
void printer_text(struct printer *p, const char *s);
void printer_rune(struct printer *p, uint32_t rune);

/* Writes d by verb ('d' of %d) and p->spec; what does not fit as %!d(float64=42). */
void printer_arg(struct printer *p, struct datum d, uint32_t verb);
