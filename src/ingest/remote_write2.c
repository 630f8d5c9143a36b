/* remote_write2.c
 *
 *   Request     4 symbols*  5 timeseries*                    (1 to 3 are those of 1.0, reserved)
 *   TimeSeries  1 labels_refs* uint32  2 samples*  3 histograms*  4 exemplars*  5 metadata
 *               6 created_timestamp int64, ms
 *   Sample      1 value double  2 timestamp int64, ms  3 start_timestamp int64, ms
 *   Histogram   write_values.c
 *   Exemplar    1 labels_refs* uint32  2 value double  3 timestamp int64, ms
 *   Metadata    1 type enum  3 help_ref uint32  4 unit_ref uint32
 *
 * Series may come before the symbols they refer to, so a request is walked twice: once for its
 * symbols, which passes over a series by its length, and once for its series.
 *
 * The created_timestamp of a series is of a draft of the message that clients still have (it is
 * reserved now): the start time of those of its samples that have none of their own.
 */
#include "ingest/remote_write2.h"

#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "ingest/pbwire.h"
#include "ingest/snappy.h"

#include "base/banned.h"

static const struct pb_field_spec sample_fields[] = {
    { "value", 1, PB_FIXED64, false, NULL },
    { "timestamp", 2, PB_VARINT, false, NULL },
    { "start_timestamp", 3, PB_VARINT, false, NULL },
};
static const struct pb_message sample_message = PB_MESSAGE(sample_fields);

static const struct pb_field_spec exemplar_fields[] = {
    { "labels_refs", 1, PB_VARINT, true, NULL },
    { "value", 2, PB_FIXED64, false, NULL },
    { "timestamp", 3, PB_VARINT, false, NULL },
};
static const struct pb_message exemplar_message = PB_MESSAGE(exemplar_fields);

static const struct pb_field_spec metadata_fields[] = {
    { "type", 1, PB_VARINT, false, NULL },
    { "help_ref", 3, PB_VARINT, false, NULL },
    { "unit_ref", 4, PB_VARINT, false, NULL },
};
static const struct pb_message metadata_message = PB_MESSAGE(metadata_fields);

static const struct pb_field_spec series_fields[] = {
    { "labels_refs", 1, PB_VARINT, true, NULL },
    { "samples", 2, PB_BYTES, true, &sample_message },
    { "histograms", 3, PB_BYTES, true, &write_histogram_message },
    { "exemplars", 4, PB_BYTES, true, &exemplar_message },
    { "metadata", 5, PB_BYTES, false, &metadata_message },
    { "created_timestamp", 6, PB_VARINT, false, NULL },
};
static const struct pb_message series_message = PB_MESSAGE(series_fields);

static const struct pb_field_spec request_fields[] = {
    { "symbols", 4, PB_BYTES, true, NULL },
    { "timeseries", 5, PB_BYTES, true, &series_message },
};
static const struct pb_message request_message = PB_MESSAGE(request_fields);

/* One request being read. After an error rc is set, the reader stopped, and all loops end. */
struct parse {
    struct pb_reader r;
    struct remote_write2 *rw;
    enum errc rc;
    struct err *err;
};

