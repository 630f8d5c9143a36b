/* remote_write.c
 *
 *   WriteRequest   1 timeseries*  3 metadata*                        (2 is reserved)
 *   TimeSeries     1 labels*  2 samples*  3 exemplars*  4 histograms*
 *   Label          1 name  2 value
 *   Sample         1 value double  2 timestamp int64, ms
 *   Exemplar       1 labels*  2 value double  3 timestamp int64, ms
 *   Histogram      write_values.c
 *   MetricMetadata 1 type enum  2 metric_family_name  4 help  5 unit
 *
 * The messages are read by hand, a function for each; the tables name the field when something is
 * wrong. A zero-length Sample is a sample
 * (0 at time 0), and of a scalar given twice the last one wins.
 */
#include "ingest/remote_write.h"

#include <stdlib.h>

#include "base/vec.h"
#include "ingest/pbwire.h"
#include "ingest/snappy.h"
#include "ingest/write_values.h"

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

static const struct pb_field_spec series_fields[] = {
    { "labels", 1, PB_BYTES, true, &label_message },
    { "samples", 2, PB_BYTES, true, &sample_message },
    { "exemplars", 3, PB_BYTES, true, &exemplar_message },
    { "histograms", 4, PB_BYTES, true, &write_histogram_message },
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

/* An array of the request, and how many items one request may ask for. */
struct array {
    void *items; /* where the pointer to them is */
    size_t *cap; /* never more than max, so that comparing with it is all a new item costs */
    size_t size, max;
    const char *name;
};

static bool grow(struct parse *p, const struct array *a)
{
    if (*a->cap == a->max)
        give_up(p, err_set(p->err, ERR_TOO_LARGE, 0,
                           "remote write: more than %zu %s in one request", a->max, a->name));
    else if (!vec_reserve(a->items, a->cap, *a->cap + 1, a->size))
        give_up(p, err_set(p->err, ERR_NOMEM, 0, "remote write: out of memory"));
    if (*a->cap > a->max)
        *a->cap = a->max;
    return p->rc == OK;
}

static bool grow_labels(struct parse *p)
{
    return grow(p, &(struct array){ &p->rw->labels, &p->rw->cap_labels, sizeof(struct label),
                                    REMOTE_WRITE_MAX_LABELS, "labels" });
}

static bool grow_samples(struct parse *p)
{
    return grow(p, &(struct array){ &p->rw->samples, &p->rw->cap_samples, sizeof(struct sample),
                                    REMOTE_WRITE_MAX_SAMPLES, "samples" });
}

static bool grow_series(struct parse *p)
{
    return grow(p, &(struct array){ &p->rw->series, &p->rw->cap_series, sizeof(struct write_series),
                                    REMOTE_WRITE_MAX_SERIES, "series" });
}

static bool grow_metadata(struct parse *p)
{
    return grow(p, &(struct array){ &p->rw->metadata, &p->rw->cap_metadata,
                                    sizeof(struct metric_metadata), REMOTE_WRITE_MAX_METADATA,
                                    "metadata entries" });
}

/* The fields of a Label in their order, both there and shorter than 128 bytes: what nearly every
 * sender writes, so it is tried before the general way. False: nothing has happened. */
static bool read_plain_label(struct bytes b, struct label *label)
{
    const uint8_t *p = b.ptr;
    size_t n_name, n_value;

    if (b.len < 4 || p[0] != PB_KEY(1, PB_BYTES) || (n_name = p[1]) >= 0x80 || b.len < 4 + n_name)
        return false;
    p += 2 + n_name;
    if (p[0] != PB_KEY(2, PB_BYTES) || (n_value = p[1]) >= 0x80 || b.len != 4 + n_name + n_value)
        return false;
    *label =
        (struct label){ { (const char *)b.ptr + 2, n_name }, { (const char *)p + 2, n_value } };
    return true;
}

static void read_any_label(struct pb_reader *r, struct label *label)
{
    struct pb_field f;

    *label = (struct label){ STR(""), STR("") };
    while (pb_next(r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            label->name = pb_str(&f);
            break;
        case PB_KEY(2, PB_BYTES):
            label->value = pb_str(&f);
            break;
        default:
            pb_unknown(r, &f, 2);
        }
}

static void read_label(struct parse *p, const struct pb_field *f)
{
    struct remote_write *rw = p->rw;
    struct label *label;

    if (UNLIKELY(rw->n_labels == rw->cap_labels) && !grow_labels(p))
        return;
    label = &rw->labels[rw->n_labels++];
    if (!read_plain_label(f->bytes, label)) {
        const uint8_t *outer = pb_enter(&p->r, f);

        read_any_label(&p->r, label);
        pb_leave(&p->r, outer);
    }
}

/* The fields of a Sample in their order, the time in six bytes, as from 2004 to 2109: the rest as
 * for labels. */
static bool read_plain_sample(struct bytes b, struct sample *s)
{
    const uint8_t *t = b.ptr + 10;

    if (b.len != 16 || b.ptr[0] != PB_KEY(1, PB_FIXED64) || b.ptr[9] != PB_KEY(2, PB_VARINT)
        || !(t[0] & t[1] & t[2] & t[3] & t[4] & 0x80) || t[5] & 0x80)
        return false;
    s->v = f64_from_bits(load_u64le(b.ptr + 1));
    s->t_ms = 0;
    for (int i = 0; i < 6; i++)
        s->t_ms |= (int64_t)(t[i] & 0x7f) << (7 * i);
    return true;
}

static void read_sample(struct parse *p, const struct pb_field *in)
{
    struct remote_write *rw = p->rw;
    size_t n = rw->batch.n_samples;
    struct sample s = { 0 };
    const uint8_t *outer;
    struct pb_field f;

    if (UNLIKELY(n == rw->cap_samples) && !grow_samples(p))
        return;
    rw->batch.n_samples = n + 1;
    if (read_plain_sample(in->bytes, &rw->samples[n]))
        return;
    outer = pb_enter(&p->r, in);
    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_FIXED64):
            s.v = f64_from_bits(f.value);
            break;
        case PB_KEY(2, PB_VARINT):
            s.t_ms = (int64_t)f.value;
            break;
        default:
            pb_unknown(&p->r, &f, 2);
        }
    pb_leave(&p->r, outer);
    rw->samples[n] = s;
}

