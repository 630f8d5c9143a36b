/* alert_state.c -- a result and the set are both in order of hashes, so that an update is one
 * merge.
 *
 * It runs in two passes. The first makes what is new and counts, and may fail; the second moves
 * pointers and cannot.
 */
#include "alert/alert_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

#include "base/banned.h"

enum { RESOLVED_KEPT_MS = 15 * 60000 };

const char *alert_state_name(enum alert_state s)
{
    static const char *const names[] = { "inactive", "pending", "firing" };

    ASSERT((size_t)s < ARRAY_LEN(names));
    return names[s];
}

/* ---- memory ---- */

/* A copy in one block, to be freed at items. False when out of memory. */
static bool own_labels(struct labels ls, struct labels *out)
{
    size_t bytes = 0;
    struct label *items;
    char *text;

    for (size_t i = 0; i < ls.n; i++)
        bytes += ls.items[i].name.len + ls.items[i].value.len;
    items = malloc(ls.n * sizeof *items + bytes + 1);
    if (!items)
        return false;
    text = (char *)(items + ls.n);
    for (size_t i = 0; i < ls.n; i++) {
        const struct str from[2] = { ls.items[i].name, ls.items[i].value };
        struct str to[2];

        for (int k = 0; k < 2; k++) {
            if (from[k].len)
                memcpy(text, from[k].ptr, from[k].len);
            to[k] = (struct str){ text, from[k].len };
            text += from[k].len;
        }
        items[i] = (struct label){ to[0], to[1] };
    }
    *out = (struct labels){ items, ls.n };
    return true;
}

static void free_labels(struct labels ls)
{
    free((void *)ls.items);
}

static void alert_free(struct alert *a)
{
    if (!a)
        return;
    free_labels(a->labels);
    free_labels(a->annotations);
    free(a);
}

/* A copy of *from that owns its texts; NULL when out of memory. */
static struct alert *alert_new(const struct alert *from)
{
    struct alert *a = malloc(sizeof *a);

    if (!a)
        return NULL;
    *a = *from;
    a->labels = a->annotations = (struct labels){ 0 };
    if (!own_labels(from->labels, &a->labels) || !own_labels(from->annotations, &a->annotations)) {
        alert_free(a);
        return NULL;
    }
    return a;
}

void alert_set_free(struct alert_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        alert_free(set->items[i]);
    free(set->items);
    free(set->removed);
    *set = (struct alert_set){ 0 };
}

/* ---- what happens to one alert ---- */

static bool is_active(const struct alert *a)
{
    return a->state != ALERT_INACTIVE;
}

/* Whether a restored alert that is not in the result may yet come back: what it is about may not
 * have been received again.
 */
static bool is_awaited(const struct alert_set *set, const struct alert *a,
                       const struct alert_timing *t)
{
    return a->restored && is_active(a) && t->t_ms < set->hold_until_ms;
}

/* Whether an alert that is not in the result stays as it is. */
static bool is_held(const struct alert_set *set, const struct alert *a,
                    const struct alert_timing *t)
{
    int64_t since = a->keep_firing_since_ms ? a->keep_firing_since_ms : t->t_ms;

    if (is_awaited(set, a, t))
        return true;
    return a->state == ALERT_FIRING && t->t_ms - since < t->keep_firing_for_ms;
}

static void set_state(struct alert *a, enum alert_state state)
{
    a->changed |= a->state != state;
    a->state = state;
}

/* The time between the evaluation that last saw a restored alert and this one does not count, but
 * for the one interval that passes between any two. */
static void skip_time_away(struct alert *a, const struct alert_timing *t)
{
    int64_t away_ms = t->t_ms - a->seen_ms - t->interval_ms;

    if (a->state == ALERT_PENDING && a->seen_ms > 0 && away_ms > 0) {
        a->active_at_ms += away_ms;
        a->changed = true;
    }
    a->restored = false;
}

static void on_present(struct alert *a, const struct alert_timing *t)
{
    bool long_enough;

    if (a->restored)
        skip_time_away(a, t);
    a->changed |= a->keep_firing_since_ms != 0;
    a->keep_firing_since_ms = 0;
    long_enough = t->t_ms - a->active_at_ms >= t->for_ms;
    if (a->state == ALERT_PENDING && long_enough) {
        set_state(a, ALERT_FIRING);
        a->fired_at_ms = t->t_ms;
    } else if (a->state == ALERT_FIRING && !long_enough) {
        set_state(a, ALERT_PENDING);
        a->fired_at_ms = a->sent_at_ms = 0;
    }
}