struct metadata {
    uint64_t type;
    uint32_t help, unit;
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

static bool grow_symbols(struct parse *p)
{
    return grow(p, &(struct array){ &p->rw->symbols, &p->rw->cap_symbols, sizeof(struct str),
                                    REMOTE_WRITE2_MAX_SYMBOLS, "symbols" });
}

/* Room for more refs than there are, or labels: a series adds all of its own at once. */
static bool reserve_refs(struct parse *p, size_t more)
{
    struct array a = { &p->rw->refs, &p->rw->cap_refs, sizeof(uint32_t),
                       2 * REMOTE_WRITE2_MAX_LABELS, "numbers of labels" };

    while (p->rc == OK && p->rw->cap_refs - p->rw->n_refs < more)
        (void)grow(p, &a);
    return p->rc == OK;
}

static bool reserve_labels(struct parse *p, size_t more)
{
    struct array a = { &p->rw->labels, &p->rw->cap_labels, sizeof(struct label),
                       REMOTE_WRITE2_MAX_LABELS, "labels" };

    while (p->rc == OK && p->rw->cap_labels - p->rw->n_labels < more)
        (void)grow(p, &a);
    return p->rc == OK;
}

static bool grow_samples(struct parse *p)
{
    struct remote_write2 *rw = p->rw;

    return grow(p, &(struct array){ &rw->samples, &rw->cap_samples, sizeof(struct sample),
                                    REMOTE_WRITE2_MAX_SAMPLES, "samples" })
           && (rw->cap_starts >= rw->cap_samples
               || grow(p, &(struct array){ &rw->start_ms, &rw->cap_starts, sizeof(int64_t),
                                           REMOTE_WRITE2_MAX_SAMPLES, "samples" }));
}

static bool grow_series(struct parse *p)
{
    return grow(p, &(struct array){ &p->rw->series, &p->rw->cap_series, sizeof(struct write_series),
                                    REMOTE_WRITE2_MAX_SERIES, "series" });
}

static bool grow_metadata(struct parse *p)
{
    return grow(p, &(struct array){ &p->rw->metadata, &p->rw->cap_metadata,
                                    sizeof(struct metric_metadata), REMOTE_WRITE2_MAX_SERIES,
                                    "series" });
}

/* ---- symbols and labels ---- */

static void read_symbol(struct parse *p, const struct pb_field *f)
{
    struct remote_write2 *rw = p->rw;

    if (UNLIKELY(rw->n_symbols == rw->cap_symbols) && !grow_symbols(p))
        return;
    rw->symbols[rw->n_symbols++] = pb_str(f);
}

/* A number beyond 32 bits is beyond any table too. */
static uint32_t ref_of(uint64_t number)
{
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

static void add_ref(struct parse *p, uint64_t number)
{
    if (reserve_refs(p, 1))
        p->rw->refs[p->rw->n_refs++] = ref_of(number);
}

/* A number takes a byte at least. */
static void read_packed_refs(struct parse *p, const struct pb_field *f)
{
    struct remote_write2 *rw = p->rw;
    const uint8_t *outer;
    uint32_t *to;

    if (f->bytes.len == 0 || !reserve_refs(p, f->bytes.len))
        return;
    outer = pb_enter(&p->r, f);
    to = rw->refs + rw->n_refs;
    while (pb_more(&p->r))
        *to++ = ref_of(pb_varint(&p->r));
    rw->n_refs = (size_t)(to - rw->refs);
    pb_leave(&p->r, outer);
}

/* Symbol 0 is the empty text, also in a table without any. */
static bool symbol(const struct remote_write2 *rw, uint32_t ref, struct str *out)
{
    *out = STR("");
    if (ref < rw->n_symbols)
        *out = rw->symbols[ref];
    return ref < rw->n_symbols || ref == 0;
}

/* Room for another line? */
static bool may_name(struct remote_write2 *rw)
{
    return rw->n_named++ < REMOTE_WRITE2_NAMED;
}

/* Says what is wrong with the refs from first on. */
static void name_bad_refs(struct remote_write2 *rw, size_t first)
{
    struct str text;
    size_t i = first;

    if (!may_name(rw))
        return;
    if ((rw->n_refs - first) % 2 != 0) {
        buf_printf(&rw->text, "invalid labelRefs length %zu\n", rw->n_refs - first);
        return;
    }
    while (symbol(rw, rw->refs[i], &text) && symbol(rw, rw->refs[i + 1], &text))
        i += 2;
    buf_printf(&rw->text, "labelRefs %u (name) = %u (value) outside of symbols table (size %zu)\n",
               rw->refs[i], rw->refs[i + 1], rw->n_symbols);
}

/* Appends the labels that the refs from first on stand for; false when they stand for none. */
static bool resolve(struct parse *p, size_t first)
{
    struct remote_write2 *rw = p->rw;
    size_t n = rw->n_refs - first;
    struct label *to;
    bool sound = n % 2 == 0;

    if (!reserve_labels(p, n / 2))
        return false;
    to = n > 1 ? rw->labels + rw->n_labels : NULL; /* NULL + 0 is undefined */
    for (size_t i = first; sound && i < rw->n_refs; i += 2, to++)
        sound = symbol(rw, rw->refs[i], &to->name) && symbol(rw, rw->refs[i + 1], &to->value);
    if (UNLIKELY(!sound)) {
        name_bad_refs(rw, first);
        return false;
    }
    rw->n_labels += n / 2;
    return true;
}

/* ---- what a series has ---- */

static void read_sample(struct parse *p, const struct pb_field *in)
{
    struct remote_write2 *rw = p->rw;
    size_t n = rw->batch.n_samples;
    struct sample s = { 0 };
    int64_t start_ms = 0;
    const uint8_t *outer;
    struct pb_field f;

    if (UNLIKELY(n >= rw->cap_samples || n >= rw->cap_starts) && !grow_samples(p))
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
        case PB_KEY(3, PB_VARINT):
            start_ms = (int64_t)f.value;
            break;
        default:
            pb_unknown(&p->r, &f, 3);
        }
    pb_leave(&p->r, outer);
    rw->samples[n] = s;
    rw->start_ms[n] = start_ms;
    rw->has_starts |= start_ms != 0;
    rw->batch.n_samples = n + 1;
}

static void read_histogram(struct parse *p, const struct pb_field *in)
{
    const uint8_t *outer = pb_enter(&p->r, in);
    enum errc rc = write_values_read_histogram(&p->rw->values, &p->r, p->err);

    pb_leave(&p->r, outer);
    if (rc != OK)
        give_up(p, rc);
}

/* The labels from first on. */
static struct labels labels_from(const struct remote_write2 *rw, size_t first)
{
    size_t n = rw->n_labels - first;

