/* fuzz_alert_record.c -- any bytes as the record of an alert; what reads must encode and read
 * back. */
#include <stdlib.h>

#include "alert/alert_store.h"
#include "base/arena.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes the alert and reads it again, under the key that its labels ask for. */
static void round_trip(const struct alert *alert, struct arena *a)
{
    const struct alert_key key = { 1, 2, labels_hash(alert->labels) };
    struct alert_changes c = { 0 };
    struct stored_alert back;
    struct bytes k, v;

    alert_changes_put(&c, &key, alert);
    k = (struct bytes){ c.bytes.ptr + c.spans[0].key_at, ALERT_KEY_BYTES };
    v = (struct bytes){ c.bytes.ptr + c.spans[0].value_at, c.spans[0].n_value };
    ASSERT(alert_record_decode(k, v, a, &back, NULL) == OK);
    ASSERT(labels_equal(back.alert.labels, alert->labels));
    ASSERT(labels_equal(back.alert.annotations, alert->annotations));
    ASSERT(back.alert.active_at_ms == alert->active_at_ms);
    alert_changes_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t key[ALERT_KEY_BYTES] = { 'A' };
    struct bytes k = { key, sizeof key }, v = { data, size };
    struct arena *a = arena_new(1 << 20);
    struct stored_alert s = { 0 };

    /* the first reading fails, but for the labels; the second has the key that they ask for */
    if (alert_record_decode(k, v, a, &s, NULL) != OK) {
        store_u64be(key + ALERT_KEY_BYTES - 8, labels_hash(s.alert.labels));
        if (alert_record_decode(k, v, a, &s, NULL) == OK)
            round_trip(&s.alert, a);
    }
    arena_free(a);
    return 0;
}
