/* rule_tools.h -- rules made by hand, a listener that takes notes, and reading back what rules
 * wrote. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alert/group.h"
#include "alert/notifier.h"
#include "alert/rule.h"
#include "storage/db.h"

struct rule_spec {
    const char *record, *alert; /* one of the two */
    const char *expr;
    int64_t for_ms, keep_firing_for_ms;
    const char *labels, *annotations; /* "name=value;name=value", sorted by name; NULL: none */
};

/* Adds a group of the first specs that have an expression, at most eight, to a set. */
struct rule_group *test_group_add(struct rule_set *set, const char *name,
                                  const struct rule_spec *specs);

/* Room for groups is made by the first call of test_group_add(). */
enum { TEST_MAX_GROUPS = 4 };

/* Notes what it is told, a line for each: "firing {a=\"b\"} starts=1 ends=2 url", times in seconds.
 * */
struct test_listener {
    struct alert_listener listener;
    struct buf told;
    uint64_t last_id;
    bool pending; /* what is answered */
};
void test_listener_init(struct test_listener *l);
/* What was told since the last call; valid until the next. */
const char *test_listener_take(struct test_listener *l);
void test_listener_free(struct test_listener *l);

/* The samples of all series called name at one time, a line for each, sorted: `name{a="b"} 1`,
 * "stale" for markers. Free it. */
char *test_samples_at(struct db *db, const char *name, int64_t t_ms);