    return (struct labels){ n ? rw->labels + first : NULL, n }; /* NULL + 0 is undefined */
}

/* Its labels lie behind those of the series until it has been kept, as do their refs. */
static void add_exemplar(struct parse *p, size_t first_ref, double v, int64_t t_ms)
{
    struct remote_write2 *rw = p->rw;
    size_t first_label = rw->n_labels;

    if (!resolve(p, first_ref)) {
        rw->n_bad_exemplars++;
    } else {
        enum errc rc =
            write_values_add_exemplar(&rw->values, labels_from(rw, first_label), v, t_ms, p->err);

        if (rc != OK)
            give_up(p, rc);
    }
    rw->n_labels = first_label;
}

static void read_exemplar(struct parse *p, const struct pb_field *in)
{
    struct remote_write2 *rw = p->rw;
    size_t first_ref = rw->n_refs;
    const uint8_t *outer = pb_enter(&p->r, in);
    int64_t t_ms = 0;
    double v = 0;
    struct pb_field f;

    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_VARINT):
            add_ref(p, f.value);
            break;
        case PB_KEY(1, PB_BYTES):
            read_packed_refs(p, &f);
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
    if (!p->r.fault)
        add_exemplar(p, first_ref, v, t_ms);
    rw->n_refs = first_ref;
}

static void read_metadata(struct parse *p, const struct pb_field *in, struct metadata *m)
{
    const uint8_t *outer = pb_enter(&p->r, in);
    struct pb_field f;

    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_VARINT):
            m->type = f.value < METRIC_TYPE_COUNT ? f.value : METRIC_UNKNOWN;
            break;
        case PB_KEY(3, PB_VARINT):
            m->help = f.value < UINT32_MAX ? (uint32_t)f.value : UINT32_MAX;
            break;
        case PB_KEY(4, PB_VARINT):
            m->unit = f.value < UINT32_MAX ? (uint32_t)f.value : UINT32_MAX;
            break;
        default:
            if (pb_number(&f) != 2) /* never used by the message */
                pb_unknown(&p->r, &f, 4);
        }
    pb_leave(&p->r, outer);
}

