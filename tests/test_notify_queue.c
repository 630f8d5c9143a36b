#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "alert/notify_message.h"
#include "alert/notify_queue.h"
#include "base/hash.h"

#include "base/banned.h"

enum { MAX_TAKEN = 512 };

/* A queue, what is on its way, and how often something was put: the first message starts at 1 ms, the
 * second at 2 ms, and so on, which tells them apart. */
struct rig {
    struct notify_queue *queue;
    struct notify_message *taken[MAX_TAKEN];
    size_t n_taken, n_put, n_dropped;
};

static struct notify_message *message(uint64_t id, bool resolved, int64_t starts_ms)
{
    struct notification item = {
        .id = id, .resolved = resolved, .starts_ms = starts_ms, .ends_ms = starts_ms
    };
    struct notify_message *m = notify_message_new(&item, (struct labels){ 0 }, 0);

    assert_non_null(m);
    return m;
}

static void put(struct rig *r, uint64_t id, bool resolved)
{
    struct notify_message *m = message(id, resolved, (int64_t)++r->n_put);

    r->n_dropped += notify_queue_put(r->queue, m);
    notify_message_release(m);
}

static void settle(struct rig *r, bool done)
{
    bool all[MAX_TAKEN];

    memset(all, done, sizeof all);
    r->n_dropped += notify_queue_settle(r->queue, r->taken, all, r->n_taken);
    r->n_taken = 0;
}

static void take(struct rig *r, struct buf *out)
{
    r->n_taken = notify_queue_take(r->queue, r->taken, MAX_TAKEN);
    buf_u8(out, '[');
    for (size_t i = 0; i < r->n_taken; i++)
        buf_printf(out, "%s%c%d@%d", i ? " " : "", r->taken[i]->resolved ? 'R' : 'F',
                   (int)r->taken[i]->id, (int)r->taken[i]->starts_ms);
    buf_u8(out, ']');
}

/* F1 and R1 put a state of alert 1; T takes, then D is done, X is not. Gives what was taken. */
static void run(struct rig *r, const char *script, struct buf *out)
{
    for (const char *p = script; *p; p++) {
        switch (*p) {
        case 'F':
        case 'R':
            put(r, (uint64_t)(p[1] - '0'), *p == 'R');
            p++;
            break;
        case 'T':
            take(r, out);
            break;
        case 'D':
        case 'X':
            settle(r, *p == 'D');
            break;
        default:
            break;
        }
    }
    buf_u8(out, 0);
}

