#include "storage/codec_bits.h"

#include "base/banned.h"

enum { MAX_RICE = 15, FORM_PLAIN = 16, FORM_INVERTED = 32 };

size_t bits_count(const uint64_t *words, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < bits_words(n); i++)
        count += (size_t)__builtin_popcountll(words[i]);
    return count;
}

/* The bits of word i, or the others when invert is UINT64_MAX; none behind n. */
static uint64_t word_of(const uint64_t *words, size_t i, size_t n, uint64_t invert)
{
    uint64_t w = words[i] ^ invert;

    return invert && (i + 1) * 64 > n && n % 64 ? w & ((1ull << n % 64) - 1) : w;
}

/* ---- encoding ---- */

/* Bits of the Rice codes with parameter k. */
static size_t rice_bits(const uint64_t *words, size_t n, uint64_t invert, unsigned k)
{
    size_t bits = 0, next = 0; /* the first place not yet coded */

    for (size_t i = 0; i < bits_words(n); i++)
        for (uint64_t w = word_of(words, i, n, invert); w; w &= w - 1) {
            size_t at = i * 64 + (size_t)__builtin_ctzll(w);

            bits += ((at - next) >> k) + 1 + k;
            next = at + 1;
        }
    return bits;
}

/* The parameter that codes count random places of n shortest, or one beside it. */
static unsigned guess_parameter(size_t n, size_t count)
{
    size_t mean = (n - count) / count; /* places skipped before each */
    unsigned k = 0;

    while (k < MAX_RICE && (size_t)3 << k < mean * 2)
        k++;
    return k;
}

static void write_rice(uint8_t *out, const uint64_t *words, size_t n, uint64_t invert, unsigned k)
{
    size_t bit = 0, next = 0;

    for (size_t i = 0; i < bits_words(n); i++)
        for (uint64_t w = word_of(words, i, n, invert); w; w &= w - 1) {
            size_t at = i * 64 + (size_t)__builtin_ctzll(w), skipped = at - next;
            uint64_t code = 1 | (skipped & ((1u << k) - 1)) << 1;

            bit += skipped >> k;
            store_u64le(out + bit / 8, load_u64le(out + bit / 8) | code << bit % 8);
            bit += 1 + k;
            next = at + 1;
        }
}

void bits_encode(struct buf *b, const uint64_t *words, size_t n)
{
    size_t count = bits_count(words, n), bits, best = n;
    uint64_t invert = 0;
    unsigned form = FORM_PLAIN, guess;
    uint8_t *out;

    buf_uvarint(b, count);
    if (count == 0 || count == n)
        return;
    if (count > n / 2) {
        invert = UINT64_MAX;
        count = n - count;
    }
    guess = guess_parameter(n, count);
    for (unsigned k = guess ? guess - 1 : 0; k <= guess + 1 && k <= MAX_RICE; k++) {
        bits = rice_bits(words, n, invert, k);
        if (bits + bits / 8 < best) { /* plain bits are read faster */
            best = bits;
            form = k;
        }
    }
    buf_u8(b, (uint8_t)(form == FORM_PLAIN ? FORM_PLAIN : form + (invert ? FORM_INVERTED : 0)));
    out = buf_reserve(b, (best + 7) / 8 + 8);
    if (!out)
        return;
    if (form == FORM_PLAIN) {
        memcpy(out, words, (n + 7) / 8);
    } else {
        memset(out, 0, (best + 7) / 8 + 8);
        write_rice(out, words, n, invert, form);
    }
    b->len += (best + 7) / 8;
}

/* ---- decoding ---- */

/* Bits, lowest first. Behind the end there are zeros. */
struct bit_reader {
    const uint8_t *p, *end;
    uint64_t word; /* the next bits */
    unsigned have; /* how many of them; all others are zero */
};

static void refill(struct bit_reader *b)
{
    if (LIKELY(b->end - b->p >= 8)) {
        b->word |= load_u64le(b->p) << b->have;
        b->p += (63 - b->have) >> 3;
        b->have |= 56;
        b->word &= UINT64_MAX >> (64 - b->have); /* the rest comes again with the next refill */
        return;
    }
    while (b->have <= 56 && b->p < b->end) {
        b->word |= (uint64_t)*b->p++ << b->have;
        b->have += 8;
    }
}

