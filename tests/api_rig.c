#include "api_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "db_tools.h"
#include "http/server.h"

#include "base/banned.h"

static int64_t fixed_wall_ms(void *ctx)
{
    (void)ctx;
    return RIG_NOW_S * 1000LL;
}

static const struct clock fixed_clock = { fixed_wall_ms, fixed_wall_ms, NULL };

struct api_options rig_options(void)
{
    struct api_options o = api_options_default();

    o.version = "1.2.3";
    o.clock = &fixed_clock;
    return o;
}

struct api_rig *rig_new(const struct api_options *options, bool store)
{
    struct api_rig *rig = calloc(1, sizeof *rig);
    struct http_server_options so = http_server_options_default();
    struct db_options o = db_options_default();

    o.clock = &fixed_clock;
    rig->api = api_new(options);
    so.service = api_service(rig->api);
    assert_int_equal(listen_open("127.0.0.1:0", &so.listener, NULL), OK);
    assert_int_equal(http_server_start(&so, &rig->server, NULL), OK);
    rig->port = so.listener.port;
    if (store) {
        assert_int_equal(db_open(&o, &rig->db, NULL), OK);
        api_set_db(rig->api, rig->db);
    }
    return rig;
}

void rig_free(struct api_rig *rig)
{
    http_server_stop(rig->server, 5000);
    db_close(rig->db);
    api_free(rig->api);
    free(rig);
}

int rig_setup(void **state)
{
    struct api_options o = rig_options();

    *state = rig_new(&o, true);
    return 0;
}

int rig_teardown(void **state)
{
    rig_free(*state);
    return 0;
}

void rig_append(struct api_rig *rig, const char *series, int64_t ago_ms, double v)
{
    struct sample s = { RIG_NOW_S * 1000LL - ago_ms, v };

    assert_true(append_series(rig->db, series, &s, 1, NULL));
}

void rig_get(struct api_rig *rig, const char *target, int status, const char *type,
             const char *body)
{
    struct answer a = client_get(rig->port, target);

    if (body)
        assert_string_equal(answer_text(&a), body);
    assert_int_equal(a.status, status);
    if (type)
        assert_string_equal(answer_header(&a, "Content-Type"), type);
    answer_free(&a);
}
