/* head_run.c
 *
 *   chunk       fragment ─► fragment ─► ... (at most 5), the first with a header
 *
 *   header      u32 next fragment        u32 previous chunk, 0 without
 *               i64 first time           u64 bits of the first value
 *               i32 step                 u16 number of samples   u16 payload bytes (once it is full)
 *   fragment    u32 next fragment, then payload
 *
 *   payload     one of these for the samples after the first:
 *     0rrrrrrr    r + 1 samples, each on the grid, with the value of the one before
 *     1ccccccc    c = 25 * time code + value code, then the bytes of the time, then those of the value
 *
 *   Times are expected on a grid: the time of the grid before + step. Scrapes that are some
 *   milliseconds late cost a byte and leave the grid where it is.
 *
 *     time code   0  on the grid
 *                 1  i8   behind the grid
 *                 2  i16  behind the grid, which moves there
 *                 3  i32  after the sample before, which becomes the step; the grid moves there
 *                 4  i64  absolute; the grid moves there
 *     value code  0       the same bits
 *                 1..7    integers both: difference, zigzag, in so many bytes
 *                 8..15   XOR, its low 1..8 bytes; the others are zero
 *                 16..22  XOR, its high 1..7 bytes; the others are zero
 *
 * Everything is little endian. Byte-wise codes are some tenths larger than bit-wise ones (Gorilla:
 * Pelkonen et al., VLDB 2015) on the metrics of services, where most samples repeat a value, and
 * cheaper to read and write.
 */
#include "storage/head_run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/banned.h"

enum {
    AT_NEXT = 0,
    AT_PREVIOUS = 4,
    AT_FIRST_T = 8,
    AT_FIRST_V = 16,
    AT_STEP = 24,
    AT_N = 28,
    AT_BYTES = 30,
};
_Static_assert(AT_BYTES + 2 == RUN_HEADER_BYTES, "the payload follows");

enum {
    REPEAT_CODES = 0x80, /* controls below it are repeats */
    TIME_GRID = 0,
    TIME_OFF,
    TIME_MOVE,
    TIME_STEP,
    TIME_ABSOLUTE,
    TIME_CODES,
    VALUE_SAME = 0,
    VALUE_INT = 0, /* + bytes */
    VALUE_LOW = 7,
    VALUE_HIGH = 15,
    VALUE_CODES = 25, /* the last two are free */
    MAX_SAMPLE_BYTES = 17,
};
_Static_assert(TIME_CODES *VALUE_CODES <= 256 - REPEAT_CODES, "a control is a byte");

enum {              /* run.flags */
       REPEATS = 1, /* the last byte is a repeat */
       MOVED = 2    /* the last time was a TIME_MOVE */
};

/* ---- the memory ---- */

enum {
    REGION_BITS = 14, /* fragments of a region: 1 MiB, mapped by itself so that it goes back */
    REGION_FRAGMENTS = 1 << REGION_BITS,
    REGION_BYTES = REGION_FRAGMENTS * RUN_FRAGMENT_BYTES,
    MAX_REGIONS = 1 << 17,
};

struct run_pool {
    uint32_t n; /* fragments handed out, the unused number 0 included */
    uint32_t n_regions;
    uint8_t *regions[MAX_REGIONS]; /* address space until it is used; a region never moves */
};

