#include "storage/codec_float.h"

#include <math.h>

#include "storage/bitpack.h"
#include "storage/codec_bits.h"
#include "storage/kernels.h"

#include "base/banned.h"

enum { FORM_PLAIN, FORM_BITS, FORM_DECIMAL, FORM_RESIDUAL, FORM_MASK = 15 };
enum { FLAG_MARKS = 16, FLAG_PATCHES = 32 };
enum { MAX_EXPONENT = 18, SAMPLES = 32 };

static const double powers[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18 };
_Static_assert(ARRAY_LEN(powers) == MAX_EXPONENT + 1, "a power for each exponent");

#define MAX_MANTISSA  0x1p53 /* up to here every integer is a double */
#define EXPONENT_MASK 0x7ff0000000000000u
#define SIGN          0x8000000000000000u

/* The order of these integers is that of the numbers. Its own inverse. */
static int64_t ordered(uint64_t bits)
{
    return (int64_t)(bits ^ ((uint64_t)((int64_t)bits >> 63) >> 1));
}

static double from_ordered(int64_t v)
{
    return f64_from_bits((uint64_t)ordered((uint64_t)v));
}

/* What only a patch can hold. */
static bool is_special(uint64_t bits)
{
    return (bits & EXPONENT_MASK) == EXPONENT_MASK || bits == SIGN;
}

/* The decimal with e digits after the point that is next to v; false when it has too many digits. */
static bool to_decimal(double v, unsigned e, int64_t *m)
{
    double scaled = v * powers[e];

    if (!(fabs(scaled) < MAX_MANTISSA))
        return false;
    *m = llrint(scaled);
    return true;
}

static double from_decimal(int64_t m, unsigned e)
{
    return e ? (double)m / powers[e] : (double)m;
}

static bool is_decimal(uint64_t bits, unsigned e, int64_t *m)
{
    return to_decimal(f64_from_bits(bits), e, m) && f64_bits(from_decimal(*m, e)) == bits;
}

/* ---- encoding ---- */

/* A column on its way: the kept samples, and those of them that need a patch. */
struct floats {
    struct floats_scratch *s;
    size_t n, n_patches;
};

/* Keeps what differs from the sample before; returns how many. */
static size_t keep_changes(struct floats_scratch *s, const double *v, size_t n, uint64_t *marks)
{
    uint64_t last = f64_bits(v[0]);
    size_t kept = 1;

    s->kept[0] = (int64_t)last;
    for (size_t i = 1; i < n; i++) {
        uint64_t bits = f64_bits(v[i]);
        bool changed = bits != last;

        s->kept[kept] = (int64_t)bits;
        kept += changed;
        marks[(i - 1) / 64] |= (uint64_t)changed << (i - 1) % 64;
        last = bits;
    }
    return kept;
}

/* Turns all kept samples to decimals, those that are none to patches; false when they are more than
 * max_patches. */
static bool convert(struct floats *f, unsigned e, size_t max_patches)
{
    const int64_t *kept = f->s->kept;
    int64_t last = 0;

    f->n_patches = 0;
    for (size_t i = 0; i < f->n; i++) {
        int64_t m;

        if (LIKELY(is_decimal((uint64_t)kept[i], e, &m))) {
            last = m;
        } else {
            if (f->n_patches == max_patches && !is_special((uint64_t)kept[i]))
                return false;
            f->s->patches[f->n_patches++] = (uint32_t)i;
            max_patches += is_special((uint64_t)kept[i]);
        }
        f->s->m[i] = last;
    }
    return true;
}

/* The i-th of up to SAMPLES samples spread over the column. */
static uint64_t sampled(const struct floats *f, size_t i, size_t n)
{
    return (uint64_t)f->s->kept[(2 * i + 1) * f->n / (2 * n)];
}

