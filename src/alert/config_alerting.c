/* config_alerting.c -- which Alertmanagers there are, and how they are reached.
 *
 * Every target of every static_configs is an Alertmanager of its own, with what its entry says.
 */
#include "alert/config_private.h"
#include "base/arena.h"
#include "base/fs.h"

#include "base/banned.h"

enum { DEFAULT_TIMEOUT_MS = 10000, MAX_SECRET_BYTES = 64 << 10 };

static const struct config_key alerting_keys[] = {
    { "alertmanagers", NULL },
    { "alert_relabel_configs", "alerts are sent with the labels they have" },
    { NULL, NULL },
};

static const struct config_key alertmanager_keys[] = {
    { "static_configs", NULL },
    { "scheme", NULL },
    { "path_prefix", NULL },
    { "timeout", NULL },
    { "api_version", NULL },
    { "basic_auth", NULL },
    { "authorization", NULL },
    { "alert_relabel_configs", "alerts are sent with the labels they have" },
    { "relabel_configs", "targets are taken as they are" },
    { "bearer_token", "use authorization" },
    { "bearer_token_file", "use authorization" },
    { "tls_config", CONFIG_UNSUPPORTED },
    { "oauth2", CONFIG_UNSUPPORTED },
    { "sigv4", CONFIG_UNSUPPORTED },
    { "azuread", CONFIG_UNSUPPORTED },
    { "google_iam", CONFIG_UNSUPPORTED },
    { "proxy_url", CONFIG_UNSUPPORTED },
    { "no_proxy", CONFIG_UNSUPPORTED },
    { "proxy_from_environment", CONFIG_UNSUPPORTED },
    { "proxy_connect_header", CONFIG_UNSUPPORTED },
    { "follow_redirects", CONFIG_UNSUPPORTED },
    { "enable_http2", CONFIG_UNSUPPORTED },
    { "http_headers", CONFIG_UNSUPPORTED },
    { NULL, NULL },
};

static const struct config_key static_keys[] = {
    { "targets", NULL },
    { "labels", "labels of targets are used by relabel_configs only" },
    { NULL, NULL },
};

static const struct config_key basic_auth_keys[] = {
    { "username", NULL }, { "username_file", NULL },
    { "password", NULL }, { "password_file", NULL },
    { NULL, NULL },
};

static const struct config_key authorization_keys[] = {
    { "type", NULL },
    { "credentials", NULL },
    { "credentials_file", NULL },
    { NULL, NULL },
};

/* ---- who we are ---- */

static struct str trimmed(struct str s)
{
    while (s.len > 0 && memchr(" \t\r\n", s.ptr[s.len - 1], 4))
        s.len--;
    while (s.len > 0 && memchr(" \t\r\n", *s.ptr, 4))
        s = (struct str){ s.ptr + 1, s.len - 1 };
    return s;
}

static struct str keep(struct config_reading *r, struct str s)
{
    const char *kept = config_keep(r, s);

    return (struct str){ kept, kept ? s.len : 0 };
}

static struct str read_secret_file(struct config_reading *r, const struct yaml_node *at)
{
    const char *path = config_path(r, at->text);
    struct err err = err_in(r->f.d->arena);
    struct str secret = { 0 };
    struct buf b = { 0 };

    if (path && fs_read_file(path, MAX_SECRET_BYTES, &b, &err) == OK)
        secret = keep(r, trimmed(buf_as_str(&b)));
    else if (path)
        fields_fault(&r->f, at, "%s", err_text(&err));
    buf_free(&b);
    return secret;
}

/* The value of a field, or what is in the file that NAME_file names. */
static struct str read_secret(struct config_reading *r, const struct yaml_node *map,
                              const char *name)
{
    struct str value = field_str(&r->f, map, name);
    char file_name[32] = { 0 };
    struct yaml_node *file;

    ASSERT(strlen(name) + sizeof "_file" <= sizeof file_name);
    memcpy(file_name, name, strlen(name));
    memcpy(file_name + strlen(name), "_file", sizeof "_file");
    file = field_of(&r->f, map, file_name, YAML_SCALAR);
    if (value.len > 0 && file)
        fields_fault(&r->f, file, "at most one of %s & %s must be configured", name, file_name);
    return file ? read_secret_file(r, file) : keep(r, value);
}

static void read_basic_auth(struct config_reading *r, const struct yaml_node *map,
                            struct alertmanager *am)
{
    config_check_keys(r, map, basic_auth_keys, "config.BasicAuth");
    am->user = read_secret(r, map, "username");
    am->password = read_secret(r, map, "password");
    if (am->user.len == 0 && r->rc == OK)
        fields_fault(&r->f, map, "basic_auth needs a username");
    if (am->user.len > 0 && memchr(am->user.ptr, ':', am->user.len))
        fields_fault(&r->f, yaml_get(map, "username", NULL) ? yaml_get(map, "username", NULL) : map,
                     "a username must not contain a colon");
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20)
            return true;
    }
    return false;
}

static void read_authorization(struct config_reading *r, const struct yaml_node *map,
                               struct alertmanager *am)
{
    struct str type = field_str(&r->f, map, "type");
    struct str credentials = read_secret(r, map, "credentials");
    const char *value;

    config_check_keys(r, map, authorization_keys, "config.Authorization");
    if (type.len == 0)
        type = STR("Bearer");
    if (type.len == 5 && strncasecmp(type.ptr, "basic", 5) == 0)
        fields_fault(&r->f, map,
                     "authorization type cannot be set to \"basic\", use \"basic_auth\" instead");
    else if (credentials.len == 0 && r->rc == OK)
        fields_fault(&r->f, map, "authorization needs credentials");
    else if (has_control(type) || has_control(credentials))
        fields_fault(&r->f, map, "authorization must be one line");
    value = arena_printf(r->c->arena, "%.*s %.*s", STR_ARG(type), STR_ARG(credentials));
    if (!value)
        r->rc = ERR_NOMEM;
    am->authorization = str_from(value);
}