/* The labels from first on. */
static struct labels labels_from(const struct remote_write *rw, size_t first)
{
    size_t n = rw->n_labels - first;

    return (struct labels){ n ? rw->labels + first : NULL, n }; /* NULL + 0 is undefined */
}

/* The labels of an exemplar lie behind those of the series until the exemplar has been kept. */
static void read_exemplar(struct parse *p, const struct pb_field *in)
{
    struct remote_write *rw = p->rw;
    size_t first_label = rw->n_labels;
    const uint8_t *outer = pb_enter(&p->r, in);
    int64_t t_ms = 0;
    double v = 0;
    struct pb_field f;

    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            read_label(p, &f);
            break;
        case PB_KEY(2, PB_FIXED64):
            v = f64_from_bits(f.value);
            break;
        case PB_KEY(3, PB_VARINT):
            t_ms = (int64_t)f.value;
            break;
        default:
            pb_unknown(&p->r, &f, 3);
        }
    pb_leave(&p->r, outer);
    if (!p->r.fault) {
        enum errc rc =
            write_values_add_exemplar(&rw->values, labels_from(rw, first_label), v, t_ms, p->err);

        if (rc != OK)
            give_up(p, rc);
    }
    rw->n_labels = first_label;
}

static void read_histogram(struct parse *p, const struct pb_field *in)
{
    const uint8_t *outer = pb_enter(&p->r, in);
    enum errc rc = write_values_read_histogram(&p->rw->values, &p->r, p->err);

    pb_leave(&p->r, outer);
    if (rc != OK)
        give_up(p, rc);
}

/* False: a series that is known has further labels. */
static bool read_series_fields(struct parse *p, struct write_series *s)
{
    struct pb_field f;

    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            if (s->known)
                return false;
            read_label(p, &f);
            break;
        case PB_KEY(2, PB_BYTES):
            read_sample(p, &f);
            break;
        case PB_KEY(3, PB_BYTES):
            read_exemplar(p, &f);
            break;
        case PB_KEY(4, PB_BYTES):
            read_histogram(p, &f);
            break;
        default:
            pb_unknown(&p->r, &f, 4);
        }
    return true;
}

/* Reads a series whose labels the store recognises; false: nothing has happened, read it as any other.
 */