/* The digits that nine in ten samples have at most; above MAX_EXPONENT when they are no decimals. */
static unsigned find_exponent(const struct floats *f)
{
    size_t n = f->n < SAMPLES ? f->n : SAMPLES, n_with[MAX_EXPONENT + 2] = { 0 }, seen = 0;
    unsigned e = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t bits = sampled(f, i, n);
        int64_t m;

        for (e = 0; e <= MAX_EXPONENT && !is_special(bits) && !is_decimal(bits, e, &m); e++)
            ;
        n_with[is_special(bits) ? 0 : e]++;
    }
    for (e = 0; e <= MAX_EXPONENT + 1; e++) {
        seen += n_with[e];
        if (seen * 10 >= n * 9)
            break;
    }
    return e;
}

/* How far v is from the decimal next to it, in steps of the last bit. */
static bool residual(uint64_t bits, unsigned e, int64_t *m, int64_t *r)
{
    if (!to_decimal(f64_from_bits(bits), e, m))
        return false;
    *r = ordered(bits) - ordered(f64_bits(from_decimal(*m, e)));
    return true;
}

/* The digits after which samples stray least from decimals; above MAX_EXPONENT when that is not
 * worth a column. A digit costs its bits in m, which those of r must save. */
static unsigned find_residual_exponent(const struct floats *f)
{
    size_t n = f->n < SAMPLES ? f->n : SAMPLES;
    double best_bits = INFINITY;
    unsigned best = MAX_EXPONENT + 1;

    for (unsigned e = 0; e <= MAX_EXPONENT; e++) {
        double bits = 0;

        for (size_t i = 0; i < n; i++) {
            uint64_t v = sampled(f, i, n);
            int64_t m, r;

            if (is_special(v))
                continue;
            if (!residual(v, e, &m, &r))
                return best;
            bits += bit_length(zigzag(r)) + e * 3.32;
        }
        if (bits < best_bits) {
            best_bits = bits;
            best = e;
        }
    }
    return best;
}

/* Replaces what needs a patch by its neighbour; returns false when all are specials. */
static void convert_bits(struct floats *f)
{
    int64_t last = 0;

    f->n_patches = 0;
    for (size_t i = 0; i < f->n; i++) {
        uint64_t bits = (uint64_t)f->s->kept[i];

        if (UNLIKELY(is_special(bits)))
            f->s->patches[f->n_patches++] = (uint32_t)i;
        else
            last = ordered(bits);
        f->s->m[i] = last;
    }
}

/* Like convert_bits(), to m and r; false when a value has no such decimal. */
static bool convert_residual(struct floats *f, unsigned e)
{
    int64_t last_m = 0, last_r = 0;

    f->n_patches = 0;
    for (size_t i = 0; i < f->n; i++) {
        uint64_t bits = (uint64_t)f->s->kept[i];

        if (UNLIKELY(is_special(bits)))
            f->s->patches[f->n_patches++] = (uint32_t)i;
        else if (!residual(bits, e, &last_m, &last_r))
            return false;
        f->s->m[i] = last_m;
        f->s->r[i] = last_r;
    }
    return true;
}

static void write_patches(struct buf *b, const struct floats *f)
{
    uint32_t next = 0;

    buf_uvarint(b, f->n_patches);
    for (size_t i = 0; i < f->n_patches; i++) {
        uint32_t at = f->s->patches[i];

        buf_uvarint(b, at - next);
        buf_u64(b, (uint64_t)f->s->kept[at]);
        next = at + 1;
    }
}

/* Chooses how to write the kept samples and prepares m, r and patches. */
static unsigned choose_form(struct floats *f, unsigned *e)
{
    size_t few = f->n / 32 + 1;

    if (convert(f, *e = 0, few))
        return FORM_DECIMAL;
    *e = find_exponent(f);
    if (*e <= MAX_EXPONENT && convert(f, *e, few * 2))
        return FORM_DECIMAL;
    *e = find_residual_exponent(f);
    if (*e <= MAX_EXPONENT && convert_residual(f, *e)) {
        size_t bits = ints_estimate_bits(f->s->m, f->n) + ints_estimate_bits(f->s->r, f->n);

        memcpy(f->s->work, f->s->m, f->n * sizeof *f->s->m);
        convert_bits(f);
        if (bits > ints_estimate_bits(f->s->m, f->n))
            return FORM_BITS;
        memcpy(f->s->m, f->s->work, f->n * sizeof *f->s->m);
        return FORM_RESIDUAL;
    }
    convert_bits(f);
    return FORM_BITS;
}

