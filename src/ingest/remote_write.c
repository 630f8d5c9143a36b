/* remote_write.c
 *
 *   WriteRequest   1 timeseries*  3 metadata*                        (2 is reserved)
 *   TimeSeries     1 labels*  2 samples*  3 exemplars*  4 histograms*
 *   Label          1 name  2 value
 *   Sample         1 value double  2 timestamp int64, ms
 *   Exemplar       1 labels*  2 value double  3 timestamp int64, ms
 *   MetricMetadata 1 type enum  2 metric_family_name  4 help  5 unit
 *
 * What is stored is read by hand, a function for each message; what is only checked goes through
 * the tables, which also name the field when something is wrong. A zero-length Sample is a sample
 * (0 at time 0), and of a scalar given twice the last one wins.
 */
#include "ingest/remote_write.h"

#include <stdlib.h>

#include "base/vec.h"
#include "ingest/pbwire.h"
#include "ingest/snappy.h"

#include "base/banned.h"

static const struct pb_field_spec label_fields[] = {
    { "name", 1, PB_BYTES, false, NULL },
    { "value", 2, PB_BYTES, false, NULL },
};
static const struct pb_message label_message = PB_MESSAGE(label_fields);

static const struct pb_field_spec sample_fields[] = {
    { "value", 1, PB_FIXED64, false, NULL },
    { "timestamp", 2, PB_VARINT, false, NULL },
};
static const struct pb_message sample_message = PB_MESSAGE(sample_fields);

static const struct pb_field_spec exemplar_fields[] = {
    { "labels", 1, PB_BYTES, true, &label_message },
    { "value", 2, PB_FIXED64, false, NULL },
    { "timestamp", 3, PB_VARINT, false, NULL },
};
static const struct pb_message exemplar_message = PB_MESSAGE(exemplar_fields);

static const struct pb_field_spec span_fields[] = {
    { "offset", 1, PB_VARINT, false, NULL },
    { "length", 2, PB_VARINT, false, NULL },
};
static const struct pb_message span_message = PB_MESSAGE(span_fields);

static const struct pb_field_spec histogram_fields[] = {
    { "count_int", 1, PB_VARINT, false, NULL },
    { "count_float", 2, PB_FIXED64, false, NULL },
    { "sum", 3, PB_FIXED64, false, NULL },
    { "schema", 4, PB_VARINT, false, NULL },
    { "zero_threshold", 5, PB_FIXED64, false, NULL },
    { "zero_count_int", 6, PB_VARINT, false, NULL },
    { "zero_count_float", 7, PB_FIXED64, false, NULL },
    { "negative_spans", 8, PB_BYTES, true, &span_message },
    { "negative_deltas", 9, PB_VARINT, true, NULL },
    { "negative_counts", 10, PB_FIXED64, true, NULL },
    { "positive_spans", 11, PB_BYTES, true, &span_message },
    { "positive_deltas", 12, PB_VARINT, true, NULL },
    { "positive_counts", 13, PB_FIXED64, true, NULL },
    { "reset_hint", 14, PB_VARINT, false, NULL },
    { "timestamp", 15, PB_VARINT, false, NULL },
    { "custom_values", 16, PB_FIXED64, true, NULL },
};
static const struct pb_message histogram_message = PB_MESSAGE(histogram_fields);

static const struct pb_field_spec series_fields[] = {
    { "labels", 1, PB_BYTES, true, &label_message },
    { "samples", 2, PB_BYTES, true, &sample_message },
    { "exemplars", 3, PB_BYTES, true, &exemplar_message },
    { "histograms", 4, PB_BYTES, true, &histogram_message },
};
static const struct pb_message series_message = PB_MESSAGE(series_fields);

static const struct pb_field_spec metadata_fields[] = {
    { "type", 1, PB_VARINT, false, NULL },
    { "metric_family_name", 2, PB_BYTES, false, NULL },
    { "help", 4, PB_BYTES, false, NULL },
    { "unit", 5, PB_BYTES, false, NULL },
};
static const struct pb_message metadata_message = PB_MESSAGE(metadata_fields);

static const struct pb_field_spec request_fields[] = {
    { "timeseries", 1, PB_BYTES, true, &series_message },
    { "metadata", 3, PB_BYTES, true, &metadata_message },
};
static const struct pb_message request_message = PB_MESSAGE(request_fields);

/* The numbers on the wire are our own. */
_Static_assert(METRIC_COUNTER == 1 && METRIC_GAUGE == 2 && METRIC_HISTOGRAM == 3
                   && METRIC_GAUGEHISTOGRAM == 4 && METRIC_SUMMARY == 5 && METRIC_INFO == 6
                   && METRIC_STATESET == 7 && METRIC_TYPE_COUNT == 8,
               "enum metric_type follows MetricMetadata.MetricType");

