#include "base/hash.h"

#include <stdbool.h>
#include <string.h>

#include <xxhash.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

#include "base/banned.h"

uint64_t hash64(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}

uint64_t hash_xxh64(const void *p, size_t n)
{
    return XXH64(p, n, 0);
}

static const uint32_t *crc_table(void)
{
    static _Thread_local uint32_t table[256];

    if (!table[1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;

            for (int bit = 0; bit < 8; bit++)
                c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
            table[i] = c;
        }
    }
    return table;
}

static uint32_t crc32c_table(uint32_t crc, const uint8_t *p, size_t n)
{
    const uint32_t *table = crc_table();

    while (n--)
        crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
static bool have_crc(void)
{
    return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_hw(uint32_t crc, const uint8_t *p,
                                                            size_t n)
{
    uint64_t c = crc, word;

    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    while (n--)
        c = _mm_crc32_u8((uint32_t)c, *p++);
    return (uint32_t)c;
}
#elif defined(__aarch64__)
static bool have_crc(void)
{
    return getauxval(AT_HWCAP) & (1 << 7); /* HWCAP_CRC32 */
}

__attribute__((target("+crc"))) static uint32_t crc32c_hw(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t word;

    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        crc = __crc32cd(crc, word);
    }
    while (n--)
        crc = __crc32cb(crc, *p++);
    return crc;
}
#else
static bool have_crc(void)
{
    return false;
}

static uint32_t crc32c_hw(uint32_t crc, const uint8_t *p, size_t n)
{
    return crc32c_table(crc, p, n);
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    return have_crc() ? ~crc32c_hw(~crc, p, n) : crc32c_portable(crc, p, n);
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    return ~crc32c_table(~crc, p, n);
}