static bool read_known_series(struct parse *p, const struct pb_field *in, struct write_series *s)
{
    struct remote_write *rw = p->rw;
    size_t n;

    s->known = db_recognise_wire(&rw->recogniser, in->bytes, &n);
    if (!s->known)
        return false;
    p->r.p += n;
    if (read_series_fields(p, s))
        return true;
    rw->batch.n_samples = s->first_sample;
    rw->values.n_histograms = s->first_histogram;
    rw->values.n_exemplars = s->first_exemplar;
    s->known = 0;
    p->r.p = in->bytes.ptr;
    return false;
}

static void read_series(struct parse *p, const struct pb_field *in)
{
    struct remote_write *rw = p->rw;
    size_t n = rw->batch.n_series, first_label = rw->n_labels;
    struct write_series s = { .first_sample = rw->batch.n_samples,
                              .first_histogram = rw->values.n_histograms,
                              .first_exemplar = rw->values.n_exemplars };
    const uint8_t *outer;

    if (UNLIKELY(n == rw->cap_series) && !grow_series(p))
        return;
    outer = pb_enter(&p->r, in);
    if (!read_known_series(p, in, &s)) {
        (void)read_series_fields(p, &s);
        s.n_labels = rw->n_labels - first_label;
        if (!p->r.fault)
            s.known = db_recognise_labels(&rw->recogniser, labels_from(rw, first_label));
    }
    pb_leave(&p->r, outer);
    s.n_samples = rw->batch.n_samples - s.first_sample;
    s.n_histograms = rw->values.n_histograms - s.first_histogram;
    s.n_exemplars = rw->values.n_exemplars - s.first_exemplar;
    rw->series[n] = s;
    rw->batch.n_series = n + 1;
}

static void read_metadata(struct parse *p, const struct pb_field *in)
{
    struct remote_write *rw = p->rw;
    size_t n = rw->batch.n_metadata;
    struct metric_metadata m = { .family = STR(""), .help = STR(""), .unit = STR("") };
    const uint8_t *outer;
    struct pb_field f;

    if (UNLIKELY(n == rw->cap_metadata) && !grow_metadata(p))
        return;
    outer = pb_enter(&p->r, in);
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
    pb_leave(&p->r, outer);
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

    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_BYTES):
            read_series(p, &f);
            break;
        case PB_KEY(3, PB_BYTES):
            read_metadata(p, &f);
            break;
        default:
            if (pb_number(&f) != 2) /* reserved */
                pb_unknown(&p->r, &f, 3);
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
    rw->batch.histograms = rw->values.histograms;
    rw->batch.n_histograms = rw->values.n_histograms;
    rw->batch.exemplars = rw->values.exemplars;
    rw->batch.n_exemplars = rw->values.n_exemplars;
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
    rw->n_bad_metadata = rw->n_labels = 0;
    write_values_forget(&rw->values);
}

enum errc remote_write_parse(struct remote_write *rw, struct bytes message, struct err *err)
{
    struct parse p = { .r = pb_on(message), .rw = rw, .rc = OK, .err = err };

    forget(rw);
    if (message.len > REMOTE_WRITE_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "remote write: a request of %zu bytes, at most %d are allowed", message.len,
                       REMOTE_WRITE_MAX_BYTES);
    if (rw->db)
        db_recognise_begin(&rw->recogniser, rw->db);
    read_request(&p);
    rw->batch.recognised = rw->db;
    rw->batch.found_at = rw->recogniser.found_at;
    db_recognise_end(&rw->recogniser);
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

/* What is kept of each array for the next request. */
enum { KEEP_BYTES = 1 << 20 };

void remote_write_recycle(struct remote_write *rw)
{
    forget(rw);
    buf_clear(&rw->body);
    vec_shrink(&rw->body.ptr, &rw->body.cap, 1, KEEP_BYTES);
    vec_shrink(&rw->labels, &rw->cap_labels, sizeof *rw->labels, KEEP_BYTES);
    vec_shrink(&rw->series, &rw->cap_series, sizeof *rw->series, KEEP_BYTES);
    vec_shrink(&rw->samples, &rw->cap_samples, sizeof *rw->samples, KEEP_BYTES);
    vec_shrink(&rw->metadata, &rw->cap_metadata, sizeof *rw->metadata, KEEP_BYTES);
}

void remote_write_free(struct remote_write *rw)
{
    buf_free(&rw->body);
    free(rw->labels);
    free(rw->series);
    free(rw->samples);
    free(rw->metadata);
    write_values_free(&rw->values);
    *rw = (struct remote_write){ 0 };
}