/* One request being read. After an error rc is set, the reader stopped, and all loops end. */
struct parse {
    struct pb_reader r;
    struct remote_write *rw;
    enum errc rc;
    struct err *err;
};

static void give_up(struct parse *p, enum errc rc)
{
    p->rc = rc;
    pb_fail(&p->r, PB_STOPPED);
}

/* Room for item n (counted from 0) of an array, within the limit named what. */
static bool make_room(struct parse *p, void *items, size_t *cap, size_t n, size_t size)
{
    if (LIKELY(n < *cap))
        return true;
    if (vec_reserve(items, cap, n + 1, size))
        return true;
    give_up(p, err_set(p->err, ERR_NOMEM, 0, "remote write: out of memory"));
    return false;
}

static bool within(struct parse *p, size_t n, size_t max, const char *what)
{
    if (LIKELY(n < max))
        return true;
    give_up(p, err_set(p->err, ERR_TOO_LARGE, 0, "remote write: more than %zu %s in one request",
                       max, what));
    return false;
}

static void read_label(struct parse *p)
{
    struct remote_write *rw = p->rw;
    struct label *label;
    struct pb_field f;

    if (!within(p, rw->n_labels, REMOTE_WRITE_MAX_LABELS, "labels")
        || !make_room(p, &rw->labels, &rw->cap_labels, rw->n_labels, sizeof *label))
        return;
    label = &rw->labels[rw->n_labels++];
    *label = (struct label){ STR(""), STR("") };
    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            label->name = pb_str(&f);
            break;
        case PB_KEY(2, PB_BYTES):
            label->value = pb_str(&f);
            break;
        default:
            pb_unknown(&p->r, &f, 2);
        }
}

static void read_sample(struct parse *p)
{
    struct remote_write *rw = p->rw;
    size_t n = rw->batch.n_samples;
    struct sample *s;
    struct pb_field f;

    if (!within(p, n, REMOTE_WRITE_MAX_SAMPLES, "samples")
        || !make_room(p, &rw->samples, &rw->cap_samples, n, sizeof *s))
        return;
    rw->batch.n_samples = n + 1;
    s = &rw->samples[n];
    *s = (struct sample){ 0 };
    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_FIXED64):
            s->v = f64_from_bits(f.value);
            break;
        case PB_KEY(2, PB_VARINT):
            s->t_ms = (int64_t)f.value;
            break;
        default:
            pb_unknown(&p->r, &f, 2);
        }
}

static void read_series_field(struct parse *p, uint32_t number, struct write_series *s)
{
    switch (number) {
    case 1:
        read_label(p);
        break;
    case 2:
        read_sample(p);
        break;
    case 3:
        pb_check(&p->r, &exemplar_message);
        p->rw->n_exemplars++;
        break;
    case 4:
        pb_check(&p->r, &histogram_message);
        p->rw->n_histograms++;
        s->n_unsupported++;
        break;
    }
}

static void read_series(struct parse *p)
{
    struct remote_write *rw = p->rw;
    size_t n = rw->batch.n_series, first_label = rw->n_labels;
    struct write_series s = { .first_sample = rw->batch.n_samples };
    struct pb_field f;

    if (!within(p, n, REMOTE_WRITE_MAX_SERIES, "series")
        || !make_room(p, &rw->series, &rw->cap_series, n, sizeof s))
        return;
    while (pb_next(&p->r, &f))
        if (f.key >= PB_KEY(1, PB_BYTES) && f.key <= PB_KEY(4, PB_BYTES)
            && (f.key & 7) == PB_BYTES) {
            const uint8_t *outer = pb_enter(&p->r, &f);

            read_series_field(p, pb_number(&f), &s);
            pb_leave(&p->r, outer);
        } else {
            pb_unknown(&p->r, &f, 4);
        }
    s.n_labels = rw->n_labels - first_label;
    s.n_samples = rw->batch.n_samples - s.first_sample;
    rw->series[n] = s;
    rw->batch.n_series = n + 1;
}

