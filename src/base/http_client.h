/* http_client.h -- sending one HTTP request and reading its answer, over libcurl (named in http_client.c only).
 *
 * Bounded: the time of a whole request, bytes of the answer. Redirects are not followed, proxies of the environment not
 * asked. TLS verifies certificate and name unless told otherwise.
 *
 * Threads: a client belongs to one thread at a time; it keeps its connection between requests.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct http_client;

struct http_client_options {
    int64_t timeout_ms;        /* of a whole request; 10 s by default */
    size_t max_answer_bytes;   /* 64 KiB by default; what is beyond is dropped */
    struct str user, password; /* basic auth; empty: none */
    struct str authorization;  /* the whole header's value, such as "Bearer x"; empty: none */
    bool insecure_skip_verify;
    const atomic_bool *cancel; /* becomes true: the running request ends; may be NULL */
};

struct http_client_options http_client_options_default(void);

/* NULL when out of memory. The strings of options are copied; authorization is one that http_authorization_check()
 * accepts. */
struct http_client *http_client_new(const struct http_client_options *options);
void http_client_free(struct http_client *c); /* NULL is fine */

/* Whether url is http:// or https:// with a host, and has neither user and password (an error text would show them) nor
 * a fragment. ERR_BAD_CONFIG says what is wrong. */
MUST_USE enum errc http_url_check(struct str url, struct err *err);

/* Whether value may stand in a header: no control characters. ERR_BAD_CONFIG; the text does not show it. */
MUST_USE enum errc http_authorization_check(struct str value, struct err *err);

/* POSTs body to url. OK whenever the server has answered: *status, and the answer's body in answer (emptied first);
 * *retry_after_s from Retry-After (seconds or a date), 0 without. ERR_UNAVAILABLE when it could not be reached or broke
 * off, ERR_TIMEOUT, ERR_CANCELED (within 0.1 s), ERR_NOMEM, ERR_BAD_CONFIG for a url that http_url_check() refuses; the
 * text names the url, without its query, and the reason. */
MUST_USE enum errc http_client_post(struct http_client *c, const char *url,
                                    const char *content_type, struct bytes body, int *status,
                                    int64_t *retry_after_s, struct buf *answer, struct err *err);