static void read_series_fields(struct parse *p, struct metadata *m, int64_t *created_ms)
{
    struct pb_field f;

    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(1, PB_VARINT):
            add_ref(p, f.value);
            break;
        case PB_KEY(1, PB_BYTES):
            read_packed_refs(p, &f);
            break;
        case PB_KEY(2, PB_BYTES):
            read_sample(p, &f);
            break;
        case PB_KEY(3, PB_BYTES):
            read_histogram(p, &f);
            break;
        case PB_KEY(4, PB_BYTES):
            read_exemplar(p, &f);
            break;
        case PB_KEY(5, PB_BYTES):
            read_metadata(p, &f, m);
            break;
        case PB_KEY(6, PB_VARINT):
            *created_ms = (int64_t)f.value;
            break;
        default:
            pb_unknown(&p->r, &f, 6);
        }
}

/* ---- metadata ---- */

/* The family of a series: its name, of the series that a classic histogram or summary consists of
 * without what tells them apart. */
static struct str family_of(struct str name, uint64_t type)
{
    static const struct {
        struct str suffix;
        bool of_summary;
    } suffixes[] = {
        { { "_bucket", 7 }, false },
        { { "_count", 6 }, true },
        { { "_sum", 4 }, true },
    };
    bool histogram = type == METRIC_HISTOGRAM || type == METRIC_GAUGEHISTOGRAM;

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if ((histogram || (type == METRIC_SUMMARY && suffixes[i].of_summary))
            && name.len > suffixes[i].suffix.len && str_ends_with(name, suffixes[i].suffix))
            return (struct str){ name.ptr, name.len - suffixes[i].suffix.len };
    return name;
}

/* The number of the series' name; 0 when it has none. Its numbers have been resolved, and are in the
 * table but for 0. */
static uint32_t name_ref(const struct remote_write2 *rw)
{
    for (size_t i = 0; i + 1 < rw->n_refs; i += 2)
        if (rw->refs[i] && str_equal(rw->symbols[rw->refs[i]], METRIC_NAME))
            return rw->refs[i + 1];
    return 0;
}

/* Of a family whose series follow each other the first says it for all. */
static bool is_seen(struct remote_write2 *rw, uint32_t name, const struct metadata *m)
{
    struct remote_write2_seen *seen = &rw->seen[name % REMOTE_WRITE2_SEEN];
    struct remote_write2_seen now = {
        .name = name, .help = m->help, .unit = m->unit, .type = m->type
    };
    bool known = seen->name == now.name && seen->help == now.help && seen->unit == now.unit
                 && seen->type == now.type;

    *seen = now;
    return known;
}

/* Notes the metadata of a series whose labels have been resolved. Bad help loses no sample. */
static void add_metadata(struct parse *p, const struct metadata *m)
{
    struct remote_write2 *rw = p->rw;
    struct metric_metadata entry = { .type = (enum metric_type)m->type };
    uint32_t name;

    if ((m->type == METRIC_UNKNOWN && m->help == 0 && m->unit == 0) || !(name = name_ref(rw))
        || is_seen(rw, name, m))
        return;
    if (!symbol(rw, m->help, &entry.help) || !symbol(rw, m->unit, &entry.unit)
        || !utf8_valid(entry.help) || !utf8_valid(entry.unit) || !utf8_valid(rw->symbols[name])
        || rw->symbols[name].len == 0)
        return;
    if (rw->batch.n_metadata == rw->cap_metadata && !grow_metadata(p))
        return;
    entry.family = family_of(rw->symbols[name], m->type);
    rw->metadata[rw->batch.n_metadata++] = entry;
}

/* ---- series ---- */

/* Leaves out what was read of a series. */
static void leave_out(struct remote_write2 *rw, const struct write_series *s)
{
    size_t n = s->n_samples + s->n_histograms;

    rw->n_left_out += n ? n : 1;
    rw->batch.n_samples = s->first_sample;
    rw->values.n_histograms = s->first_histogram;
    rw->values.n_exemplars = s->first_exemplar;
}