static void drop(struct bit_reader *b, unsigned n)
{
    b->word = n < 64 ? b->word >> n : 0;
    b->have -= n;
}

/* Places skipped before the next marked one; more than limit when they make no sense. For codes
 * that do not fit into one word, or end with the bytes. */
static size_t read_long_rice(struct bit_reader *b, unsigned k, size_t limit)
{
    size_t zeros = 0, low;
    unsigned run;

    while (b->word == 0) {
        if (b->have == 0 || zeros > limit)
            return limit + 1;
        zeros += b->have;
        drop(b, b->have);
        refill(b);
    }
    run = (unsigned)__builtin_ctzll(b->word);
    drop(b, run + 1);
    zeros += run;
    refill(b);
    if (b->have < k || zeros > limit)
        return limit + 1;
    low = b->word & ((1u << k) - 1);
    drop(b, k);
    return (zeros << k) + low;
}

/* Decodes codes while they lie in the bits at hand; returns how many are left. */
static size_t read_short_rices(struct bit_reader *b, size_t count, unsigned k, size_t n,
                               uint64_t *words, size_t *place)
{
    uint64_t word = b->word, low = (1u << k) - 1;
    unsigned have = b->have;
    size_t at = *place;

    while (count > 0 && word != 0) {
        unsigned run = (unsigned)__builtin_ctzll(word), used = run + 1 + k;
        uint64_t rest = word >> run >> 1;

        if (used > have)
            break;
        at += ((size_t)run << k) + (rest & low);
        if (at >= n)
            break;
        words[at / 64] |= 1ull << at % 64;
        at++;
        word = rest >> k;
        have -= used;
        count--;
    }
    *b = (struct bit_reader){ b->p, b->end, word, have };
    *place = at;
    return count;
}

static bool decode_rice(struct reader *r, size_t n, size_t count, unsigned k, uint64_t *words)
{
    struct bit_reader b = { .p = r->p, .end = r->end };
    size_t at = 0;

    memset(words, 0, bits_words(n) * sizeof *words);
    while (count > 0) {
        size_t left;

        refill(&b);
        left = read_short_rices(&b, count, k, n, words, &at);
        if (left == count && at < n) {
            at += read_long_rice(&b, k, n);
            if (at < n)
                words[at / 64] |= 1ull << at % 64;
            at++;
            left--;
        }
        if (at > n || (at == n && left > 0))
            return false;
        count = left;
    }
    r->p = b.p - b.have / 8; /* whole bytes that were not needed */
    return true;
}

static bool decode_plain(struct reader *r, size_t n, size_t count, uint64_t *words)
{
    struct bytes plain = read_bytes(r, (n + 7) / 8);

    if (r->overrun)
        return false;
    words[bits_words(n) - 1] = 0;
    memcpy(words, plain.ptr, plain.len);
    return bits_count(words, n) == count && (n % 64 == 0 || words[n / 64] >> n % 64 == 0);
}

bool bits_decode(struct reader *r, size_t n, uint64_t *words, size_t *count)
{
    uint64_t marked = read_uvarint(r), invert = marked == n ? UINT64_MAX : 0;
    unsigned form;

    *count = (size_t)marked;
    if (r->overrun || marked > n)
        return false;
    if (marked == 0 || marked == n) {
        memset(words, 0, bits_words(n) * sizeof *words);
    } else {
        form = read_u8(r);
        if (form == FORM_PLAIN)
            return decode_plain(r, n, marked, words);
        if ((form & ~(unsigned)FORM_INVERTED) > MAX_RICE)
            return false;
        invert = form & FORM_INVERTED ? UINT64_MAX : 0;
        if (!decode_rice(r, n, invert ? n - marked : marked, form & MAX_RICE, words))
            return false;
    }
    if (invert)
        for (size_t i = 0; i < bits_words(n); i++)
            words[i] = word_of(words, i, n, invert);
    return true;
}
