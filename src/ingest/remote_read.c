/* remote_read.c -- the request
 *
 *   ReadRequest   1 queries*  2 accepted_response_types* enum
 *   Query         1 start_timestamp_ms  2 end_timestamp_ms  3 matchers*  4 hints
 *   LabelMatcher  1 type enum  2 name  3 value
 *
 * Hints say what the reader will do with the samples; they are not needed.
 */
#include "ingest/remote_read.h"

#include "base/arena.h"
#include "ingest/pbwire.h"
#include "ingest/snappy.h"

#include "base/banned.h"

enum { ARENA_BYTES = 64 << 20, NO_ANSWER = -1 };

static const struct pb_field_spec matcher_fields[] = {
    { "type", 1, PB_VARINT, false, NULL },
    { "name", 2, PB_BYTES, false, NULL },
    { "value", 3, PB_BYTES, false, NULL },
};
static const struct pb_message matcher_message = PB_MESSAGE(matcher_fields);

static const struct pb_field_spec query_fields[] = {
    { "start_timestamp_ms", 1, PB_VARINT, false, NULL },
    { "end_timestamp_ms", 2, PB_VARINT, false, NULL },
    { "matchers", 3, PB_BYTES, true, &matcher_message },
    { "hints", 4, PB_BYTES, false, NULL },
};
static const struct pb_message query_message = PB_MESSAGE(query_fields);

static const struct pb_field_spec request_fields[] = {
    { "queries", 1, PB_BYTES, true, &query_message },
    { "accepted_response_types", 2, PB_VARINT, true, NULL },
};
static const struct pb_message request_message = PB_MESSAGE(request_fields);

/* One request being read. After an error rc is set, the reader stopped, and all loops end. */
struct parse {
    struct pb_reader r;
    struct remote_read *rr;
    size_t cap_queries, cap_matchers;
    int answer;        /* NO_ANSWER: no known one yet */
    struct buf wanted; /* the unknown ones, for the error */
    enum errc rc;
    struct err *err;
};

static void give_up(struct parse *p, enum errc rc)
{
    p->rc = rc;
    pb_fail(&p->r, PB_STOPPED);
}

/* items with room for one more, in the arena; NULL after giving up. */
static void *grow(struct parse *p, void *items, size_t n, size_t *cap, size_t size)
{
    size_t wanted = *cap ? 2 * *cap : 4;
    void *grown;

    if (n < *cap)
        return items;
    grown = arena_grow(p->rr->arena, items, n * size, wanted * size);
    if (grown)
        *cap = wanted;
    else
        give_up(p, err_set(p->err, ERR_TOO_LARGE, 0, "remote read: the request is too large"));
    return grown;
}

/* ---- messages ---- */

static enum errc bad_pattern(struct parse *p)
{
    return p->err ? err_set(p->err, ERR_BAD_DATA, 0, "remote read: %s", err_text(p->err))
                  : ERR_BAD_DATA;
}

static void read_matcher(struct parse *p, struct remote_read_query *q)
{
    struct str name = { "", 0 }, value = { "", 0 };
    struct matcher *grown;
    struct pb_field f;
    uint64_t type = 0;
    enum errc rc;

    while (pb_next(&p->r, &f)) {
        switch (f.key) {
        case PB_KEY(1, PB_VARINT):
            type = f.value;
            break;
        case PB_KEY(2, PB_BYTES):
            name = pb_str(&f);
            break;
        case PB_KEY(3, PB_BYTES):
            value = pb_str(&f);
            break;
        default:
            pb_unknown(&p->r, &f, 3);
        }
    }
    if (p->r.fault)
        return;
    if (type > MATCH_NRE) {
        give_up(p, err_set(p->err, ERR_BAD_DATA, 0, "remote read: invalid matcher type %llu",
                           (unsigned long long)type));
        return;
    }
    if (q->n == REMOTE_READ_MAX_MATCHERS) {
        give_up(p,
                err_set(p->err, ERR_TOO_LARGE, 0, "remote read: more than %d matchers in a query",
                        REMOTE_READ_MAX_MATCHERS));
        return;
    }
    grown = grow(p, q->matchers, q->n, &p->cap_matchers, sizeof *grown);
    if (!grown)
        return;
    q->matchers = grown;
    rc = matcher_init(&q->matchers[q->n], (enum match_op)type, name, value, p->rr->arena, p->err);
    if (rc)
        give_up(p, rc == ERR_BAD_QUERY ? bad_pattern(p) : rc);
    else
        q->n++;
}