void floats_encode(struct buf *b, const double *v, size_t n, struct floats_scratch *s)
{
    uint64_t marks[INTS_MAX / 64] = { 0 };
    struct floats f = { .s = s, .n = keep_changes(s, v, n, marks) };
    size_t start = b->len;
    unsigned form, e;

    ASSERT(n >= 1 && n <= INTS_MAX);
    form = choose_form(&f, &e);
    buf_u8(b, (uint8_t)(form | (n > 1 ? FLAG_MARKS : 0) | (f.n_patches ? FLAG_PATCHES : 0)));
    if (n > 1)
        bits_encode(b, marks, n - 1);
    if (form != FORM_BITS)
        buf_u8(b, (uint8_t)e);
    ints_encode(b, s->m, f.n);
    if (form == FORM_RESIDUAL)
        ints_encode(b, s->r, f.n);
    if (f.n_patches)
        write_patches(b, &f);
    if (!b->failed && b->len - start > n * sizeof *v) {
        b->len = start;
        buf_u8(b, FORM_PLAIN);
        buf_add(b, v, n * sizeof *v); /* little endian as in memory, see bytes.c */
    }
}

/* ---- decoding ---- */

static bool read_plain(struct reader *r, double *out, size_t n)
{
    struct bytes plain = read_bytes(r, n * sizeof *out);

    if (r->overrun)
        return false;
    memcpy(out, plain.ptr, plain.len);
    return true;
}

static bool read_residuals(struct reader *r, double *out, size_t n, unsigned e)
{
    int64_t residuals[INTS_MAX];

    if (!ints_decode(r, residuals, n))
        return false;
    kernel_decimals((uint64_t *)(void *)out, n, powers[e]);
    for (size_t i = 0; i < n; i++)
        out[i] =
            from_ordered((int64_t)((uint64_t)ordered(f64_bits(out[i])) + (uint64_t)residuals[i]));
    return true;
}

static bool read_patches(struct reader *r, double *out, size_t n)
{
    uint64_t count = read_uvarint(r), at = 0;

    if (count > n)
        return false;
    for (size_t i = 0; i < count; i++, at++) {
        uint64_t skipped = read_uvarint(r), bits = read_u64(r);

        if (r->overrun || skipped >= n - at)
            return false;
        at += skipped;
        out[at] = f64_from_bits(bits);
    }
    return true;
}

/* The kept samples. out is memory for doubles and, until they are complete, for integers. */
static bool read_kept(struct reader *r, double *out, size_t n, unsigned head)
{
    unsigned form = head & FORM_MASK, e = 0;

    if (form == FORM_PLAIN)
        return read_plain(r, out, n);
    if (form > FORM_RESIDUAL)
        return false;
    if (form != FORM_BITS)
        e = read_u8(r);
    if (e > MAX_EXPONENT || !ints_decode(r, (int64_t *)(void *)out, n))
        return false;
    if (form == FORM_BITS)
        for (size_t i = 0; i < n; i++)
            out[i] = from_ordered((int64_t)f64_bits(out[i]));
    else if (form == FORM_DECIMAL)
        kernel_decimals((uint64_t *)(void *)out, n, powers[e]);
    else if (!read_residuals(r, out, n, e))
        return false;
    return !(head & FLAG_PATCHES) || read_patches(r, out, n);
}

bool floats_decode(struct reader *r, double *out, size_t n)
{
    uint64_t marks[INTS_MAX / 64];
    unsigned head = read_u8(r);
    size_t kept;

    ASSERT(n >= 1 && n <= INTS_MAX);
    if (head & ~(unsigned)(FORM_MASK | FLAG_MARKS | FLAG_PATCHES))
        return false;
    if (!(head & FLAG_MARKS))
        return read_kept(r, out, n, head) && !r->overrun;
    if (n < 2 || !bits_decode(r, n - 1, marks, &kept))
        return false;
    kept++;
    if (!read_kept(r, out + n - kept, kept, head) || r->overrun)
        return false;
    kernel_repeat((uint64_t *)(void *)out, n, marks, kept);
    return true;
}