static void read_metadata(struct parse *p)
{
    struct remote_write *rw = p->rw;
    size_t n = rw->batch.n_metadata;
    struct metric_metadata m = { .family = STR(""), .help = STR(""), .unit = STR("") };
    struct pb_field f;

    if (!within(p, n, REMOTE_WRITE_MAX_METADATA, "metadata entries")
        || !make_room(p, &rw->metadata, &rw->cap_metadata, n, sizeof m))
        return;
    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_VARINT):
            m.type = f.value < METRIC_TYPE_COUNT ? (enum metric_type)f.value : METRIC_UNKNOWN;
            break;
        case PB_KEY(2, PB_BYTES):
            m.family = pb_str(&f);
            break;
        case PB_KEY(4, PB_BYTES):
            m.help = pb_str(&f);
            break;
        case PB_KEY(5, PB_BYTES):
            m.unit = pb_str(&f);
            break;
        default:
            if (pb_number(&f) != 3) /* never used by the message */
                pb_unknown(&p->r, &f, 5);
        }
    if (m.family.len == 0 || !utf8_valid(m.family) || !utf8_valid(m.help) || !utf8_valid(m.unit)) {
        rw->n_bad_metadata++;
        return;
    }
    rw->metadata[n] = m;
    rw->batch.n_metadata = n + 1;
}

static void read_request(struct parse *p)
{
    struct pb_field f;

    while (pb_next(&p->r, &f)) {
        if (f.key != PB_KEY(1, PB_BYTES) && f.key != PB_KEY(3, PB_BYTES)) {
            if (pb_number(&f) != 2) /* reserved */
                pb_unknown(&p->r, &f, 3);
            continue;
        }
        const uint8_t *outer = pb_enter(&p->r, &f);

        if (f.key == PB_KEY(1, PB_BYTES))
            read_series(p);
        else
            read_metadata(p);
        pb_leave(&p->r, outer);
    }
}

/* The arrays have stopped moving: lets the batch point into them. */
static void finish_batch(struct remote_write *rw)
{
    size_t at = 0;

    for (size_t i = 0; i < rw->batch.n_series; i++) {
        rw->series[i].labels = rw->n_labels ? rw->labels + at : NULL;
        at += rw->series[i].n_labels;
    }
    rw->batch.series = rw->series;
    rw->batch.samples = rw->samples;
    rw->batch.metadata = rw->metadata;
}

static enum errc report(const struct parse *p, struct bytes message)
{
    size_t at = (size_t)(p->r.field_at - message.ptr);
    struct buf path = { 0 };
    enum errc rc;

    pb_locate(&request_message, message, at, &path);
    rc = err_set(p->err, ERR_BAD_DATA, (uint32_t)at, "remote write: %.*s%s%s at byte %zu",
                 STR_ARG(buf_as_str(&path)), path.len ? ": " : "", pb_fault_text(p->r.fault), at);
    buf_free(&path);
    return rc;
}

static void forget(struct remote_write *rw)
{
    rw->batch = (struct write_batch){ 0 };
    rw->n_exemplars = rw->n_histograms = rw->n_bad_metadata = rw->n_labels = 0;
}

enum errc remote_write_parse(struct remote_write *rw, struct bytes message, struct err *err)
{
    struct parse p = { .r = pb_on(message), .rw = rw, .rc = OK, .err = err };

    forget(rw);
    if (message.len > REMOTE_WRITE_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "remote write: a request of %zu bytes, at most %d are allowed", message.len,
                       REMOTE_WRITE_MAX_BYTES);
    read_request(&p);
    if (p.rc == OK && p.r.fault)
        p.rc = report(&p, message);
    if (p.rc == OK)
        finish_batch(rw);
    else
        forget(rw);
    return p.rc;
}

enum errc remote_write_read(struct remote_write *rw, struct bytes body, struct err *err)
{
    enum errc rc;

    forget(rw);
    rc = snappy_decode(body, REMOTE_WRITE_MAX_BYTES, &rw->body, err);
    return rc ? rc : remote_write_parse(rw, buf_as_bytes(&rw->body), err);
}

/* Frees an array that takes more than a usual request needs. */
static void shrink(void *items, size_t *cap, size_t size)
{
    enum { KEEP_BYTES = 1 << 20 };
    void *old, *none = NULL;

    if (*cap * size <= KEEP_BYTES)
        return;
    memcpy(&old, items, sizeof old);
    free(old);
    memcpy(items, &none, sizeof none);
    *cap = 0;
}

void remote_write_recycle(struct remote_write *rw)
{
    forget(rw);
    buf_clear(&rw->body);
    shrink(&rw->body.ptr, &rw->body.cap, 1);
    shrink(&rw->labels, &rw->cap_labels, sizeof *rw->labels);
    shrink(&rw->series, &rw->cap_series, sizeof *rw->series);
    shrink(&rw->samples, &rw->cap_samples, sizeof *rw->samples);
    shrink(&rw->metadata, &rw->cap_metadata, sizeof *rw->metadata);
}

void remote_write_free(struct remote_write *rw)
{
    buf_free(&rw->body);
    free(rw->labels);
    free(rw->series);
    free(rw->samples);
    free(rw->metadata);
    *rw = (struct remote_write){ 0 };
}