static bool metadata_fits(struct remote_write2 *rw, const struct metadata *m)
{
    struct str text;

    if (symbol(rw, m->help, &text) && symbol(rw, m->unit, &text))
        return true;
    if (may_name(rw))
        buf_printf(&rw->text,
                   "metadata refs %u (help) and %u (unit) outside of symbols table (size %zu)\n",
                   m->help, m->unit, rw->n_symbols);
    return false;
}

static bool has_content(struct remote_write2 *rw, const struct write_series *s, size_t first_label)
{
    if (s->n_samples + s->n_histograms + s->n_exemplars > 0)
        return true;
    if (may_name(rw)) {
        buf_text(&rw->text, "TimeSeries must contain at least one sample or histogram for series ");
        labels_print_metric(&rw->text, labels_from(rw, first_label));
        buf_u8(&rw->text, '\n');
    }
    return false;
}

static void set_starts(struct remote_write2 *rw, const struct write_series *s, int64_t created_ms)
{
    struct write_histogram *h;

    if (created_ms == 0 || s->n_samples + s->n_histograms == 0)
        return;
    h = s->n_histograms ? rw->values.histograms + s->first_histogram : NULL;
    rw->has_starts |= s->n_samples > 0;
    for (size_t i = s->first_sample; i < s->first_sample + s->n_samples; i++)
        if (rw->start_ms[i] == 0)
            rw->start_ms[i] = created_ms;
    for (size_t i = 0; i < s->n_histograms; i++)
        if (h[i].start_ms == 0)
            h[i].start_ms = created_ms;
}

static void read_series(struct parse *p, const struct pb_field *in)
{
    struct remote_write2 *rw = p->rw;
    size_t n = rw->batch.n_series, first_label = rw->n_labels;
    size_t n_bad_exemplars = rw->n_bad_exemplars;
    struct write_series s = { .first_sample = rw->batch.n_samples,
                              .first_histogram = rw->values.n_histograms,
                              .first_exemplar = rw->values.n_exemplars };
    struct metadata m = { 0 };
    int64_t created_ms = 0;
    const uint8_t *outer;

    if (UNLIKELY(n == rw->cap_series) && !grow_series(p))
        return;
    rw->n_refs = 0;
    outer = pb_enter(&p->r, in);
    read_series_fields(p, &m, &created_ms);
    pb_leave(&p->r, outer);
    if (p->r.fault)
        return;
    s.n_samples = rw->batch.n_samples - s.first_sample;
    s.n_histograms = rw->values.n_histograms - s.first_histogram;
    s.n_exemplars = rw->values.n_exemplars - s.first_exemplar;
    /* one that had exemplars, all bad, is not told twice */
    if (!resolve(p, 0) || !metadata_fits(rw, &m)
        || (rw->n_bad_exemplars == n_bad_exemplars && !has_content(rw, &s, first_label))) {
        leave_out(rw, &s);
        rw->n_labels = first_label;
        return;
    }
    add_metadata(p, &m);
    set_starts(rw, &s, created_ms);
    s.n_labels = rw->n_labels - first_label;
    rw->series[n] = s;
    rw->batch.n_series = n + 1;
}

/* ---- the request ---- */

static void read_symbols(struct parse *p)
{
    struct pb_field f;

    while (pb_next(&p->r, &f))
        switch (f.key) {
        case PB_KEY(4, PB_BYTES):
            read_symbol(p, &f);
            break;
        case PB_KEY(5, PB_BYTES):
            break;
        default:
            if (pb_number(&f) > 3) /* reserved */
                pb_unknown(&p->r, &f, 5);
        }
}

static void read_all_series(struct parse *p)
{
    struct pb_field f;

    while (pb_next(&p->r, &f))
        if (f.key == PB_KEY(5, PB_BYTES))
            read_series(p, &f);
}