struct run_pool *run_pool_new(void)
{
    void *p = mmap(NULL, sizeof(struct run_pool), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void run_pool_clear(struct run_pool *p)
{
    for (uint32_t i = 0; i < p->n_regions; i++)
        munmap(p->regions[i], REGION_BYTES);
    p->n = p->n_regions = 0;
}

void run_pool_free(struct run_pool *p)
{
    if (!p)
        return;
    run_pool_clear(p);
    munmap(p, sizeof *p);
}

uint64_t run_pool_bytes(const struct run_pool *p)
{
    return (p->n ? (uint64_t)p->n - 1 : 0) * RUN_FRAGMENT_BYTES;
}

static uint8_t *at(const struct run_pool *p, uint32_t fragment)
{
    return p->regions[fragment >> REGION_BITS]
           + (size_t)(fragment & (REGION_FRAGMENTS - 1)) * RUN_FRAGMENT_BYTES;
}

/* A new fragment, all zero; 0 when out of memory. */
static uint32_t fragment_new(struct run_pool *p)
{
    if (p->n >> REGION_BITS == p->n_regions) {
        void *region;

        if (p->n_regions == MAX_REGIONS)
            return 0;
        region =
            mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (region == MAP_FAILED)
            return 0;
        p->regions[p->n_regions++] = region;
        if (p->n == 0)
            p->n = 1;
    }
    return p->n++;
}

/* ---- writing ---- */

/* Bytes of a sample in the making. */
struct code {
    uint8_t bytes[MAX_SAMPLE_BYTES + 8];
    size_t n;
};

static void put(struct code *c, uint64_t v, size_t n)
{
    store_u64le(c->bytes + c->n, v);
    c->n += n;
}

/* How a time follows those before. */
struct time_step {
    unsigned code;
    int64_t payload;
    int64_t off_ms;
    int32_t step_ms;
};

static const uint8_t time_bytes[TIME_CODES] = { 0, 1, 2, 4, 8 };

static int64_t minus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* The step is learnt anew when the last three samples were equally far apart, so that a first step
 * that was read off a late scrape is forgotten, or at the second large jump. */
static struct time_step step_to(const struct run *r, int64_t t_ms)
{
    int64_t off = minus(t_ms, plus(minus(r->newest_t_ms, r->off_ms), r->step_ms));
    int64_t step = minus(t_ms, r->newest_t_ms);
    bool steady = off - r->off_ms == r->off_ms - r->last_off_ms;
    bool near = off == (int8_t)off;

    if (off == 0)
        return (struct time_step){ TIME_GRID, 0, 0, r->step_ms };
    if (near && r->step_ms && !steady)
        return (struct time_step){ TIME_OFF, off, off, r->step_ms };
    if (off == (int16_t)off && !near && r->step_ms && !(r->flags & MOVED))
        return (struct time_step){ TIME_MOVE, off, 0, r->step_ms };
    if (step == (int32_t)step)
        return (struct time_step){ TIME_STEP, step, 0, (int32_t)step };
    return (struct time_step){ TIME_ABSOLUTE, t_ms, 0, r->step_ms };
}

static unsigned bytes_of(uint64_t v)
{
    return v ? 8 - (unsigned)__builtin_clzll(v) / 8 : 0;
}

/* How a value follows the one before: its code, and payload of *n bytes. */
static unsigned value_code(uint64_t last, uint64_t bits, uint64_t *payload, size_t *n)
{
    uint64_t x = last ^ bits;
    unsigned low = bytes_of(x), high;
    int64_t from, to;

    *payload = x;
    *n = low;
    if (x == 0)
        return VALUE_SAME;
    high = 8 - (unsigned)__builtin_ctzll(x) / 8;
    if (is_integer(f64_from_bits(last), &from) && is_integer(f64_from_bits(bits), &to)) {
        uint64_t difference = zigzag(to - from);
        unsigned n_int = bytes_of(difference);

        if (n_int <= low && n_int <= high) {
            *payload = difference;
            *n = n_int;
            return VALUE_INT + n_int;
        }
    }
    if (high < low) {
        *payload = x >> (8 * (8 - high));
        *n = high;
        return VALUE_HIGH + high;
    }
    return VALUE_LOW + low;
}

static void encode(const struct run *r, struct sample s, const struct time_step *time,
                   struct code *c)
{
    uint64_t payload;
    size_t n;
    unsigned value = value_code(r->last_bits, f64_bits(s.v), &payload, &n);

    c->n = 0;
    if (time->code == TIME_GRID && value == VALUE_SAME) {
        put(c, 0, 1);
        return;
    }
    put(c, REPEAT_CODES + time->code * VALUE_CODES + value, 1);
    put(c, (uint64_t)time->payload, time_bytes[time->code]);
    put(c, payload, n);
}

static void close_chunk(const struct run_pool *p, struct run_end end)
{
    uint8_t *header = at(p, end.chunk);

    memcpy(header + AT_N, &end.n, sizeof end.n);
    memcpy(header + AT_BYTES, &end.bytes, sizeof end.bytes);
}

static bool begin_chunk(struct run_pool *p, struct run *r, struct sample s)
{
    uint32_t chunk = fragment_new(p);
    uint8_t *header;

    if (!chunk)
        return false;
    if (!run_is_empty(r->end))
        close_chunk(p, r->end);
    header = at(p, chunk);
    store_u32le(header + AT_PREVIOUS, r->end.chunk);
    store_u64le(header + AT_FIRST_T, (uint64_t)s.t_ms);
    store_u64le(header + AT_FIRST_V, f64_bits(s.v));
    store_u32le(header + AT_STEP, (uint32_t)r->step_ms);
    r->end = (struct run_end){ chunk, 1, 0 };
    r->fragment = chunk;
    r->used = RUN_HEADER_BYTES;
    r->flags = 0;
    r->off_ms = r->last_off_ms = 0;
    return true;
}

/* Room for n more bytes of this chunk, in a further fragment if need be. */
static bool write_bytes(struct run_pool *p, struct run *r, const uint8_t *bytes, size_t n)
{
    uint8_t *fragment = at(p, r->fragment);
    size_t here = RUN_FRAGMENT_BYTES - r->used;

    if (n <= here) {
        memcpy(fragment + r->used, bytes, n);
        r->used = (uint8_t)(r->used + n);
    } else {
        uint32_t next = fragment_new(p);

        if (!next)
            return false;
        memcpy(fragment + r->used, bytes, here);
        store_u32le(fragment + AT_NEXT, next);
        memcpy(at(p, next) + RUN_LINK_BYTES, bytes + here, n - here);
        r->fragment = next;
        r->used = (uint8_t)(RUN_LINK_BYTES + n - here);
    }
    r->end.bytes = (uint16_t)(r->end.bytes + n);
    return true;
}

/* One more of the same, on the grid: often the last byte only counts up. */
static bool lengthen_repeat(const struct run_pool *p, const struct run *r)
{
    uint8_t *last = at(p, r->fragment) + r->used - 1;

    if (!(r->flags & REPEATS) || *last == REPEAT_CODES - 1)
        return false;
    ++*last;
    return true;
}

static bool add_to_chunk(struct run_pool *p, struct run *r, struct sample s)
{
    struct time_step time = step_to(r, s.t_ms);
    bool repeat = time.code == TIME_GRID && f64_bits(s.v) == r->last_bits;
    struct code code;

    if (!repeat || !lengthen_repeat(p, r)) {
        encode(r, s, &time, &code);
        if (r->end.bytes + code.n > RUN_MAX_BYTES)
            return begin_chunk(p, r, s);
        if (!write_bytes(p, r, code.bytes, code.n))
            return false;
    }
    r->end.n++;
    r->flags = (uint8_t)((repeat ? REPEATS : 0) | (time.code == TIME_MOVE ? MOVED : 0));
    r->last_off_ms = time.code <= TIME_OFF ? r->off_ms : 0;
    r->off_ms = (int8_t)time.off_ms;
    r->step_ms = time.step_ms;
    return true;
}

bool run_add(struct run_pool *p, struct run *r, struct sample s)
{
    bool ok;

    if (run_is_empty(r->end) || r->end.n == RUN_MAX_SAMPLES) {
        ok = begin_chunk(p, r, s);
    } else {
        DEBUG_ASSERT(s.t_ms > r->newest_t_ms);
        ok = add_to_chunk(p, r, s);
    }
    if (ok) {
        r->newest_t_ms = s.t_ms;
        r->last_bits = f64_bits(s.v);
    }
    return ok;
}

struct run_end run_cut(struct run *r)
{
    struct run_end end = r->end;

    r->end = (struct run_end){ 0 };
    return end;
}

/* ---- reading ---- */

static struct run_end end_of_chunk(const struct run_pool *p, uint32_t chunk)
{
    struct run_end end = { .chunk = chunk };
    const uint8_t *header = at(p, chunk);

    memcpy(&end.n, header + AT_N, sizeof end.n);
    memcpy(&end.bytes, header + AT_BYTES, sizeof end.bytes);
    return end;
}

static int64_t first_t_ms(const struct run_pool *p, uint32_t chunk)
{
    return (int64_t)load_u64le(at(p, chunk) + AT_FIRST_T);
}

static uint32_t previous(const struct run_pool *p, uint32_t chunk)
{
    return load_u32le(at(p, chunk) + AT_PREVIOUS);
}

void run_tail_copy(const struct run_pool *p, struct run_end end, struct run_tail *tail)
{
    const uint8_t *fragment = at(p, end.chunk);
    size_t from = RUN_HEADER_BYTES, n = 0;

    tail->end = end;
    tail->first_t_ms = (int64_t)load_u64le(fragment + AT_FIRST_T);
    tail->first_bits = load_u64le(fragment + AT_FIRST_V);
    tail->step_ms = (int32_t)load_u32le(fragment + AT_STEP);
    tail->previous = load_u32le(fragment + AT_PREVIOUS);
    while (n < end.bytes) {
        memcpy(tail->bytes + n, fragment + from, RUN_FRAGMENT_BYTES - from);
        n += RUN_FRAGMENT_BYTES - from;
        if (n < end.bytes)
            fragment = at(p, load_u32le(fragment + AT_NEXT));
        from = RUN_LINK_BYTES;
    }
}

/* A time code's or value code's payload: mask and sign bit of what is loaded. */
struct field {
    uint8_t n;
    uint64_t mask, sign;
};

#define FIELD(n)                                                                                   \
    {                                                                                              \
        (n), (n) == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * ((n) % 8)) - 1,                           \
            (n) ? (uint64_t)1 << (8 * (n)-1) : 0                                                   \
    }

static const struct field fields[9] = {
    { 0, 0, 0 }, FIELD(1), FIELD(2), FIELD(3), FIELD(4), FIELD(5), FIELD(6), FIELD(7), FIELD(8),
};

/* Where a chunk's decoding stands. */
struct decoder {
    const uint8_t *p;
    int64_t t_ms, grid_ms, step_ms;
    uint64_t bits;
};

static uint64_t take(struct decoder *d, size_t n)
{
    uint64_t v = load_u64le(d->p) & fields[n].mask;

    d->p += n;
    return v;
}

static int64_t take_signed(struct decoder *d, size_t n)
{
    uint64_t v = take(d, n);

    return (int64_t)((v ^ fields[n].sign) - fields[n].sign);
}

static void take_time(struct decoder *d, unsigned code)
{
    int64_t payload = take_signed(d, time_bytes[code]);

    d->grid_ms = plus(d->grid_ms, d->step_ms);
    if (LIKELY(code <= TIME_OFF)) {
        d->t_ms = plus(d->grid_ms, payload);
        return;
    }
    if (code == TIME_MOVE)
        d->t_ms = plus(d->grid_ms, payload);
    else if (code == TIME_STEP)
        d->t_ms = plus(d->t_ms, d->step_ms = payload);
    else
        d->t_ms = payload;
    d->grid_ms = d->t_ms;
}

static void take_value(struct decoder *d, unsigned code)
{
    if (code == VALUE_SAME)
        return;
    if (code <= VALUE_LOW)
        d->bits = f64_bits(
            (double)((int64_t)f64_from_bits(d->bits) + unzigzag(take(d, code - VALUE_INT))));
    else if (code <= VALUE_HIGH)
        d->bits ^= take(d, code - VALUE_LOW);
    else
        d->bits ^= take(d, code - VALUE_HIGH) << (8 * (8 - (code - VALUE_HIGH)));
}

/* Decodes the chunk to t_ms[] and v[], room for tail->end.n each. How many of its first samples, all
 * older than min_t_ms, were passed over: those are not written. */
static size_t decode(const struct run_tail *tail, int64_t min_t_ms, int64_t *t_ms, double *v)
{
    struct decoder d = { .p = tail->bytes,
                         .t_ms = tail->first_t_ms,
                         .grid_ms = tail->first_t_ms,
                         .step_ms = tail->step_ms,
                         .bits = tail->first_bits };
    size_t n = tail->end.n, i = 1, passed = 0;

    t_ms[0] = d.t_ms;
    v[0] = f64_from_bits(d.bits);
    while (i < n) {
        unsigned control = *d.p++;

        if (control < REPEAT_CODES) {
            double same = f64_from_bits(d.bits);
            int64_t grid_ms = plus(d.grid_ms, (control + 1) * (int64_t)d.step_ms);

            if (grid_ms < min_t_ms) {
                d.t_ms = d.grid_ms = grid_ms;
                passed = i += control + 1;
                continue;
            }
            for (size_t end = i + control + 1; i < end; i++) {
                d.grid_ms = plus(d.grid_ms, d.step_ms);
                t_ms[i] = d.grid_ms;
                v[i] = same;
            }
            d.t_ms = d.grid_ms;
        } else {
            take_time(&d, (control - REPEAT_CODES) / VALUE_CODES);
            take_value(&d, (control - REPEAT_CODES) % VALUE_CODES);
            t_ms[i] = d.t_ms;
            v[i++] = f64_from_bits(d.bits);
        }
    }
    DEBUG_ASSERT(i == n && d.p == tail->bytes + tail->end.bytes);
    return passed;
}

/* Samples of the chunk and of those before it that may have some at or after min_t_ms. */
static size_t count(const struct run_pool *p, const struct run_tail *chunk, int64_t min_t_ms)
{
    size_t n = chunk->end.n;
    int64_t first = chunk->first_t_ms;

    for (uint32_t c = chunk->previous; c && first > min_t_ms; c = previous(p, c)) {
        n += end_of_chunk(p, c).n;
        first = first_t_ms(p, c);
    }
    return n;
}

static size_t lower_bound(const int64_t *t_ms, size_t n, int64_t from_ms)
{
    size_t lo = 0;

    while (n > 0) {
        size_t half = n / 2;

        if (t_ms[lo + half] < from_ms) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

/* Keeps of the n samples behind out's end those in the range, which has none of the first passed. */
static void keep_range(struct column *out, size_t n, size_t passed, int64_t min_t_ms,
                       int64_t max_t_ms)
{
    int64_t *t_ms = out->t_ms + out->n;
    double *v = out->v + out->n;
    size_t first = passed + lower_bound(t_ms + passed, n - passed, min_t_ms), end = n;

    if (max_t_ms < INT64_MAX)
        end = first + lower_bound(t_ms + first, n - first, max_t_ms + 1);
    if (first > 0) {
        memmove(t_ms, t_ms + first, (end - first) * sizeof *t_ms);
        memmove(v, v + first, (end - first) * sizeof *v);
    }
    column_filled(out, end - first);
}

/* The last chunk that begins no later than max_t_ms; NULL when none does. */
static const struct run_tail *seek(const struct run_pool *p, const struct run_tail *tail,
                                   int64_t max_t_ms, struct run_tail *copy)
{
    uint32_t chunk = tail->previous;

    if (tail->first_t_ms <= max_t_ms)
        return tail;
    while (chunk && first_t_ms(p, chunk) > max_t_ms)
        chunk = previous(p, chunk);
    if (!chunk)
        return NULL;
    run_tail_copy(p, end_of_chunk(p, chunk), copy);
    return copy;
}

/* Chunks know the one before only, so they are decoded from the last to the first. */
bool run_read(const struct run_pool *p, const struct run_tail *tail, int64_t min_t_ms,
              int64_t max_t_ms, struct column *out)
{
    struct run_tail copy;
    const struct run_tail *chunk = seek(p, tail, max_t_ms, &copy);
    size_t n, from, passed; /* only the oldest chunk can pass some over: it is the last decoded */

    if (!chunk || max_t_ms < min_t_ms)
        return true;
    n = count(p, chunk, min_t_ms);
    if (!column_reserve(out, out->n + n))
        return false;
    from = n - chunk->end.n;
    passed = decode(chunk, min_t_ms, out->t_ms + out->n + from, out->v + out->n + from);
    while (from > 0) {
        run_tail_copy(p, end_of_chunk(p, chunk->previous), &copy);
        chunk = &copy;
        from -= chunk->end.n;
        passed = decode(chunk, min_t_ms, out->t_ms + out->n + from, out->v + out->n + from);
    }
    keep_range(out, n, passed, min_t_ms, max_t_ms);
    return true;
}

bool run_find(const struct run_pool *p, struct run_end end, int64_t t_ms, uint64_t *bits)
{
    int64_t times[RUN_MAX_SAMPLES];
    double values[RUN_MAX_SAMPLES];
    struct run_tail chunk;
    size_t i;

    if (run_is_empty(end))
        return false;
    while (first_t_ms(p, end.chunk) > t_ms) {
        uint32_t before = previous(p, end.chunk);

        if (!before)
            return false;
        end = end_of_chunk(p, before);
    }
    run_tail_copy(p, end, &chunk);
    (void)decode(&chunk, INT64_MIN, times, values);
    i = lower_bound(times, end.n, t_ms);
    if (i == end.n || times[i] != t_ms)
        return false;
    *bits = f64_bits(values[i]);
    return true;
}

bool run_begins_by(const struct run_pool *p, struct run_end end, int64_t t_ms)
{
    uint32_t chunk = end.chunk;

    while (chunk && first_t_ms(p, chunk) > t_ms)
        chunk = previous(p, chunk);
    return chunk;
}