/* ---- where they are ---- */

static bool target_is_valid(struct str target)
{
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.ptr[i];

        if (c <= ' ' || c >= 0x7f || strchr("/?#@\\", c))
            return false;
    }
    return target.len > 0;
}

/* Adds the Alertmanager at a target. prefix: scheme and path, with room for the target between. */
static void add_target(struct config_reading *r, const struct yaml_node *target,
                       struct alertmanager am, const struct str prefix[2])
{
    struct config *c = r->c;
    struct alertmanager *items;
    const char *url;
    size_t n = c->n_alertmanagers;

    if (!fields_is(&r->f, target, YAML_SCALAR, "a target"))
        return;
    if (!target_is_valid(target->text)) {
        fields_fault(&r->f, target, "\"%.*s\" is not a valid hostname", STR_ARG(target->text));
        return;
    }
    url = arena_printf(c->arena, "%.*s://%.*s%s%.*s", STR_ARG(prefix[0]), STR_ARG(target->text),
                       prefix[1].len > 0 ? "/" : "", STR_ARG(prefix[1]));
    items = url && (n & (n - 1)) == 0 /* room doubles at powers of two */
                ? arena_grow(c->arena, c->alertmanagers, n * sizeof am, (2 * n + 1) * sizeof am)
                : c->alertmanagers;
    if (!url || !items) {
        r->rc = ERR_NOMEM;
        return;
    }
    am.url = str_from(url);
    c->alertmanagers = items;
    c->alertmanagers[c->n_alertmanagers++] = am;
}

static void read_static_configs(struct config_reading *r, const struct yaml_node *list,
                                struct alertmanager am, const struct str prefix[2])
{
    for (size_t i = 0; i < list->n && r->rc == OK; i++) {
        struct yaml_node *group = list->items[i], *targets;

        if (!fields_is(&r->f, group, YAML_MAPPING, "a static config"))
            continue;
        config_check_keys(r, group, static_keys, "targetgroup.Group");
        targets = field_of(&r->f, group, "targets", YAML_SEQUENCE);
        for (size_t k = 0; targets && k < targets->n && r->rc == OK; k++)
            add_target(r, targets->items[k], am, prefix);
    }
}

static struct str read_scheme(const struct config_reading *r, const struct yaml_node *map)
{
    struct str scheme = field_str(&r->f, map, "scheme");

    if (scheme.len == 0)
        return STR("http");
    if (!str_is(scheme, "http") && !str_is(scheme, "https"))
        fields_fault(&r->f, yaml_get(map, "scheme", NULL), "field 'scheme' must be http or https");
    return scheme;
}

/* The path without slashes at its ends. */
static struct str read_path(const struct config_reading *r, const struct yaml_node *map)
{
    struct str path = field_str(&r->f, map, "path_prefix");

    while (str_starts_with(path, STR("/")))
        path = (struct str){ path.ptr + 1, path.len - 1 };
    while (str_ends_with(path, STR("/")))
        path.len--;
    for (size_t i = 0; i < path.len; i++) {
        if ((unsigned char)path.ptr[i] > ' ' && !strchr("?#", path.ptr[i]))
            continue;
        fields_fault(&r->f, yaml_get(map, "path_prefix", NULL), "field 'path_prefix' is no path");
        break;
    }
    return path;
}

static void read_alertmanager(struct config_reading *r, const struct yaml_node *map)
{
    struct alertmanager am = { .timeout_ms = 0 };
    struct str prefix[2] = { read_scheme(r, map), read_path(r, map) };
    struct str version = field_str(&r->f, map, "api_version");
    struct yaml_node *basic = field_of(&r->f, map, "basic_auth", YAML_MAPPING);
    struct yaml_node *authorization = field_of(&r->f, map, "authorization", YAML_MAPPING);
    struct yaml_node *targets = field_of(&r->f, map, "static_configs", YAML_SEQUENCE);

    config_check_keys(r, map, alertmanager_keys, "config.AlertmanagerConfig");
    am.timeout_ms = field_duration(&r->f, map, "timeout", DEFAULT_TIMEOUT_MS);
    if (am.timeout_ms <= 0)
        fields_fault(&r->f, yaml_get(map, "timeout", NULL), "field 'timeout' must be above 0");
    if (version.len > 0 && !str_is(version, "v2"))
        fields_fault(&r->f, yaml_get(map, "api_version", NULL),
                     "expected Alertmanager api version to be one of [v2] but got %.*s",
                     STR_ARG(version));
    if (basic && authorization)
        fields_fault(&r->f, authorization,
                     "at most one of basic_auth & authorization must be configured");
    if (basic)
        read_basic_auth(r, basic, &am);
    if (authorization)
        read_authorization(r, authorization, &am);
    if (targets)
        read_static_configs(r, targets, am, prefix);
    else
        fields_warn(&r->f, map, "an Alertmanager without static_configs is nobody");
}

void config_read_alerting(struct config_reading *r, const struct yaml_node *map)
{
    struct yaml_node *list;

    config_check_keys(r, map, alerting_keys, "config.AlertingConfig");
    list = field_of(&r->f, map, "alertmanagers", YAML_SEQUENCE);
    for (size_t i = 0; list && i < list->n && r->rc == OK; i++) {
        if (fields_is(&r->f, list->items[i], YAML_MAPPING, "an Alertmanager"))
            read_alertmanager(r, list->items[i]);
    }
}
