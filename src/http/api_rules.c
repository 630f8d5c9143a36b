/* api_rules.c -- what rules there are and what they found; who is told.
 *
 * Shapes are those of Prometheus 3. A rule that was never evaluated is inactive, not "unknown":
 * Grafana knows only three states.
 */
#include <inttypes.h>
#include <stdio.h>

#include "alert/manager.h"
#include "alert/notifier.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/number.h"
#include "http/api_private.h"
#include "storage/labels_json.h"
#include "storage/matcher.h"

#include "base/banned.h"

/* ---- parameters ---- */

enum { TOKEN_BYTES = 17 };

struct rules_params {
    bool recording, alerting; /* which kinds are shown */
    bool exclude_alerts;
    uint64_t group_limit; /* UINT64_MAX: none */
    struct str token;     /* of the group to begin with; empty: the first */
    struct api_selectors selectors;
};

static bool read_type(const struct http_request *rq, struct http_response *rs,
                      struct rules_params *p)
{
    struct str type = http_param(rq, "type");
    struct buf b = { 0 };

    p->recording = type.len == 0 || str_is(type, "record");
    p->alerting = type.len == 0 || str_is(type, "alert");
    if (p->recording || p->alerting)
        return true;
    buf_text(&b, "not supported value ");
    print_quoted(&b, type);
    buf_u8(&b, 0);
    api_bad_param(rq, rs, "type", b.failed ? "not supported value" : (const char *)b.ptr);
    buf_free(&b);
    return false;
}

/* As Go's strconv.ParseBool does. */
static bool read_exclude(const struct http_request *rq, struct http_response *rs,
                         struct rules_params *p)
{
    static const struct {
        const char *text;
        bool value;
    } texts[] = {
        { "", false },      { "1", true },    { "t", true },      { "T", true },
        { "true", true },   { "True", true }, { "TRUE", true },   { "0", false },
        { "f", false },     { "F", false },   { "false", false }, { "False", false },
        { "FALSE", false },
    };
    struct str text = http_param(rq, "exclude_alerts");

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (str_is(text, texts[i].text)) {
            p->exclude_alerts = texts[i].value;
            return true;
        }
    api_bad_param(rq, rs, "exclude_alerts", "must be true or false");
    return false;
}

static bool read_page(const struct http_request *rq, struct http_response *rs,
                      struct rules_params *p)
{
    struct str limit = http_param(rq, "group_limit");
    int64_t n;

    p->token = http_param(rq, "group_next_token");
    p->group_limit = UINT64_MAX;
    if (limit.len == 0 && p->token.len > 0) {
        api_bad_param(rq, rs, "group_next_token",
                      "group_limit needs to be specified in order to paginate over the groups");
        return false;
    }
    if (limit.len == 0)
        return true;
    if (!number_parse_i64(limit, &n) || n <= 0) {
        api_bad_param(rq, rs, "group_limit", "group_limit needs to be a number greater than 0");
        return false;
    }
    p->group_limit = (uint64_t)n;
    return true;
}

/* False: rs has the error, and there is nothing to free. */
static bool read_params(const struct http_request *rq, struct http_response *rs,
                        struct rules_params *p)
{
    *p = (struct rules_params){ 0 };
    return read_type(rq, rs, p) && read_exclude(rq, rs, p) && read_page(rq, rs, p)
           && api_selectors_read(rq, rs, &p->selectors);
}

/* Whether text is among the values of a parameter, or there are none. */
static bool is_wanted(const struct http_request *rq, const char *name, struct str text)
{
    bool given = false;

    for (size_t i = 0; i < rq->params.n; i++) {
        if (!str_is(rq->params.items[i].name, name))
            continue;
        if (str_equal(rq->params.items[i].value, text))
            return true;
        given = true;
    }
    return !given;
}

/* A label that is a template has no value that could match. */
static bool selector_matches(const struct api_selector *s, struct labels ls)
{
    bool all = true;

    for (size_t i = 0; all && i < s->n; i++) {
        struct str value = labels_get(ls, s->matchers[i].name);
        enum errc rc = OK;

        if (value.len && memmem(value.ptr, value.len, "{{", 2))
            value.len = 0;
        all = matcher_matches(&s->matchers[i], value, &rc);
    }
    return all;
}

static bool rule_is_wanted(const struct http_request *rq, const struct rules_params *p,
                           const struct rule_status *rule)
{
    bool matches = p->selectors.n == 0;

    if (!(rule->kind == RULE_ALERTING ? p->alerting : p->recording)
        || !is_wanted(rq, "rule_name[]", rule->name))
        return false;
    for (size_t i = 0; !matches && i < p->selectors.n; i++)
        matches = selector_matches(&p->selectors.items[i], rule->labels);
    return matches;
}

/* ---- writing ---- */

static void add_seconds(struct buf *b, const char *name, double seconds)
{
    buf_printf(b, "\"%s\":", name);
    number_print(b, seconds, NUMBER_JSON);
}

