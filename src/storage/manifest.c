/* manifest.c
 *
 *   tidemark manifest 1                   format version
 *   begun 43                              newest flush that was begun
 *   released 42                           newest generation of the log that is in day files
 *   day 2026-11-20.3.mdb                  by date and generation, each once
 *   day 2026-11-21.1.mdb
 *   crc32c 89abcdef                       of all lines above
 *
 * Every line ends with a newline; numbers have no leading zeros, so that a manifest has one text.
 */
#include "storage/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/hash.h"
#include "base/vec.h"

#include "base/banned.h"

enum { VERSION = 1, MAX_BYTES = 64 << 20 };

#define FILE_NAME "MANIFEST"

/* ---- dates ---- */

/* Days of 400 Gregorian years; their count starts at 0000-03-01, so that a leap day comes last in
 * its year, and March is month 0. */
enum { ERA_DAYS = 146097, ERA_YEARS = 400, EPOCH_DAYS = 719468 };

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int days_before_month(int month)
{
    return (153 * month + 2) / 5; /* March 0, April 31, May 61, ... */
}

static int64_t day_from_date(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, ERA_YEARS), in_era = y - era * ERA_YEARS;

    return era * ERA_DAYS + in_era * 365 + in_era / 4 - in_era / 100
           + days_before_month((month + 9) % 12) + day - 1 - EPOCH_DAYS;
}

static void date_from_day(int64_t number, int64_t *year, int *month, int *day)
{
    int64_t n = number + EPOCH_DAYS, era = floor_div(n, ERA_DAYS), in_era = n - era * ERA_DAYS;
    int64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int in_year = (int)(in_era - (365 * y + y / 4 - y / 100)), m = (5 * in_year + 2) / 153;

    *day = in_year - days_before_month(m) + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = y + era * ERA_YEARS + (*month <= 2);
}

void day_file_name(int64_t day, uint64_t generation, char out[DAY_NAME_MAX])
{
    int64_t year;
    int month, in_month;

    date_from_day(day, &year, &month, &in_month);
    snprintf(out, DAY_NAME_MAX, "%04" PRId64 "-%02d-%02d.%" PRIu64 ".mdb", year, month, in_month,
             generation);
}

bool day_file_parse(struct str name, struct manifest_day *out)
{
    char text[DAY_NAME_MAX], again[DAY_NAME_MAX];
    int64_t year;
    int month, day;

    if (name.len >= sizeof text)
        return false;
    memcpy(text, name.len ? name.ptr : "", name.len);
    text[name.len] = '\0';
    if (sscanf(text, "%10" SCNd64 "-%2d-%2d.%20" SCNu64, &year, &month, &day, &out->generation) != 4
        || month < 1 || month > 12)
        return false;
    out->day = day_from_date(year, month, day);
    day_file_name(out->day, out->generation, again);
    return strcmp(text, again) == 0; /* the one way to write it */
}

/* ---- the list of days ---- */

int manifest_day_cmp(struct manifest_day a, struct manifest_day b)
{
    if (a.day != b.day)
        return a.day < b.day ? -1 : 1;
    return (a.generation > b.generation) - (a.generation < b.generation);
}

bool manifest_add(struct manifest *m, struct manifest_day file)
{
    ASSERT(m->n_days == 0 || manifest_day_cmp(m->days[m->n_days - 1], file) < 0);
    if (!vec_reserve(&m->days, &m->cap, m->n_days + 1, sizeof *m->days))
        return false;
    m->days[m->n_days++] = file;
    return true;
}

void manifest_free(struct manifest *m)
{
    free(m->days);
    *m = (struct manifest){ 0 };
}

/* ---- the file ---- */

enum errc manifest_save(const char *dir, const struct manifest *m, struct err *err)
{
    struct buf text = { 0 };
    char name[DAY_NAME_MAX];
    enum errc rc;

