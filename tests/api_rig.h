/* api_rig.h -- a whole server with the API over a store in memory, at a fixed time. */
#pragma once

#include <stdint.h>

#include "http/api.h"
#include "http_client.h"
#include "storage/db.h"

enum { RIG_NOW_S = 1700000000 };

struct api_rig {
    struct api *api;
    struct db *db;
    struct http_server *server;
    uint16_t port;
};

/* Options that say version 1.2.3 and the fixed time. */
struct api_options rig_options(void);

/* Starts it; store false: the server is still starting and answers 503. Ends with rig_free(). */
struct api_rig *rig_new(const struct api_options *options, bool store);
void rig_free(struct api_rig *rig);

/* cmocka's set-up and tear-down: *state is the rig, with a store. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* Stores v for "name a=x b=y", ago_ms before the fixed time. */
void rig_append(struct api_rig *rig, const char *series, int64_t ago_ms, double v);

/* A GET whose answer must have this status and, unless NULL, this body; the media type is checked
 * unless NULL. */
void rig_get(struct api_rig *rig, const char *target, int status, const char *type,
             const char *body);

#define RIG_SUCCESS(data) "{\"status\":\"success\",\"data\":" data "}"
#define RIG_BAD_DATA(text)                                                                         \
    "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" text "\"}"