static void add_time(struct buf *b, const char *name, int64_t t_ms)
{
    buf_printf(b, "\"%s\":", name);
    if (t_ms == 0)
        buf_text(b, "\"0001-01-01T00:00:00Z\"");
    else
        json_rfc3339(b, t_ms);
}

static void add_text(struct buf *b, const char *name, struct str text)
{
    buf_printf(b, "\"%s\":", name);
    json_string(b, text);
}

static void add_labels(struct buf *b, const char *name, struct labels ls)
{
    buf_printf(b, "\"%s\":", name);
    json_labels(b, ls);
}

static void add_alert(struct buf *b, const struct alert_status *a)
{
    buf_u8(b, '{');
    add_labels(b, "labels", a->labels);
    buf_u8(b, ',');
    add_labels(b, "annotations", a->annotations);
    buf_printf(b, ",\"state\":\"%s\",", alert_state_name(a->state));
    add_time(b, "activeAt", a->active_at_ms);
    if (a->keep_firing_since_ms) {
        buf_u8(b, ',');
        add_time(b, "keepFiringSince", a->keep_firing_since_ms);
    }
    buf_text(b, ",\"value\":\"");
    number_print(b, a->value, NUMBER_E);
    buf_text(b, "\"}");
}

/* Appends the alerts of a rule, with a comma before each but the first of the list. */
static void add_alerts(struct buf *b, const struct rule_status *rule, bool *first)
{
    for (size_t i = 0; i < rule->n_alerts; i++) {
        if (!*first)
            buf_u8(b, ',');
        *first = false;
        add_alert(b, &rule->alerts[i]);
    }
}

static void add_alerting_part(struct buf *b, const struct rule_status *rule, bool exclude_alerts)
{
    bool first = true;

    buf_printf(b, "\"state\":\"%s\",", alert_state_name(rule->state));
    add_text(b, "name", rule->name);
    buf_u8(b, ',');
    add_text(b, "query", rule->query);
    buf_u8(b, ',');
    add_seconds(b, "duration", (double)rule->for_ms / 1000);
    buf_u8(b, ',');
    add_seconds(b, "keepFiringFor", (double)rule->keep_firing_for_ms / 1000);
    buf_u8(b, ',');
    add_labels(b, "labels", rule->labels);
    buf_u8(b, ',');
    add_labels(b, "annotations", rule->annotations);
    buf_text(b, ",\"alerts\":");
    if (exclude_alerts) {
        buf_text(b, "null");
        return;
    }
    buf_u8(b, '[');
    add_alerts(b, rule, &first);
    buf_u8(b, ']');
}

static void add_recording_part(struct buf *b, const struct rule_status *rule)
{
    add_text(b, "name", rule->name);
    buf_u8(b, ',');
    add_text(b, "query", rule->query);
    buf_u8(b, ',');
    add_labels(b, "labels", rule->labels);
}

static void add_rule(struct buf *b, const struct rule_status *rule, bool exclude_alerts)
{
    buf_u8(b, '{');
    if (rule->kind == RULE_ALERTING)
        add_alerting_part(b, rule, exclude_alerts);
    else
        add_recording_part(b, rule);
    buf_printf(b, ",\"health\":\"%s\",", rule_health_name(rule->health));
    if (rule->last_error.len > 0) {
        add_text(b, "lastError", rule->last_error);
        buf_u8(b, ',');
    }
    add_seconds(b, "evaluationTime", rule->evaluation_seconds);
    buf_u8(b, ',');
    add_time(b, "lastEvaluation", rule->last_evaluation_ms);
    buf_printf(b, ",\"type\":\"%s\"}", rule->kind == RULE_ALERTING ? "alerting" : "recording");
}

/* The rules that are wanted; nothing, and false, when there are none. */
static bool add_group(struct buf *b, const struct http_request *rq, const struct rules_params *p,
                      const struct group_status *g)
{
    size_t at = b->len;
    bool any = false;

    buf_u8(b, '{');
    add_text(b, "name", g->name);
    buf_u8(b, ',');
    add_text(b, "file", g->file);
    buf_text(b, ",\"rules\":[");
    for (size_t i = 0; i < g->n_rules; i++) {
        if (!rule_is_wanted(rq, p, &g->rules[i]))
            continue;
        if (any)
            buf_u8(b, ',');
        any = true;
        add_rule(b, &g->rules[i], p->exclude_alerts);
    }
    if (!any) {
        b->len = at;
        return false;
    }
    buf_text(b, "],");
    add_seconds(b, "interval", (double)g->interval_ms / 1000);
    buf_printf(b, ",\"limit\":%" PRIu32 ",", g->limit);
    add_seconds(b, "evaluationTime", g->evaluation_seconds);
    buf_u8(b, ',');
    add_time(b, "lastEvaluation", g->last_evaluation_ms);
    buf_u8(b, '}');
    return true;
}