/* False: the alert is to be removed. */
static bool on_absent(const struct alert_set *set, struct alert *a, const struct alert_timing *t)
{
    if (is_awaited(set, a, t))
        return true;
    a->restored = false;
    if (is_held(set, a, t)) {
        a->changed |= a->keep_firing_since_ms == 0;
        if (a->keep_firing_since_ms == 0)
            a->keep_firing_since_ms = t->t_ms;
    } else if (a->state == ALERT_FIRING) {
        set_state(a, ALERT_INACTIVE);
        a->resolved_at_ms = t->t_ms;
        a->keep_firing_since_ms = 0;
    }
    return a->state != ALERT_PENDING;
}

/* ---- merging ---- */

static int compare(uint64_t hash_a, struct labels a, uint64_t hash_b, struct labels b)
{
    return hash_a != hash_b ? (hash_a > hash_b) - (hash_a < hash_b) : labels_cmp(a, b);
}

/* A step of the merge: an alert of the set, an input, or both when they have the same labels. */
struct step {
    struct alert *alert;
    const struct alert_input *input;
};

struct merge {
    const struct alert_set *set;
    const struct alert_input *inputs;
    size_t n_inputs, at_alert, at_input;
};

static bool merge_next(struct merge *m, struct step *s)
{
    struct alert *a = m->at_alert < m->set->n ? m->set->items[m->at_alert] : NULL;
    const struct alert_input *in = m->at_input < m->n_inputs ? &m->inputs[m->at_input] : NULL;
    int order;

    if (!a && !in)
        return false;
    order = !a ? 1 : !in ? -1 : compare(a->hash, a->labels, in->hash, in->labels);
    *s = (struct step){ order <= 0 ? a : NULL, order >= 0 ? in : NULL };
    m->at_alert += order <= 0;
    m->at_input += order >= 0;
    return true;
}

/* What the first pass prepares for an input: a new alert, or new annotations of the one that is
 * there. */
struct fresh {
    struct alert *alert;
    struct labels annotations;
    bool annotations_differ;
};

static void free_fresh(struct fresh *fresh, size_t n)
{
    for (size_t i = 0; fresh && i < n; i++) {
        alert_free(fresh[i].alert);
        free_labels(fresh[i].annotations);
    }
    free(fresh);
}

/* An inactive alert whose condition is true again is a new one. */
static bool prepare_input(const struct step *s, const struct alert_timing *t, struct fresh *f)
{
    const struct alert_input *in = s->input;

    if (s->alert && is_active(s->alert)) {
        f->annotations_differ = !labels_equal(s->alert->annotations, in->annotations);
        return !f->annotations_differ || own_labels(in->annotations, &f->annotations);
    }
    f->alert = alert_new(&(struct alert){
        .hash = in->hash,
        .labels = in->labels,
        .annotations = in->annotations,
        .value = in->value,
        .state = ALERT_PENDING,
        .active_at_ms = t->t_ms,
        .changed = true,
    });
    return f->alert != NULL;
}

/* The first pass. */
static enum errc prepare(struct merge m, const struct alert_timing *t, struct fresh *fresh,
                         struct err *err)
{
    size_t n_active = 0;
    struct step s;

    while (merge_next(&m, &s)) {
        n_active += s.input || is_held(m.set, s.alert, t);
        if (s.input && !prepare_input(&s, t, &fresh[m.at_input - 1]))
            return err_set(err, ERR_NOMEM, 0, "no memory for alerts");
    }
    if (t->limit > 0 && n_active > t->limit)
        return err_set(err, ERR_LIMIT, 0, "exceeded limit of %u with %zu alerts", t->limit,
                       n_active);
    return OK;
}

/* The alert that stands for an input from now on. */
static struct alert *take_input(const struct step *s, struct fresh *f, const struct alert_timing *t)
{
    struct alert *a = s->alert;

