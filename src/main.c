/* main.c -- options, start, wait, stop: the only place that wires the parts together. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "alert/alerting.h"
#include "alert/check.h"
#include "alert/config.h"
#include "base/arena.h"
#include "base/diag.h"
#include "base/log.h"
#include "collect/push_groups.h"
#include "data_tools.h"
#include "http/api.h"
#include "http/grpc.h"
#include "http/server.h"
#include "options.h"
#include "storage/db.h"

#include "base/banned.h"

enum { EXIT_USAGE = 2, MAX_CONNECTIONS = 1000000, STOP_GRACE_MS = 10000, NOTIFY_GRACE_MS = 5000 };

/* What runs. A reload may be asked for by a request before there are rules. */
struct program {
    const struct options *options;
    struct api *api;
    struct http_server *server;
    struct listener listener;
    struct db *db;
    struct push_groups *push_groups;
    struct grpc_server *grpc; /* NULL: off */
    _Atomic(struct alerting *) alerting;
};

/* As many files and connections as the system lets us have: the usual soft limit of 1,024 is there
 * for programs that use select(). */
static void raise_file_limit(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            log_warn("the limit of open files stays as it is", "err=\"%s\"", strerror(errno));
    }
}

static enum errc start_http(const struct options *o, const struct api *api,
                            struct http_server **server, struct listener *listener, struct err *err)
{
    struct http_server_options so = http_server_options_default();
    enum errc rc = listen_open(o->listen_address, listener, err);

    if (rc)
        return rc;
    so.service = api_service(api);
    so.listener = *listener;
    so.max_connections =
        o->max_connections < MAX_CONNECTIONS ? (size_t)o->max_connections : MAX_CONNECTIONS;
    if (so.max_connections < so.n_io_threads)
        so.max_connections = so.n_io_threads; /* each takes its share of them */
    so.n_workers[HTTP_QUERY] = (size_t)o->query_max_concurrency;
    rc = http_server_start(&so, server, err);
    if (rc)
        close(listener->fd);
    return rc;
}

/* The limits of the configuration file count from the start on. What is wrong with the file is told
 * by alerting_start(), which ends the program then. */
static void read_limits(const struct options *o, struct db_options *d)
{
    struct arena *arena = arena_new(0);
    struct diags diags = { .arena = arena };
    struct config *c = NULL;

    if (arena && o->config_file && config_load(o->config_file, &c, &diags) == OK) {
        d->series_limit = c->series_limit;
        d->label_limits = c->label_limits;
    }
    config_free(c);
    arena_free(arena);
}

static enum errc start_grpc(struct program *p, struct err *err)
{
    struct grpc_options o = grpc_options_default();
    enum errc rc;

    if (!p->options->grpc_address)
        return OK;
    rc = listen_open(p->options->grpc_address, &o.listener, err);
    if (rc)
        return rc;
    o.methods = api_grpc_methods(&o.n_methods);
    o.ctx = p->api;
    rc = grpc_server_start(&o, &p->grpc, err);
    if (rc)
        close(o.listener.fd);
    return rc;
}

static enum errc open_store(const struct options *o, struct db **db, struct err *err)
{
    struct db_options d = db_options_default();

    d.dir = o->data_dir;
    d.retention_ms = o->retention_ms;
    d.retention_bytes = (uint64_t)o->retention_bytes;
    d.flush_interval_ms = o->flush_interval_ms;
    d.head_bytes = (size_t)o->head_bytes;
    d.map_bytes = (size_t)o->map_bytes;
    read_limits(o, &d);
    return db_open(&d, db, err);
}

static bool on_config(void *ctx, const struct config *c)
{
    struct program *p = ctx;
    struct config_otlp defaults = config_otlp_default();

    return api_set_otlp_config(p->api, c ? &c->otlp : &defaults);
}

static enum errc start_alerting(struct program *p, struct err *err)
{
    const struct options *o = p->options;
    struct alerting_options a = alerting_options_default(p->db);
    struct alerting *alerting;
    enum errc rc;

    a.query.lookback_ms = o->lookback_ms;
    a.query.timeout_ms = o->query_timeout_ms;
    a.query.max_samples = (uint64_t)o->query_max_samples;
    a.config_file = o->config_file;
    a.rule_files = o->rule_files.items;
    a.n_rule_files = o->rule_files.n;
    a.alertmanager_urls = o->alertmanager_urls.items;
    a.n_alertmanager_urls = o->alertmanager_urls.n;
    a.external_url = str_from(o->external_url ? o->external_url : p->listener.url);
    a.resend_delay_ms = o->resend_delay_ms;
    a.on_config = on_config;
    a.on_config_ctx = p;
    rc = alerting_start(&a, &alerting, err);
    if (rc)
        return rc;
    atomic_store(&p->alerting, alerting);
    api_set_alerting(p->api, alerting);
    return OK;
}

static enum errc start_push_groups(struct program *p, struct err *err)
{
    struct push_groups_options o = push_groups_options_default(p->db);
    enum errc rc;

    o.interval_ms = p->options->push_interval_ms;
    o.ttl_ms = p->options->push_ttl_ms;
    rc = push_groups_new(&o, &p->push_groups, err);
    if (rc == OK)
        rc = push_groups_start(p->push_groups, err);
    if (rc == OK)
        api_set_push_groups(p->api, p->push_groups);
    return rc;
}

static enum errc reload(void *ctx, struct err *err)
{
    struct program *p = ctx;
    struct alerting *alerting = atomic_load(&p->alerting);
    enum errc rc;

