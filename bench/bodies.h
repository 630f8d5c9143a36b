/* bodies.h -- a fleet's samples as remote-write requests, made before they are sent.
 *
 * Encoding and compressing cost more than a good server spends on a request, so it is done ahead,
 * into a file that is then mapped, and sending costs nothing but system calls. The same options give
 * the same bytes.
 *
 * The pods are dealt out to senders in runs; a sender's requests hold BODY_SAMPLES samples each
 * (the last one fewer), one sample for each TimeSeries, pods in order, scrape after scrape.
 */
#pragma once

#include "base/err.h"
#include "fleet.h"

enum { BODY_SAMPLES = 2000, MAX_SENDERS = 64 };

struct bodies_options {
    struct fleet_options fleet;
    uint32_t n_pods, n_senders;
    uint32_t
        churn_percent; /* of the pods are replaced by new ones, each once, spread over the run */
};

struct body {
    uint64_t offset; /* private */
    uint32_t bytes, n_samples;
    uint32_t step; /* of its first sample */
};

struct sender_bodies {
    struct body *items;
    size_t n, cap;
};

struct bodies {
    struct bodies_options options;
    struct sender_bodies senders[MAX_SENDERS];
    uint64_t n_samples, n_bytes, n_decoded_bytes;
    uint64_t n_series;  /* those of replaced pods included */
    const uint8_t *map; /* private from here on */
    size_t map_bytes;
    int fd;
};

/* Encodes everything, with a thread for each sender. The file has no name: it is made in folder and
 * goes away with bodies_free(). ERR_IO, ERR_NOMEM; *out is to be freed after errors too. */
MUST_USE enum errc bodies_make(const struct bodies_options *o, const char *folder,
                               struct bodies *out, struct err *err);
void bodies_free(struct bodies *b);

/* The Snappy block of a request; lives as long as b. */
static inline struct bytes body_bytes(const struct bodies *b, const struct body *body)
{
    return (struct bytes){ b->map + body->offset, body->bytes };
}