    if (f->alert) {
        alert_free(a);
        a = f->alert;
        f->alert = NULL;
    } else if (f->annotations_differ) {
        free_labels(a->annotations);
        a->annotations = f->annotations;
        f->annotations = (struct labels){ 0 };
    }
    a->value = s->input->value;
    on_present(a, t);
    return a;
}

/* The second pass: fills items, returns how many there are. */
static size_t commit(struct alert_set *set, struct merge m, const struct alert_timing *t,
                     struct fresh *fresh, struct alert **items)
{
    size_t n = 0;
    struct step s;

    while (merge_next(&m, &s)) {
        if (s.input) {
            items[n++] = take_input(&s, &fresh[m.at_input - 1], t);
        } else if (on_absent(set, s.alert, t)) {
            items[n++] = s.alert;
        } else {
            set->removed[set->n_removed++] = s.alert->hash;
            alert_free(s.alert);
        }
    }
    return n;
}

enum errc alert_set_update(struct alert_set *set, const struct alert_input *inputs, size_t n,
                           const struct alert_timing *timing, struct err *err)
{
    struct merge m = { set, inputs, n, 0, 0 };
    struct fresh *fresh = calloc(n + 1, sizeof *fresh);
    struct alert **items = calloc(set->n + n + 1, sizeof *items);
    enum errc rc;

    if (!fresh || !items
        || !vec_reserve(&set->removed, &set->cap_removed, set->n_removed + set->n,
                        sizeof *set->removed))
        rc = err_set(err, ERR_NOMEM, 0, "no memory for alerts");
    else
        rc = prepare(m, timing, fresh, err);
    if (rc == OK) {
        size_t n_items = commit(set, m, timing, fresh, items);

        free(set->items);
        set->items = items;
        set->n = n_items;
        items = NULL;
    }
    free(items);
    free_fresh(fresh, n);
    return rc;
}

/* ---- after an update ---- */

enum errc alert_set_expire(struct alert_set *set, int64_t t_ms,
                           bool (*keep)(void *ctx, const struct alert *a), void *ctx)
{
    size_t n = 0;

    if (!vec_reserve(&set->removed, &set->cap_removed, set->n_removed + set->n,
                     sizeof *set->removed))
        return ERR_NOMEM;
    for (size_t i = 0; i < set->n; i++) {
        struct alert *a = set->items[i];

        if (is_active(a) || t_ms - a->resolved_at_ms <= RESOLVED_KEPT_MS
            || (keep && keep(ctx, a))) {
            set->items[n++] = a;
        } else {
            set->removed[set->n_removed++] = a->hash;
            alert_free(a);
        }
    }
    set->n = n;
    return OK;
}

bool alert_is_due(const struct alert *a, int64_t t_ms, int64_t resend_ms)
{
    if (a->state == ALERT_PENDING)
        return false;
    return a->resolved_at_ms > a->sent_at_ms || a->sent_at_ms == 0
           || t_ms - a->sent_at_ms > resend_ms;
}

enum errc alert_set_restore(struct alert_set *set, const struct alert *a)
{
    struct alert **items = realloc(set->items, (set->n + 1) * sizeof *items);
    struct alert *copy;
    size_t at = set->n;

    if (!items)
        return ERR_NOMEM;
    set->items = items;
    copy = alert_new(a);
    if (!copy)
        return ERR_NOMEM;
    copy->restored = true;
    copy->changed = false;
    copy->sent_at_ms = 0; /* nobody may have heard */
    for (; at > 0 && compare(items[at - 1]->hash, items[at - 1]->labels, a->hash, a->labels) > 0;
         at--)
        items[at] = items[at - 1];
    items[at] = copy;
    set->n++;
    return OK;
}

void alert_set_saved(struct alert_set *set)
{
    set->n_removed = 0;
    for (size_t i = 0; i < set->n; i++)
        set->items[i]->changed = false;
}

bool alert_set_changed(const struct alert_set *set)
{
    bool changed = set->n_removed > 0;

    for (size_t i = 0; i < set->n && !changed; i++)
        changed = set->items[i]->changed;
    return changed;
}

enum alert_state alert_set_state(const struct alert_set *set)
{
    enum alert_state worst = ALERT_INACTIVE;

    for (size_t i = 0; i < set->n; i++)
        if (set->items[i]->state > worst)
            worst = set->items[i]->state;
    return worst;
}