    if (!alerting)
        return err_set(err, ERR_UNAVAILABLE, 0, "the server is starting");
    rc = alerting_reload(alerting, err);
    if (rc)
        log_error("reload failed; everything goes on as before", "err=\"%s\"", err_text(err));
    return rc;
}

/* The same as SIGTERM from outside. */
static void quit(void *ctx)
{
    (void)ctx;
    kill(getpid(), SIGTERM);
}

/* Stop signals are taken by wait_for_stop() alone; every thread inherits that they are blocked. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void reload_on_signal(struct program *p)
{
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);

    (void)!reload(p, &err); /* it has been logged */
    arena_free(arena);
}

static void wait_for_stop(struct program *p, const sigset_t *set)
{
    int got = 0;

    do {
        if (sigwait(set, &got) == 0 && got == SIGHUP)
            reload_on_signal(p);
    } while (got != SIGTERM && got != SIGINT);
    log_info("stopping", "signal=%s", got == SIGTERM ? "SIGTERM" : "SIGINT");
    pthread_sigmask(SIG_UNBLOCK, set, NULL); /* a second one ends us at once */
}

static void complain(const struct err *err, const char *hint)
{
    fprintf(stderr, "tidemark: %s\ntidemark: %s\n", err_text(err), hint);
}

/* Listens before the store is open, so that who asks meanwhile is told to wait (503). */
static enum errc start(struct program *p, const struct api_options *ao, struct err *err)
{
    const struct options *o = p->options;
    enum errc rc = start_http(o, p->api, &p->server, &p->listener, err);

    if (rc) {
        complain(err, "another address can be chosen with --web.listen-address");
        return rc;
    }
    rc = start_grpc(p, err);
    if (rc) {
        complain(err, "another address can be chosen with --otlp.grpc-listen-address");
        return rc;
    }
    log_info("starting", "version=%s path=\"%s\" url=%s", ao->version, o->data_dir,
             p->listener.url);
    rc = open_store(o, &p->db, err);
    if (rc) {
        complain(err, "another directory can be chosen with --storage.tsdb.path");
        return rc;
    }
    rc = start_push_groups(p, err);
    if (rc) {
        complain(err, "the groups that jobs have pushed cannot be read");
        return rc;
    }
    rc = start_alerting(p, err);
    if (rc)
        complain(err,
                 "rules come from --rules and --config.file; tidemark check rules FILE checks");
    else
        api_set_db(p->api, p->db); /* not before it is known how to translate what comes */
    return rc;
}

/* Rules end after the last request that could look at them, and before the store. */
static int run(const struct options *o, struct api_options *ao, struct err *err)
{
    struct program p = { .options = o };
    int status = EXIT_FAILURE;
    sigset_t signals;

    ao->reload = reload;
    ao->quit = quit;
    ao->reload_ctx = &p;
    p.api = api_new(ao);
    if (!p.api) {
        fprintf(stderr, "tidemark: out of memory\n");
        return EXIT_FAILURE;
    }
    block_signals(&signals);
    if (start(&p, ao, err) == OK) {
        log_info("ready", "url=%s", p.listener.url);
        wait_for_stop(&p, &signals);
        status = EXIT_SUCCESS;
    }
    grpc_server_stop(p.grpc, STOP_GRACE_MS);
    http_server_stop(p.server, STOP_GRACE_MS);
    alerting_stop(p.alerting, NOTIFY_GRACE_MS);
    push_groups_stop(p.push_groups);
    push_groups_free(p.push_groups);
    db_close(p.db);
    api_free(p.api);
    if (status == EXIT_SUCCESS)
        log_info("stopped", "url=%s", p.listener.url);
    return status;
}

static int serve(const struct options *o, struct err *err)
{
    struct api_options ao = api_options_default();
    struct api_flag flags[OPTIONS_MAX_FLAGS];

    log_set_level(o->log_level);
    raise_file_limit();
    for (size_t i = 0; i < o->n_flags; i++)
        flags[i] = (struct api_flag){ o->flags[i].name, o->flags[i].value };
    ao.version = TIDEMARK_VERSION;
    ao.query_timeout_ms = o->query_timeout_ms;
    ao.query_max_samples = (uint64_t)o->query_max_samples;
    ao.lookback_ms = o->lookback_ms;
    ao.read_max_samples = (uint64_t)o->read_max_samples;
    ao.retention_ms = o->retention_ms;
    ao.enable_lifecycle = o->enable_lifecycle;
    ao.enable_admin = o->enable_admin;
    ao.flags = flags;
    ao.n_flags = o->n_flags;
    return run(o, &ao, err);
}

static int help(void)
{
    struct buf b = { 0 };

    options_print_help(&b);
    printf("%.*s", STR_ARG(buf_as_str(&b)));
    buf_free(&b);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct arena *arena;
    struct err err;
    struct options o;
    int status = EXIT_SUCCESS;

    if (argc > 1 && strcmp(argv[1], "check") == 0)
        return check_main(argc - 1, argv + 1);
    if (argc > 1 && data_tools_has(argv[1]))
        return data_tools_main(argc - 1, argv + 1);
    arena = arena_new(0);
    err = err_in(arena);
    if (options_parse(argc, argv, &o, &err)) {
        fprintf(stderr, "tidemark: %s\n", err_text(&err));
        status = EXIT_USAGE;
    } else if (o.command == COMMAND_HELP) {
        status = help();
    } else if (o.command == COMMAND_VERSION) {
        printf("tidemark %s\n", TIDEMARK_VERSION);
    } else {
        status = serve(&o, &err);
    }
    arena_free(arena);
    return status;
}