static void read_query(struct parse *p)
{
    struct remote_read *rr = p->rr;
    struct remote_read_query *grown, *q;
    struct pb_field f;

    if (rr->n_queries == REMOTE_READ_MAX_QUERIES) {
        give_up(p, err_set(p->err, ERR_TOO_LARGE, 0, "remote read: more than %d queries",
                           REMOTE_READ_MAX_QUERIES));
        return;
    }
    grown = grow(p, rr->queries, rr->n_queries, &p->cap_queries, sizeof *grown);
    if (!grown)
        return;
    rr->queries = grown;
    q = &rr->queries[rr->n_queries++];
    *q = (struct remote_read_query){ 0 };
    p->cap_matchers = 0;
    while (pb_next(&p->r, &f)) {
        const uint8_t *outer;

        switch (f.key) {
        case PB_KEY(1, PB_VARINT):
            q->min_t_ms = (int64_t)f.value;
            break;
        case PB_KEY(2, PB_VARINT):
            q->max_t_ms = (int64_t)f.value;
            break;
        case PB_KEY(3, PB_BYTES):
            outer = pb_enter(&p->r, &f);
            read_matcher(p, q);
            pb_leave(&p->r, outer);
            break;
        case PB_KEY(4, PB_BYTES):
            break;
        default:
            pb_unknown(&p->r, &f, 4);
        }
    }
}

/* The first known one counts. */
static void read_answer_type(struct parse *p, uint64_t type)
{
    if (type > REMOTE_READ_XOR_CHUNKS)
        buf_printf(&p->wanted, "%s%llu", p->wanted.len ? " " : "", (unsigned long long)type);
    else if (p->answer == NO_ANSWER)
        p->answer = (int)type;
}

static void read_request(struct parse *p)
{
    struct pb_field f;

    while (pb_next(&p->r, &f)) {
        const uint8_t *outer;

        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            outer = pb_enter(&p->r, &f);
            read_query(p);
            pb_leave(&p->r, outer);
            break;
        case PB_KEY(2, PB_VARINT):
            read_answer_type(p, f.value);
            break;
        case PB_KEY(2, PB_BYTES): /* packed */
            outer = pb_enter(&p->r, &f);
            while (pb_more(&p->r))
                read_answer_type(p, pb_varint(&p->r));
            pb_leave(&p->r, outer);
            break;
        default:
            pb_unknown(&p->r, &f, 2);
        }
    }
}

/* ---- the whole ---- */

static enum errc name_fault(const struct parse *p, struct bytes message)
{
    size_t at = (size_t)(p->r.field_at - message.ptr);
    struct buf path = { 0 };
    enum errc rc;

    pb_locate(&request_message, message, at, &path);
    rc = err_set(p->err, ERR_BAD_DATA, (uint32_t)at, "remote read: %.*s%s%s at byte %zu",
                 STR_ARG(buf_as_str(&path)), path.len ? ": " : "", pb_fault_text(p->r.fault), at);
    buf_free(&path);
    return rc;
}

static enum errc choose_answer(const struct parse *p)
{
    if (p->answer == NO_ANSWER && p->wanted.len)
        return err_set(p->err, ERR_BAD_DATA, 0,
                       "server does not support any of the requested response types: [%.*s]; "
                       "supported: map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]",
                       STR_ARG(buf_as_str(&p->wanted)));
    p->rr->answer =
        p->answer == NO_ANSWER ? REMOTE_READ_SAMPLES : (enum remote_read_answer)p->answer;
    return OK;
}

static enum errc parse_message(struct bytes message, struct remote_read *out, struct err *err)
{
    struct parse p = { .r = pb_on(message), .rr = out, .answer = NO_ANSWER, .err = err };
    enum errc rc;

    read_request(&p);
    if (p.rc)
        rc = p.rc;
    else if (p.r.fault)
        rc = name_fault(&p, message);
    else
        rc = choose_answer(&p);
    buf_free(&p.wanted);
    return rc;
}

enum errc remote_read_parse(struct bytes body, struct remote_read *out, struct err *err)
{
    struct buf message = { 0 };
    enum errc rc = snappy_decode(body, REMOTE_READ_MAX_BYTES, &message, err);

    *out = (struct remote_read){ 0 };
    if (!rc && !(out->arena = arena_new(ARENA_BYTES)))
        rc = err_set(err, ERR_NOMEM, 0, "remote read: out of memory");
    if (!rc)
        rc = parse_message(buf_as_bytes(&message), out, err);
    buf_free(&message); /* matchers are copies */
    if (rc)
        remote_read_free(out);
    return rc;
}

void remote_read_free(struct remote_read *rr)
{
    for (size_t i = 0; i < rr->n_queries; i++)
        for (size_t k = 0; k < rr->queries[i].n; k++)
            matcher_free(&rr->queries[i].matchers[k]);
    arena_free(rr->arena);
    *rr = (struct remote_read){ 0 };
}

enum errc remote_read_apply_external(struct remote_read *rr, struct err *err)
{
    for (size_t i = 0; i < rr->n_queries; i++) {
        for (size_t k = 0; k < rr->queries[i].n; k++) {
            struct matcher *m = &rr->queries[i].matchers[k];

            if (m->op != MATCH_EQ || m->value.len == 0
                || !str_equal(labels_get(rr->external, m->name), m->value))
                continue;
            if (matcher_init(m, MATCH_EQ, m->name, STR(""), rr->arena, err) != OK)
                return ERR_LIMIT;
        }
    }
    return OK;
}