/* ---- /api/v1/rules ---- */

/* A group's name for paging: the same as long as file and name are. */
static void make_token(const struct group_status *g, char out[TOKEN_BYTES])
{
    struct buf b = { 0 };

    buf_str(&b, g->file);
    buf_u8(&b, ';');
    buf_str(&b, g->name);
    snprintf(out, TOKEN_BYTES, "%016" PRIx64, hash64(b.ptr, b.len));
    buf_free(&b);
}

/* A copy of everything that is known of rules; zeroed without rules. */
struct view {
    struct arena *arena;
    struct group_status *groups;
    size_t n;
};

/* False: rs has the error, and there is nothing to free. */
static bool view_open(const struct api *api, struct http_response *rs, struct view *v)
{
    struct rule_manager *m = atomic_load(&api->rules);
    struct err err;
    enum errc rc;

    *v = (struct view){ 0 };
    if (!m)
        return true;
    v->arena = arena_new(API_MAX_RULES_BYTES);
    err = err_in(v->arena);
    rc = v->arena ? rule_manager_status(m, v->arena, &v->groups, &v->n, &err) : ERR_NOMEM;
    if (rc == OK)
        return true;
    api_error(rs, rc, v->arena ? err_text(&err) : errc_text(rc));
    arena_free(v->arena);
    return false;
}

static void view_close(struct view *v)
{
    arena_free(v->arena);
}

/* The group that a page begins with; n when there is none. */
static size_t find_token(const struct group_status *groups, size_t n, struct str token)
{
    size_t i = 0;

    for (; token.len > 0 && i < n; i++) {
        char own[TOKEN_BYTES];

        make_token(&groups[i], own);
        if (str_is(token, own))
            break;
    }
    return i;
}

static void add_groups(struct buf *b, const struct http_request *rq, const struct rules_params *p,
                       const struct group_status *groups, size_t n)
{
    size_t i = find_token(groups, n, p->token);
    uint64_t n_shown = 0;
    char token[TOKEN_BYTES];

    buf_text(b, "{\"groups\":[");
    for (; i < n && n_shown < p->group_limit; i++) {
        size_t comma = b->len;

        if (!is_wanted(rq, "rule_group[]", groups[i].name)
            || !is_wanted(rq, "file[]", groups[i].file))
            continue;
        if (n_shown > 0)
            buf_u8(b, ',');
        if (add_group(b, rq, p, &groups[i]))
            n_shown++;
        else
            b->len = comma;
    }
    buf_u8(b, ']');
    if (i < n) {
        make_token(&groups[i], token);
        buf_printf(b, ",\"groupNextToken\":\"%s\"", token);
    }
    buf_u8(b, '}');
}

void api_rules(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    struct rules_params p;
    struct view v;

    if (!read_params(rq, rs, &p))
        return;
    if (view_open(ctx, rs, &v)) {
        if (p.token.len > 0 && find_token(v.groups, v.n, p.token) == v.n) {
            api_bad_param(rq, rs, "group_next_token",
                          "no group has this token. were rule groups changed?");
        } else {
            api_begin(rs);
            add_groups(&rs->body, rq, &p, v.groups, v.n);
            api_end(&rs->body, &(struct api_notes){ 0 });
        }
        view_close(&v);
    }
    api_selectors_free(&p.selectors);
}

/* ---- /api/v1/alerts, /api/v1/alertmanagers ---- */

void api_alerts(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    bool first = true;
    struct view v;

    (void)rq;
    if (!view_open(ctx, rs, &v))
        return;
    api_begin(rs);
    buf_text(&rs->body, "{\"alerts\":[");
    for (size_t i = 0; i < v.n; i++)
        for (size_t k = 0; k < v.groups[i].n_rules; k++)
            add_alerts(&rs->body, &v.groups[i].rules[k], &first);
    buf_text(&rs->body, "]}");
    api_end(&rs->body, &(struct api_notes){ 0 });
    view_close(&v);
}

void api_alertmanagers(void *ctx, const struct http_request *rq, struct http_response *rs)
{
    const struct api *api = ctx;
    struct notifier *notifier = atomic_load(&api->notifier);
    struct alertmanager_status *items = NULL;
    struct err err = err_in(rq->arena);
    size_t n = 0;

    if (notifier && notifier_status(notifier, rq->arena, &items, &n, &err) != OK) {
        api_error(rs, ERR_LIMIT, err_text(&err));
        return;
    }
    api_begin(rs);
    buf_text(&rs->body, "{\"activeAlertmanagers\":[");
    for (size_t i = 0; i < n; i++) {
        buf_text(&rs->body, i ? ",{" : "{");
        add_text(&rs->body, "url", items[i].url);
        buf_u8(&rs->body, '}');
    }
    buf_text(&rs->body, "],\"droppedAlertmanagers\":[]}");
    api_end(&rs->body, &(struct api_notes){ 0 });
}