/* The arrays have stopped moving: lets the batch point into them. */
static void finish_batch(struct remote_write2 *rw)
{
    size_t at = 0;

    for (size_t i = 0; i < rw->batch.n_series; i++) {
        rw->series[i].labels = rw->n_labels ? rw->labels + at : NULL;
        at += rw->series[i].n_labels;
    }
    rw->batch.series = rw->series;
    rw->batch.samples = rw->samples;
    rw->batch.start_ms = rw->has_starts ? rw->start_ms : NULL;
    rw->batch.metadata = rw->metadata;
    rw->batch.histograms = rw->values.histograms;
    rw->batch.n_histograms = rw->values.n_histograms;
    rw->batch.exemplars = rw->values.exemplars;
    rw->batch.n_exemplars = rw->values.n_exemplars;
    if (rw->n_named > REMOTE_WRITE2_NAMED)
        buf_printf(&rw->text, "and %zu more\n", rw->n_named - REMOTE_WRITE2_NAMED);
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

static void forget(struct remote_write2 *rw)
{
    rw->batch = (struct write_batch){ 0 };
    rw->n_left_out = rw->n_bad_exemplars = 0;
    rw->n_symbols = rw->n_refs = rw->n_labels = rw->n_named = 0;
    rw->has_starts = false;
    memset(rw->seen, 0, sizeof rw->seen);
    buf_clear(&rw->text);
    write_values_forget(&rw->values);
}

enum errc remote_write2_parse(struct remote_write2 *rw, struct bytes message, struct err *err)
{
    struct parse p = { .r = pb_on(message), .rw = rw, .rc = OK, .err = err };

    forget(rw);
    if (message.len > REMOTE_WRITE2_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "remote write: a request of %zu bytes, at most %d are allowed", message.len,
                       REMOTE_WRITE2_MAX_BYTES);
    read_symbols(&p);
    if (!p.r.fault) {
        p.r = pb_on(message);
        read_all_series(&p);
    }
    if (p.rc == OK && p.r.fault)
        p.rc = report(&p, message);
    if (p.rc == OK)
        finish_batch(rw);
    else
        forget(rw);
    return p.rc;
}

enum errc remote_write2_read(struct remote_write2 *rw, struct bytes body, struct err *err)
{
    enum errc rc;

    forget(rw);
    rc = snappy_decode(body, REMOTE_WRITE2_MAX_BYTES, &rw->body, err);
    return rc ? rc : remote_write2_parse(rw, buf_as_bytes(&rw->body), err);
}

/* What is kept of each array for the next request. */
enum { KEEP_BYTES = 1 << 20 };

void remote_write2_recycle(struct remote_write2 *rw)
{
    forget(rw);
    buf_clear(&rw->body);
    vec_shrink(&rw->body.ptr, &rw->body.cap, 1, KEEP_BYTES);
    vec_shrink(&rw->symbols, &rw->cap_symbols, sizeof *rw->symbols, KEEP_BYTES);
    vec_shrink(&rw->refs, &rw->cap_refs, sizeof *rw->refs, KEEP_BYTES);
    vec_shrink(&rw->labels, &rw->cap_labels, sizeof *rw->labels, KEEP_BYTES);
    vec_shrink(&rw->series, &rw->cap_series, sizeof *rw->series, KEEP_BYTES);
    vec_shrink(&rw->samples, &rw->cap_samples, sizeof *rw->samples, KEEP_BYTES);
    vec_shrink(&rw->start_ms, &rw->cap_starts, sizeof *rw->start_ms, KEEP_BYTES);
    vec_shrink(&rw->metadata, &rw->cap_metadata, sizeof *rw->metadata, KEEP_BYTES);
}

void remote_write2_free(struct remote_write2 *rw)
{
    buf_free(&rw->body);
    buf_free(&rw->text);
    free(rw->symbols);
    free(rw->refs);
    free(rw->labels);
    free(rw->series);
    free(rw->samples);
    free(rw->start_ms);
    free(rw->metadata);
    write_values_free(&rw->values);
    *rw = (struct remote_write2){ 0 };
}
