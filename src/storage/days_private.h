/* days_private.h -- what days.c (the catalogue) and day_file.c (its open files) share.
 *
 * Locks, in this order: change, one change of MANIFEST at a time, held while it is written; opening,
 * of one file, held while it is opened or closed; lock, of the list, held for moments only.
 */
#pragma once

#include <pthread.h>

#include "storage/day.h"
#include "storage/days.h"

struct day_file {
    struct days *days;
    struct manifest_day id;
    char *path;
    pthread_mutex_t opening;    /* guards the next three */
    struct day *day;            /* NULL while closed */
    struct day_summary summary; /* as of when it was closed last, if known */
    bool known;
    /* guarded by days->lock: */
    unsigned users;                /* besides the list */
    bool published;                /* in MANIFEST */
    bool made;                     /* exists on the disk */
    bool dropped;                  /* not in the list any more: removed with its last user */
    bool open;                     /* counted in n_open */
    uint64_t last_used;            /* in ticks of the catalogue */
    struct day_file *next_dropped; /* in days->dropped */
    struct day_file *next_gone;    /* in the list of who drops it */
};

struct days {
    char *dir;    /* of MANIFEST */
    char *folder; /* of the day files */
    size_t map_bytes;
    pthread_mutex_t change;

    pthread_mutex_t lock;
    /* guarded by lock: */
    struct day_file **files; /* in manifest_day_cmp order */
    size_t n, cap;
    struct day_file *dropped; /* still used by somebody */
    size_t n_open;
    uint64_t next_generation;  /* none below is given to a new file */
    uint64_t first_generation; /* of a day that has no file: no name ever means two files */
    uint64_t begun, released, tick;
    bool rewriting; /* the files of day rewritten.day up to its generation take no flush */
    struct manifest_day rewritten;
};

/* A closed file without users, or NULL when out of memory. */
struct day_file *day_file_new(struct days *d, struct manifest_day id);
/* Closes and frees it; remove also deletes it from the disk. In no list, without users. */
void day_file_free(struct day_file *f, bool remove);

/* Takes a reference, the lock being held, and gives one back, the lock not being held. */
struct day_file *day_file_use(struct day_file *f);
void day_file_release(struct day_file *f);

/* Closes the file when nobody reads it. False: somebody does. */
bool day_file_close(struct day_file *f);