    buf_printf(&text, "tidemark manifest %d\nbegun %" PRIu64 "\nreleased %" PRIu64 "\n", VERSION,
               m->begun, m->released);
    for (size_t i = 0; i < m->n_days; i++) {
        day_file_name(m->days[i].day, m->days[i].generation, name);
        buf_printf(&text, "day %s\n", name);
    }
    if (!text.failed)
        buf_printf(&text, "crc32c %08" PRIx32 "\n", crc32c(0, text.ptr, text.len));
    rc = text.failed ? err_set(err, ERR_NOMEM, 0, "write %s/%s: out of memory", dir, FILE_NAME)
                     : fs_write_atomic(dir, FILE_NAME, buf_as_bytes(&text), err);
    buf_free(&text);
    return rc;
}

/* Takes the next line off text, without its newline; false when there is no whole line. */
static bool take_line(struct str *text, struct str *line)
{
    const char *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;

    if (!end)
        return false;
    *line = (struct str){ text->ptr, (size_t)(end - text->ptr) };
    *text = (struct str){ end + 1, text->len - line->len - 1 };
    return true;
}

/* Takes "word number" apart; the number is decimal and has no leading zero. */
static bool parse_number(struct str line, struct str word, uint64_t *out)
{
    uint64_t v = 0;

    if (!str_starts_with(line, word) || line.len == word.len
        || (line.ptr[word.len] == '0' && line.len > word.len + 1))
        return false;
    for (size_t i = word.len; i < line.len; i++) {
        unsigned digit = (unsigned)(line.ptr[i] - '0');

        if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}

/* Whether line is the checksum of all that comes before it, and nothing is left after it. */
static bool is_last_line(struct str whole, struct str line, struct str rest)
{
    char want[32];

    snprintf(want, sizeof want, "crc32c %08" PRIx32,
             crc32c(0, whole.ptr, (size_t)(line.ptr - whole.ptr)));
    return rest.len == 0 && str_is(line, want);
}

static enum errc corrupt(const char *dir, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, 0,
                   "%s/%s: %s. It names the files in %s/days that make up the store: restore it "
                   "from a backup, or move the data directory away to begin anew",
                   dir, FILE_NAME, what, dir);
}

static enum errc parse(const char *dir, struct str whole, struct manifest *m, struct err *err)
{
    struct str rest = whole, line;
    struct manifest_day d;
    uint64_t version;

    if (!take_line(&rest, &line) || !parse_number(line, STR("tidemark manifest "), &version))
        return corrupt(dir, "not a manifest", err);
    if (version > VERSION)
        return err_set(err, ERR_UNSUPPORTED, 0,
                       "%s/%s has format version %" PRIu64 ", this program knows up to %d: it was "
                       "written by a newer version",
                       dir, FILE_NAME, version, VERSION);
    if (!take_line(&rest, &line) || !parse_number(line, STR("begun "), &m->begun)
        || !take_line(&rest, &line) || !parse_number(line, STR("released "), &m->released))
        return corrupt(dir, "the second or third line is damaged", err);
    while (take_line(&rest, &line)) {
        if (is_last_line(whole, line, rest))
            return OK;
        if (!str_starts_with(line, STR("day "))
            || !day_file_parse((struct str){ line.ptr + 4, line.len - 4 }, &d)
            || (m->n_days > 0 && manifest_day_cmp(m->days[m->n_days - 1], d) >= 0))
            return corrupt(dir, "a line is damaged", err);
        if (!manifest_add(m, d))
            return err_set(err, ERR_NOMEM, 0, "read %s/%s: out of memory", dir, FILE_NAME);
    }
    return corrupt(dir, "the end is missing", err);
}

enum errc manifest_load(const char *dir, struct manifest *m, struct err *err)
{
    struct buf text = { 0 };
    char *path = NULL;
    enum errc rc;

    if (asprintf(&path, "%s/%s", dir, FILE_NAME) < 0)
        return err_set(err, ERR_NOMEM, 0, "read %s/%s: out of memory", dir, FILE_NAME);
    rc = fs_read_file(path, MAX_BYTES, &text, err);
    if (rc == OK)
        rc = parse(dir, buf_as_str(&text), m, err);
    if (rc != OK)
        manifest_free(m);
    free(path);
    buf_free(&text);
    return rc;
}
