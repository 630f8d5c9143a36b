/* hash.h -- XXH3-64 for finding things, CRC-32C for trusting stored bytes.
 *
 * XXH3: https://github.com/Cyan4973/xxHash (libxxhash). CRC-32C: RFC 3720 appendix B.4, polynomial
 * 0x1EDC6F41; the check value of "123456789" is 0xE3069283. Hardware instructions are used where
 * the processor has them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 with seed 0. The value of a given text never changes: it is stored on disk. */
uint64_t hash64(const void *p, size_t n);

/* Legacy XXH64 with seed 0, which PromQL's limit_ratio() is defined by. */
uint64_t hash_xxh64(const void *p, size_t n);

/* CRC-32C of n bytes, continuing from crc (0 to start). */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* The same without hardware instructions, so that the two can be compared. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);
