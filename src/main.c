/* main.c -- options, start, wait, stop: the only place that wires the parts together. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "alert/check.h"
#include "base/arena.h"
#include "base/log.h"
#include "http/api.h"
#include "http/server.h"
#include "options.h"
#include "storage/db.h"

#include "base/banned.h"

enum { EXIT_USAGE = 2, STOP_GRACE_MS = 10000 };

static enum errc start_http(const struct options *o, const struct api *api,
                            struct http_server **server, struct listener *listener, struct err *err)
{
    struct http_server_options so = http_server_options_default();
    enum errc rc = listen_open(o->listen_address, listener, err);

    if (rc)
        return rc;
    so.service = api_service(api);
    so.listener = *listener;
    so.n_workers[HTTP_QUERY] = (size_t)o->query_max_concurrency;
    rc = http_server_start(&so, server, err);
    if (rc)
        close(listener->fd);
    return rc;
}

static enum errc open_store(const struct options *o, struct db **db, struct err *err)
{
    struct db_options d = db_options_default();

    d.dir = o->data_dir;
    d.retention_ms = o->retention_ms;
    d.flush_interval_ms = o->flush_interval_ms;
    d.head_bytes = (size_t)o->head_bytes;
    d.map_bytes = (size_t)o->map_bytes;
    return db_open(&d, db, err);
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

static void wait_for_stop(const sigset_t *set)
{
    int got = 0;

    do {
        if (sigwait(set, &got) == 0 && got == SIGHUP)
            log_info("there is no configuration to reload", "signal=SIGHUP");
    } while (got != SIGTERM && got != SIGINT);
    log_info("stopping", "signal=%s", got == SIGTERM ? "SIGTERM" : "SIGINT");
    pthread_sigmask(SIG_UNBLOCK, set, NULL); /* a second one ends us at once */
}

static void complain(const struct err *err, const char *hint)
{
    fprintf(stderr, "tidemark: %s\ntidemark: %s\n", err_text(err), hint);
}

/* Listens before the store is open, so that who asks meanwhile is told to wait (503). */
static int run(const struct options *o, const struct api_options *ao, struct err *err)
{
    struct api *api = api_new(ao);
    struct http_server *server = NULL;
    struct listener listener;
    struct db *db = NULL;
    sigset_t signals;
    enum errc rc;
    int status = EXIT_FAILURE;

    if (!api) {
        fprintf(stderr, "tidemark: out of memory\n");
        return EXIT_FAILURE;
    }
    block_signals(&signals);
    rc = start_http(o, api, &server, &listener, err);
    if (rc) {
        complain(err, "another address can be chosen with --web.listen-address");
        goto done;
    }
    log_info("starting", "version=%s path=\"%s\" url=%s", ao->version, o->data_dir, listener.url);
    rc = open_store(o, &db, err);
    if (rc) {
        complain(err, "another directory can be chosen with --storage.tsdb.path");
        goto done;
    }
    api_set_db(api, db);
    log_info("ready", "url=%s", listener.url);
    wait_for_stop(&signals);
    status = EXIT_SUCCESS;
done:
    http_server_stop(server, STOP_GRACE_MS);
    db_close(db);
    api_free(api);
    if (status == EXIT_SUCCESS)
        log_info("stopped", "url=%s", listener.url);
    return status;
}

static int serve(const struct options *o, struct err *err)
{
    struct api_options ao = api_options_default();
    struct api_flag flags[OPTIONS_MAX_FLAGS];

    log_set_level(o->log_level);
    for (size_t i = 0; i < o->n_flags; i++)
        flags[i] = (struct api_flag){ o->flags[i].name, o->flags[i].value };
    ao.version = TIDEMARK_VERSION;
    ao.query_timeout_ms = o->query_timeout_ms;
    ao.query_max_samples = (uint64_t)o->query_max_samples;
    ao.lookback_ms = o->lookback_ms;
    ao.retention_ms = o->retention_ms;
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
