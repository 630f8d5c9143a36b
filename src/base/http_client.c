/* http_client.c -- one easy handle inside a multi handle of its own: curl_easy_perform() would look
 * at a cancellation once a second only, curl_multi_poll() waits as long as we say. The multi handle
 * keeps the connection, so it lives as long as the client.
 *
 * An answer is complete for us once max_answer_bytes have come: the rest is not waited for, and the
 * connection is closed.
 */
#include "base/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/banned.h"

enum {
    CANCEL_CHECK_MS = 50,
    MAX_URL_BYTES = 2048,
};

struct http_client {
    CURLM *multi;
    CURL *easy;
    char *authorization; /* the whole header, or NULL */
    const atomic_bool *cancel;
    size_t max_answer_bytes;
    struct buf *answer;           /* of the running request */
    bool cut;                     /* the answer is longer than max_answer_bytes */
    char reason[CURL_ERROR_SIZE]; /* written by libcurl */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static bool curl_ready; /* written inside of curl_once only */

static void curl_start(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

struct http_client_options http_client_options_default(void)
{
    return (struct http_client_options){ .timeout_ms = 10000, .max_answer_bytes = 64 << 10 };
}

static size_t on_answer(char *data, size_t one, size_t n, void *ctx)
{
    struct http_client *c = ctx;
    size_t room = c->max_answer_bytes - c->answer->len;
    size_t kept = n < room ? n : room;

    (void)one; /* always 1 */
    buf_add(c->answer, data, kept);
    c->cut = kept < n;
    return c->cut || c->answer->failed ? CURL_WRITEFUNC_ERROR : n;
}

/* A NUL-terminated copy of prefix and s on the heap; NULL when out of memory. */
static char *text_of(const char *prefix, struct str s)
{
    struct buf b = { 0 };

    buf_text(&b, prefix);
    buf_str(&b, s);
    buf_u8(&b, 0);
    if (b.failed) {
        buf_free(&b);
        return NULL;
    }
    return (char *)b.ptr;
}

/* libcurl copies the strings. Basic is the only scheme: with others the password would be sent after
 * a first refusal only. */
static bool set_user(CURL *easy, const struct http_client_options *o)
{
    char *user = text_of("", o->user);
    char *password = text_of("", o->password);
    bool ok = user && password && !curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC)
              && !curl_easy_setopt(easy, CURLOPT_USERNAME, user)
              && !curl_easy_setopt(easy, CURLOPT_PASSWORD, password);

    free(user);
    free(password);
    return ok;
}

/* QUICK_EXIT: a name server that does not answer must not hold up a timeout or a cancellation. */
static bool set_options(struct http_client *c, const struct http_client_options *o)
{
    CURL *e = c->easy;
    long verify = !o->insecure_skip_verify;

    return !curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L)
           && !curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L)
           && !curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L)
           && !curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https")
           && !curl_easy_setopt(e, CURLOPT_PROXY, "")
           && !curl_easy_setopt(e, CURLOPT_USERAGENT, "Tidemark")
           && !curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms)
           && !curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, verify)
           && !curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, verify * 2) /* 2: the name must match */
           && !curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_answer)
           && !curl_easy_setopt(e, CURLOPT_WRITEDATA, c)
           && !curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->reason)
           && (o->user.len + o->password.len == 0 || set_user(e, o));
}

struct http_client *http_client_new(const struct http_client_options *options)
{
    struct http_client *c = calloc(1, sizeof *c);
    bool ok;

    ASSERT(options->timeout_ms > 0);
    ASSERT(http_authorization_check(options->authorization, NULL) == OK);
    pthread_once(&curl_once, curl_start);
    if (!c)
        return NULL;
    c->cancel = options->cancel;
    c->max_answer_bytes = options->max_answer_bytes;
    ok = curl_ready && (c->multi = curl_multi_init()) && (c->easy = curl_easy_init())
         && set_options(c, options);
    if (ok && options->authorization.len > 0)
        ok = (c->authorization = text_of("Authorization: ", options->authorization));
    if (!ok) {
        http_client_free(c);
        return NULL;
    }
    return c;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
    curl_multi_cleanup(c->multi);
    free(c->authorization);
    free(c);
}

/* libcurl takes one slash and three, too, and finds a host behind them; nobody means that. */
static bool has_authority(const char *url)
{
    const char *colon = strchr(url, ':');

    return colon && colon[1] == '/' && colon[2] == '/' && colon[3] != '/';
}

/* Whether a part is in the url, and not empty. */
static bool has_part(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool found = !curl_url_get(u, part, &text, 0) && *text;

    curl_free(text);
    return found;
}

static bool is_http(CURLU *u)
{
    char *scheme = NULL;
    bool ok = !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0)
              && (str_is(str_from(scheme), "http") || str_is(str_from(scheme), "https"));

    curl_free(scheme);
    return ok;
}

/* The texts do not show the url before it is known to hold no password. */
static enum errc check_parsed(CURLU *u, const char *url, struct err *err)
{
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);

    if (rc == CURLUE_OUT_OF_MEMORY)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    if (rc || !has_authority(url))
        return err_set(err, ERR_BAD_CONFIG, 0, "this is no http:// or https:// URL with a host: %s",
                       rc ? curl_url_strerror(rc) : "the scheme is not followed by // and a host");
    if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
        return err_set(err, ERR_BAD_CONFIG, 0,
                       "a URL must not hold a user or password: give them separately");
    if (!is_http(u))
        return err_set(err, ERR_BAD_CONFIG, 0, "%s: only http:// and https:// are possible", url);
    if (!has_part(u, CURLUPART_HOST))
        return err_set(err, ERR_BAD_CONFIG, 0, "%s: the host is missing", url);
    if (has_part(u, CURLUPART_FRAGMENT))
        return err_set(err, ERR_BAD_CONFIG, 0, "%s: a fragment (#) is never sent", url);
    return OK;
}