static void states_are_told_in_order(void **state)
{
    static const struct {
        const char *what, *script, *told;
        size_t max, n_dropped;
    } cases[] = {
        { "by first arrival", "F1 F2 R3 T D T", "[F1@1 F2@2 R3@3][]", 99, 0 },
        { "the newest state only", "F1 F2 F1 T", "[F1@3 F2@2]", 99, 0 },
        { "the newest resolution only", "R1 R1 T D T", "[R1@2][]", 99, 0 },
        { "firing before resolved", "F1 R1 T D T D T", "[F1@1][R1@2][]", 99, 0 },
        { "each at its place", "F1 F2 R1 T D T", "[F1@1 F2@2][R1@3]", 99, 0 },
        { "again after a failure", "F1 F2 T X F3 T", "[F1@1 F2@2][F1@1 F2@2 F3@3]", 99, 0 },
        { "on its way: sent again", "F1 T F1 D T", "[F1@1][F1@2]", 99, 0 },
        { "on its way, failed: the newer one", "F1 T F1 X T D T", "[F1@1][F1@2][]", 99, 0 },
        { "on its way, failed: kept", "F1 T R1 X T D T", "[F1@1][F1@1][R1@2]", 99, 0 },
        { "on its way, failed: both", "F1 T F1 R1 X T D T", "[F1@1][F1@2][R1@3]", 99, 0 },
        { "resolved, then firing", "R1 F1 T D T D T", "[R1@1][F1@2][]", 99, 0 },
        { "a run", "F1 R1 F1 R1 TD TD TD TD T", "[F1@1][R1@2][F1@3][R1@4][]", 99, 0 },
        { "a long run", "F1 R1 F1 R1 F1 TD TD TD T", "[F1@3][R1@4][F1@5][]", 99, 2 },
        { "a long run on its way", "F1 T R1 F1 R1 F1 X TD TD TD T", "[F1@1][F1@1][R1@4][F1@5][]",
          99, 2 },
        { "full", "F1 F2 F3 F4 T", "[F2@2 F3@3 F4@4]", 3, 1 },
        { "full of a run", "F1 R1 F2 R2 TD T", "[R1@2 F2@3][R2@4]", 3, 1 },
        { "full, failed", "F1 F2 T F3 F4 F5 X T", "[F1@1 F2@2][F3@3 F4@4 F5@5]", 3, 2 },
        { "full, done", "F1 F2 T F3 F4 F5 D T", "[F1@1 F2@2][F3@3 F4@4 F5@5]", 3, 0 },
        { "full, all on its way", "F1 T R1 F2 X T", "[F1@1][F2@3]", 1, 2 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig r = { .queue = notify_queue_new(cases[i].max) };
        struct buf told = { 0 };

        run(&r, cases[i].script, &told);
        if (strcmp((char *)told.ptr, cases[i].told) != 0 || r.n_dropped != cases[i].n_dropped)
            fail_msg("%s: told %s, dropped %zu", cases[i].what, (char *)told.ptr, r.n_dropped);
        if (r.n_taken > 0)
            settle(&r, false);
        notify_queue_free(r.queue);
        buf_free(&told);
    }
}

static void an_alert_is_there_until_its_last_state_is_done(void **state)
{
    struct rig r = { .queue = notify_queue_new(99) };
    struct buf told = { 0 };

    (void)state;
    assert_false(notify_queue_has(r.queue, 1));
    run(&r, "F1 R1 F2", &told);
    assert_int_equal(notify_queue_length(r.queue), 3);
    run(&r, "T", &told);
    assert_true(notify_queue_has(r.queue, 1) && notify_queue_has(r.queue, 2));
    run(&r, "D", &told);
    assert_true(notify_queue_has(r.queue, 1));
    assert_false(notify_queue_has(r.queue, 2));
    run(&r, "TD", &told);
    assert_false(notify_queue_has(r.queue, 1));
    assert_int_equal(notify_queue_length(r.queue), 0);
    notify_queue_free(r.queue);
    buf_free(&told);
}

static void a_batch_is_bounded(void **state)
{
    struct rig r = { .queue = notify_queue_new(1000) };

    (void)state;
    for (uint64_t id = 0; id < 10; id++)
        put(&r, id, false);
    r.n_taken = notify_queue_take(r.queue, r.taken, 4);
    assert_int_equal(r.n_taken, 4);
    settle(&r, true);
    r.n_taken = notify_queue_take(r.queue, r.taken, 100);
    assert_int_equal(r.n_taken, 6);
    assert_int_equal(r.taken[0]->id, 4);
    settle(&r, true);
    notify_queue_free(r.queue);
}

static struct notify_message *big_message(uint64_t id, size_t bytes)
{
    struct notification item = { .id = id };
    struct notify_message *m;
    char *text = malloc(bytes);
    struct label label = { STR("summary"), { text, bytes } };

    memset(text, 'x', bytes);
    item.annotations = (struct labels){ &label, 1 };
    m = notify_message_new(&item, (struct labels){ 0 }, 0);
    assert_non_null(m);
    free(text);
    return m;
}

static void bytes_are_bounded(void **state)
{
    static const size_t mib = 1 << 20;
    struct rig r = { .queue = notify_queue_new(1000) };

    (void)state;
    for (uint64_t id = 0; id < 100; id++) {
        struct notify_message *m = big_message(id, mib);

        r.n_dropped += notify_queue_put(r.queue, m);
        notify_message_release(m);
    }
    assert_int_equal(notify_queue_length(r.queue), 63); /* with their heads they are over 64 MiB */
    assert_int_equal(r.n_dropped, 37);
    r.n_taken = notify_queue_take(r.queue, r.taken, 100);
    assert_int_equal(r.n_taken, 1);
    assert_int_equal(r.taken[0]->id, 37);
    settle(&r, true);
    notify_queue_free(r.queue);
}

/* Puts and deliveries in random order: of each alert, states are told in the order they came, and the
 * last one in the end. */
static void the_last_state_is_always_told(void **state)
{
    enum { N_ALERTS = 50, N_STEPS = 20000 };
    struct rig r = { .queue = notify_queue_new(N_ALERTS * 4) };
    int64_t last_put[N_ALERTS] = { 0 }, last_told[N_ALERTS] = { 0 };

    (void)state;
    for (size_t step = 0; step < N_STEPS || notify_queue_length(r.queue) > 0; step++) {
        uint64_t random = hash64(&step, sizeof step);

        if (step < N_STEPS && random % 8 != 0) {
            uint64_t id = random / 8 % N_ALERTS;

            put(&r, id, random / 1024 % 2);
            last_put[id] = (int64_t)r.n_put;
        } else if (r.n_taken == 0) {
            r.n_taken = notify_queue_take(r.queue, r.taken, random / 8 % 20 + 1);
        } else {
            bool done[MAX_TAKEN];

            for (size_t i = 0; i < r.n_taken; i++) {
                struct notify_message *m = r.taken[i];

                done[i] = random >> (8 + i) & 1;
                assert_true(m->starts_ms > last_told[m->id]);
                if (done[i])
                    last_told[m->id] = m->starts_ms;
            }
            (void)!notify_queue_settle(r.queue, r.taken, done, r.n_taken);
            r.n_taken = 0;
        }
    }
    for (size_t id = 0; id < N_ALERTS; id++)
        assert_int_equal(last_told[id], last_put[id]);
    notify_queue_free(r.queue);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_told_in_order),
        cmocka_unit_test(an_alert_is_there_until_its_last_state_is_done),
        cmocka_unit_test(a_batch_is_bounded),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(the_last_state_is_always_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
