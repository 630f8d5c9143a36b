#include "storage/codec_ints.h"

#include <math.h>

#include "storage/bitpack.h"
#include "storage/codec_bits.h"
#include "storage/kernels.h"

#include "base/banned.h"

enum form { PACKED, CONSTANT, DELTA, LINE, SCALED, SPARSE };
enum { MODE_PLAIN, MODE_ZIGZAG, MODE_BASE, MODE_EXCEPTIONS };
enum {
    WIDTH_MASK = 63, /* in a block's head; the highest number stands for all 64 bits */
    MAX_NESTING = 8,
    MIN_SPARSE = 16, /* values that are worth the transform's own bytes */
};

static int64_t add(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t sub(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t mul(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

static unsigned varint_bytes(int64_t v)
{
    unsigned bits = bit_length(zigzag(v));

    return bits ? (bits + 6) / 7 : 1;
}

/* ---- blocks: encoding ---- */

/* How many values need how many bits. */
struct lengths {
    uint32_t of[65];
};

/* Bits that n values of these lengths take at the best width, which goes to *width. An exception
 * counts its place and itself in whole bytes. */
static size_t packed_bits(const struct lengths *l, size_t n, unsigned *width)
{
    size_t above = 0, exceptions = 0, best = SIZE_MAX;

    for (unsigned w = 65; w-- > 0;) {
        size_t bits = n * w + exceptions + (above ? 8 : 0);

        above += l->of[w];
        exceptions += l->of[w] * (size_t)(8 + (w + 1 + 6) / 7 * 8);
        if (bits < best && w != WIDTH_MASK) {
            best = bits;
            *width = w;
        }
    }
    return best;
}

struct block_plan {
    unsigned mode, width;
    int64_t base;
    size_t bits;
};

static void consider(struct block_plan *best, const int64_t *v, size_t n, unsigned mode,
                     int64_t base)
{
    struct block_plan plan = { .mode = mode, .base = base };
    struct lengths l = { 0 };

    for (size_t i = 0; i < n; i++)
        l.of[bit_length(mode == MODE_ZIGZAG ? zigzag(v[i]) : (uint64_t)sub(v[i], base))]++;
    plan.bits = packed_bits(&l, n, &plan.width) + (mode == MODE_BASE ? 8 * varint_bytes(base) : 0);
    if (plan.bits < best->bits)
        *best = plan;
}

static struct block_plan plan_block(const int64_t *v, size_t n)
{
    struct block_plan best = { .bits = SIZE_MAX };
    int64_t min = INT64_MAX;

    for (size_t i = 0; i < n; i++)
        min = v[i] < min ? v[i] : min;
    if (min >= 0)
        consider(&best, v, n, MODE_PLAIN, 0);
    else
        consider(&best, v, n, MODE_ZIGZAG, 0);
    if (min < -1 || min > 0)
        consider(&best, v, n, MODE_BASE, min);
    if (min < 0)
        consider(&best, v, n, MODE_PLAIN, 0); /* some outliers below zero */
    return best;
}

static void write_block(struct buf *b, const int64_t *v, size_t n, const struct block_plan *plan)
{
    uint64_t low[BITPACK_BLOCK];
    uint8_t places[BITPACK_BLOCK];
    size_t exceptions = 0;
    uint8_t *out;

    for (size_t i = 0; i < n; i++) {
        low[i] = plan->mode == MODE_ZIGZAG ? zigzag(v[i]) : (uint64_t)sub(v[i], plan->base);
        if (plan->width < 64 && low[i] >> plan->width) {
            places[exceptions++] = (uint8_t)i;
            low[i] = 0;
        }
    }
    buf_u8(b, (uint8_t)((plan->width & 64 ? WIDTH_MASK : plan->width)
                        | (exceptions ? MODE_EXCEPTIONS : plan->mode) << 6));
    if (exceptions)
        buf_u8(b, (uint8_t)((exceptions - 1) << 2 | plan->mode));
    if (plan->mode == MODE_BASE)
        buf_varint(b, plan->base);
    for (size_t i = 0; i < exceptions; i++) {
        buf_u8(b, places[i]);
        buf_varint(b, sub(v[places[i]], plan->base));
    }
    out = buf_reserve(b, BITPACK_MAX_BYTES + 8);
    if (!out)
        return;
    bitpack_put(out, low, n, plan->width);
    b->len += bitpack_bytes(n, plan->width);
}

static void write_packed(struct buf *b, const int64_t *v, size_t n)
{
    buf_u8(b, PACKED);
    for (size_t from = 0; from < n; from += BITPACK_BLOCK) {
        size_t left = n - from, size = left < BITPACK_BLOCK ? left : BITPACK_BLOCK;
        struct block_plan plan = plan_block(v + from, size);

        write_block(b, v + from, size, &plan);
    }
}

/* ---- choosing transforms ---- */

/* What is known of a sequence that might be packed or made sparse. */
struct shape {
    struct lengths lengths;
    size_t n, zeros;
};

static void shape_add(struct shape *s, int64_t v)
{
    s->lengths.of[bit_length(zigzag(v))]++;
}

/* Bits of random marks at count of n places. */
static size_t mark_bits(size_t n, size_t count)
{
    double p = (double)count / (double)n;

    if (count == 0 || count == n)
        return 16;
    return 24 + (size_t)((double)n * (-p * log2(p) - (1 - p) * log2(1 - p)));
}

/* Bits of a sequence of which skipped values are left out by marks, if that is less. */
static size_t shape_bits(const struct shape *s, bool *sparse)
{
    size_t zeros = s->lengths.of[0], others = s->n - zeros, packed, marked;
    struct lengths rest = s->lengths;
    unsigned width;

    packed = packed_bits(&s->lengths, s->n, &width) + s->n / 8;
    rest.of[0] = 0;
    marked = mark_bits(s->n, others) + packed_bits(&rest, others, &width) + others / 8;
    *sparse = zeros >= MIN_SPARSE && marked < packed;
    return *sparse ? marked : packed;
}

struct choice {
    enum form form[2];   /* the first that is PACKED ends the list */
    int64_t first, step; /* of a line */
    size_t bits;
};

static void prefer(struct choice *best, const struct shape *s, struct choice choice)
{
    bool sparse;

    choice.bits = shape_bits(s, &sparse);
    if (choice.bits < best->bits)
        *best = choice;
}

static int64_t mean_step(const int64_t *v, size_t n)
{
    int64_t rise = sub(v[n - 1], v[0]), steps = (int64_t)n - 1;

    return rise >= 0 ? rise / steps + (rise % steps > steps / 2)
                     : rise / steps - (-(rise % steps) > steps / 2);
}

/* What most values are above a line of this step through zero (Boyer and Moore, 1981); some value
 * when there is no such majority. With step 0 the most common value. */
static int64_t majority(const int64_t *v, size_t n, int64_t step)
{
    int64_t candidate = 0, at = 0;
    size_t lead = 0;

    for (size_t i = 0; i < n; i++, at = add(at, step)) {
        int64_t above = sub(v[i], at);

        if (lead == 0)
            candidate = above;
        lead = above == candidate ? lead + 1 : lead - 1;
    }
    return candidate;
}

static void consider_plain(struct choice *best, const int64_t *v, size_t n)
{
    struct shape s = { .n = n };
    int64_t min = v[0];

    for (size_t i = 1; i < n; i++)
        min = v[i] < min ? v[i] : min;
    for (size_t i = 0; i < n; i++)
        s.lengths.of[bit_length((uint64_t)sub(v[i], min))]++;
    prefer(best, &s, (struct choice){ .form = { PACKED } });
}

static void consider_line(struct choice *best, const int64_t *v, size_t n)
{
    struct shape s = { .n = n };
    int64_t step = mean_step(v, n), first = majority(v, n, step), at = first;

    for (size_t i = 0; i < n; i++, at = add(at, step))
        shape_add(&s, sub(v[i], at));
    prefer(best, &s, (struct choice){ .form = { LINE }, .first = first, .step = step });
}

static void consider_deltas(struct choice *best, const int64_t *v, size_t n)
{
    struct shape once = { .n = n - 1 }, twice = { .n = n - 1 };
    int64_t last = 0;

    for (size_t i = 1; i < n; i++) {
        int64_t d = sub(v[i], v[i - 1]);

        shape_add(&once, d);
        shape_add(&twice, sub(d, last));
        last = d;
    }
    prefer(best, &once, (struct choice){ .form = { DELTA } });
    prefer(best, &twice, (struct choice){ .form = { DELTA, DELTA } });
}

static struct choice choose(const int64_t *v, size_t n)
{
    struct choice best = { .bits = SIZE_MAX };

    consider_plain(&best, v, n);
    if (n >= 3) {
        consider_line(&best, v, n);
        consider_deltas(&best, v, n);
    }
    return best;
}

size_t ints_estimate_bits(const int64_t *v, size_t n)
{
    return choose(v, n).bits;
}

/* ---- transforms: encoding, each in place ---- */

static size_t write_delta(struct buf *b, int64_t *v, size_t n)
{
    buf_u8(b, DELTA);
    buf_varint(b, v[0]);
    for (size_t i = 0; i + 1 < n; i++)
        v[i] = sub(v[i + 1], v[i]);
    return n - 1;
}

static void write_line(struct buf *b, int64_t *v, size_t n, int64_t first, int64_t step)
{
    buf_u8(b, LINE);
    buf_varint(b, first);
    buf_varint(b, step);
    for (size_t i = 0; i < n; i++, first = add(first, step))
        v[i] = sub(v[i], first);
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* The largest number that divides all differences to the first value; 0 when there are none. */
static uint64_t find_scale(const int64_t *v, size_t n)
{
    uint64_t scale = 0;

    for (size_t i = 1; i < n && scale != 1; i++) {
        int64_t d = sub(v[i], v[0]);
        uint64_t size = d < 0 ? -(uint64_t)d : (uint64_t)d;

        if (scale == 0 || size % scale)
            scale = gcd(scale, size);
    }
    return scale;
}

static void write_scaled(struct buf *b, int64_t *v, size_t n, uint64_t scale)
{
    int64_t base = v[0];

    buf_u8(b, SCALED);
    buf_varint(b, base);
    buf_uvarint(b, scale);
    for (size_t i = 0; i < n; i++)
        v[i] = scale > INT64_MAX ? (sub(v[i], base) ? -1 : 0) : sub(v[i], base) / (int64_t)scale;
}

static bool is_worth_sparse(const int64_t *v, size_t n, int64_t common)
{
    struct shape s = { .n = n };
    bool sparse;

    for (size_t i = 0; i < n; i++)
        shape_add(&s, sub(v[i], common));
    (void)shape_bits(&s, &sparse);
    return sparse;
}

/* Leaves the others at the front of v; returns how many. */
static size_t write_sparse(struct buf *b, int64_t *v, size_t n, int64_t common)
{
    uint64_t marks[INTS_MAX / 64] = { 0 };
    size_t others = 0;

    for (size_t i = 0; i < n; i++) {
        bool other = v[i] != common;

        marks[i / 64] |= (uint64_t)other << i % 64;
        v[others] = v[i];
        others += other;
    }
    buf_u8(b, SPARSE);
    buf_varint(b, common);
    bits_encode(b, marks, n);
    return others;
}

/* What is left when nothing more is to be gained by differences. */
static void write_rest(struct buf *b, int64_t *v, size_t n)
{
    for (unsigned depth = 0; depth < 3 && n >= MIN_SPARSE; depth++) {
        int64_t common = majority(v, n, 0);

        if (!is_worth_sparse(v, n, common))
            break;
        n = write_sparse(b, v, n, common);
    }
    if (n)
        write_packed(b, v, n);
}

void ints_encode(struct buf *b, int64_t *v, size_t n)
{
    uint64_t scale = find_scale(v, n);
    struct choice choice;

    ASSERT(n >= 1 && n <= INTS_MAX);
    if (scale == 0) {
        buf_u8(b, CONSTANT);
        buf_varint(b, v[0]);
        return;
    }
    if (scale > 1)
        write_scaled(b, v, n, scale);
    choice = choose(v, n);
    for (size_t i = 0; i < ARRAY_LEN(choice.form); i++) {
        if (choice.form[i] == LINE)
            write_line(b, v, n, choice.first, choice.step);
        else if (choice.form[i] == DELTA)
            n = write_delta(b, v, n);
    }
    write_rest(b, v, n);
}

/* ---- decoding ---- */

static bool read_exceptions(struct reader *r, size_t count, size_t n, uint8_t places[],
                            int64_t values[])
{
    for (size_t i = 0; i < count; i++) {
        places[i] = read_u8(r);
        values[i] = read_varint(r);
        if (places[i] >= n)
            return false;
    }
    return true;
}

static bool read_block(struct reader *r, int64_t *out, size_t n)
{
    uint8_t head = read_u8(r), places[BITPACK_BLOCK];
    unsigned mode = head >> 6, width = head & WIDTH_MASK;
    int64_t values[BITPACK_BLOCK], base = 0;
    size_t exceptions = 0;
    struct bytes bits;

    if (mode == MODE_EXCEPTIONS) {
        uint8_t more = read_u8(r);

        mode = more & 3;
        exceptions = (more >> 2) + 1u;
    }
    if (mode == MODE_BASE)
        base = read_varint(r);
    if (mode == MODE_EXCEPTIONS || !read_exceptions(r, exceptions, n, places, values))
        return false;
    width = width == WIDTH_MASK ? 64 : width;
    bits = read_bytes(r, bitpack_bytes(n, width));
    if (r->overrun)
        return false;
    bitpack_get(bits.ptr, r->end, n, width, (uint64_t *)out);
    if (mode == MODE_ZIGZAG)
        for (size_t i = 0; i < n; i++)
            out[i] = unzigzag((uint64_t)out[i]);
    for (size_t i = 0; i < exceptions; i++)
        out[places[i]] = values[i];
    if (base)
        for (size_t i = 0; i < n; i++)
            out[i] = add(out[i], base);
    return true;
}

static bool read_packed(struct reader *r, int64_t *out, size_t n)
{
    for (size_t from = 0; from < n; from += BITPACK_BLOCK)
        if (!read_block(r, out + from, n - from < BITPACK_BLOCK ? n - from : BITPACK_BLOCK))
            return false;
    return true;
}

static bool read_column(struct reader *r, int64_t *out, size_t n, unsigned nesting);

static bool read_constant(struct reader *r, int64_t *out, size_t n)
{
    int64_t v = read_varint(r);

    for (size_t i = 0; i < n; i++)
        out[i] = v;
    return !r->overrun;
}

static bool read_delta(struct reader *r, int64_t *out, size_t n, unsigned nesting)
{
    int64_t at = read_varint(r);

    if (!read_column(r, out + 1, n - 1, nesting))
        return false;
    out[0] = at;
    for (size_t i = 1; i < n; i++)
        out[i] = at = add(at, out[i]);
    return true;
}

static bool read_line(struct reader *r, int64_t *out, size_t n, unsigned nesting)
{
    int64_t at = read_varint(r), step = read_varint(r);

    if (!read_column(r, out, n, nesting))
        return false;
    for (size_t i = 0; i < n; i++, at = add(at, step))
        out[i] = add(out[i], at);
    return true;
}

static bool read_scaled(struct reader *r, int64_t *out, size_t n, unsigned nesting)
{
    int64_t base = read_varint(r), scale = (int64_t)read_uvarint(r);

    if (!read_column(r, out, n, nesting))
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = add(base, mul(out[i], scale));
    return true;
}

/* The others are read to the end of out and spread from there: what is written never overtakes what
 * is read. */
static bool read_sparse(struct reader *r, int64_t *out, size_t n, unsigned nesting)
{
    uint64_t marks[INTS_MAX / 64];
    int64_t common = read_varint(r);
    size_t others;

    if (!bits_decode(r, n, marks, &others) || !read_column(r, out + n - others, others, nesting))
        return false;
    kernel_place((uint64_t *)out, n, marks, others, (uint64_t)common);
    return true;
}

static bool read_column(struct reader *r, int64_t *out, size_t n, unsigned nesting)
{
    if (n == 0)
        return true;
    if (nesting++ == MAX_NESTING)
        return false;
    switch ((enum form)read_u8(r)) {
    case PACKED:
        return read_packed(r, out, n);
    case CONSTANT:
        return read_constant(r, out, n);
    case DELTA:
        return read_delta(r, out, n, nesting);
    case LINE:
        return read_line(r, out, n, nesting);
    case SCALED:
        return read_scaled(r, out, n, nesting);
    case SPARSE:
        return read_sparse(r, out, n, nesting);
    }
    return false;
}

bool ints_decode(struct reader *r, int64_t *out, size_t n)
{
    ASSERT(n <= INTS_MAX);
    return read_column(r, out, n, 0) && !r->overrun;
}