enum errc http_url_check(struct str url, struct err *err)
{
    enum errc rc = ERR_NOMEM;
    CURLU *u = NULL;
    char *text = NULL;

    if (url.len > MAX_URL_BYTES)
        return err_set(err, ERR_BAD_CONFIG, 0, "a URL of %zu bytes is longer than %d", url.len,
                       MAX_URL_BYTES);
    if (url.len > 0 && memchr(url.ptr, 0, url.len))
        return err_set(err, ERR_BAD_CONFIG, 0, "a URL must not hold a NUL byte");
    pthread_once(&curl_once, curl_start);
    if (!(text = text_of("", url)) || !(u = curl_url()))
        rc = err_set(err, ERR_NOMEM, 0, "out of memory");
    else
        rc = check_parsed(u, text, err);
    curl_url_cleanup(u);
    free(text);
    return rc;
}

enum errc http_authorization_check(struct str value, struct err *err)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < 0x20 || value.ptr[i] == 0x7f)
            return err_set(err, ERR_BAD_CONFIG, 0,
                           "the authorization holds a control character at byte %zu", i);
    return OK;
}

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (longer)
        *list = longer;
    return longer;
}

/* "Expect:" keeps libcurl from asking before it sends a large body. NULL when out of memory. */
static struct curl_slist *headers_new(const struct http_client *c, const char *content_type)
{
    struct curl_slist *list = NULL;
    char *type = text_of("Content-Type: ", str_from(content_type));

    if (!type || !add_header(&list, type) || !add_header(&list, "Expect:")
        || (c->authorization && !add_header(&list, c->authorization))) {
        curl_slist_free_all(list);
        list = NULL;
    }
    free(type);
    return list;
}

static bool is_canceled(const struct http_client *c)
{
    return c->cancel && atomic_load(c->cancel);
}

/* Runs the easy handle to its end. */
static CURLcode run(struct http_client *c)
{
    int running = 1, left;
    CURLMsg *msg;

    while (running > 0) {
        if (is_canceled(c))
            return CURLE_ABORTED_BY_CALLBACK;
        if (curl_multi_perform(c->multi, &running)
            || (running && curl_multi_poll(c->multi, NULL, 0, CANCEL_CHECK_MS, NULL)))
            return CURLE_OUT_OF_MEMORY; /* all that can go wrong with valid handles */
    }
    msg = curl_multi_info_read(c->multi, &left);
    ASSERT(msg && msg->msg == CURLMSG_DONE && msg->easy_handle == c->easy);
    return msg->data.result;
}

static enum errc outcome(const struct http_client *c, CURLcode rc)
{
    switch (rc) {
    case CURLE_OK:
        return OK;
    case CURLE_WRITE_ERROR:
        return c->cut ? OK : ERR_NOMEM;
    case CURLE_OUT_OF_MEMORY:
        return ERR_NOMEM;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_ABORTED_BY_CALLBACK:
        return ERR_CANCELED;
    default:
        return ERR_UNAVAILABLE;
    }
}

static enum errc fail(const struct http_client *c, enum errc code, const char *url, CURLcode rc,
                      struct err *err)
{
    int shown = (int)strcspn(url, "?"); /* keys are often in the query */

    if (code == ERR_CANCELED || code == ERR_NOMEM)
        return err_set(err, code, 0, "%.*s: %s", shown, url, errc_text(code));
    return err_set(err, code, 0, "%.*s: %s", shown, url,
                   c->reason[0] ? c->reason : curl_easy_strerror(rc));
}

static bool set_request(struct http_client *c, const char *url, struct curl_slist *headers,
                        struct bytes body)
{
    return !curl_easy_setopt(c->easy, CURLOPT_URL, url)
           && !curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers)
           && !curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len)
           && !curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, body.len ? (char *)body.ptr : "");
}

static CURLcode perform(struct http_client *c)
{
    CURLcode rc;

    if (curl_multi_add_handle(c->multi, c->easy))
        return CURLE_OUT_OF_MEMORY;
    rc = run(c);
    curl_multi_remove_handle(c->multi, c->easy);
    return rc;
}

enum errc http_client_post(struct http_client *c, const char *url, const char *content_type,
                           struct bytes body, int *status, int64_t *retry_after_s,
                           struct buf *answer, struct err *err)
{
    struct curl_slist *headers = NULL;
    curl_off_t retry_after = 0;
    long code = 0;
    CURLcode done = CURLE_OUT_OF_MEMORY;
    enum errc rc = http_url_check(str_from(url), err);

    if (rc)
        return rc;
    buf_clear(answer);
    c->answer = answer;
    c->cut = false;
    c->reason[0] = '\0';
    headers = headers_new(c, content_type);
    if (headers && set_request(c, url, headers, body))
        done = perform(c);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    c->answer = NULL;
    rc = outcome(c, done);
    if (rc)
        return fail(c, rc, url, done, err);
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &retry_after);
    *status = (int)code;
    *retry_after_s = retry_after > 0 ? retry_after : 0;
    return OK;
}
