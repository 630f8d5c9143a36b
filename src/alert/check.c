#include "alert/check.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "alert/config.h"
#include "alert/rule.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/json.h"

#include "base/banned.h"

enum { MAX_FILE_BYTES = 16 << 20 };

struct check {
    bool lint, lint_fatal, ignore_unknown, syntax_only, json;
    bool failed, lint_found; /* in some file */
    size_t n_files;
    struct buf files; /* of the JSON, when that is asked for */
};

/* What was found out about one file. */
struct result {
    const char *kind, *name;
    struct diags d;
    size_t n_lint;  /* of d, the last ones */
    size_t n_found; /* rules, or rule files */
};

/* ---- telling ---- */

static bool result_is_good(const struct check *c, const struct result *r)
{
    return r->d.n_errors == 0 && !(c->lint_fatal && r->n_lint > 0);
}

static void print_diag_json(struct buf *b, const struct diag *d, bool lint)
{
    buf_text(b, "{\"file\":");
    json_string(b, str_from(d->file));
    buf_printf(b, ",\"line\":%u,\"column\":%u,\"severity\":\"%s\",\"lint\":%s,\"text\":", d->line,
               d->col, d->warning ? "warning" : "error", lint ? "true" : "false");
    json_string(b, str_from(d->text));
    buf_u8(b, '}');
}

static void add_json(struct check *c, const struct result *r)
{
    buf_printf(&c->files, "%s{\"file\":", c->n_files > 0 ? "," : "");
    json_string(&c->files, str_from(r->name));
    buf_printf(&c->files, ",\"kind\":\"%s\",\"success\":%s,\"found\":%zu,\"diagnostics\":[",
               r->kind, result_is_good(c, r) ? "true" : "false", r->n_found);
    for (size_t i = 0; i < r->d.n; i++) {
        buf_text(&c->files, i > 0 ? "," : "");
        print_diag_json(&c->files, &r->d.items[i], i + r->n_lint >= r->d.n);
    }
    buf_text(&c->files, "]}");
}

static void print_text(const struct check *c, const struct result *r)
{
    bool good = result_is_good(c, r), rules = strcmp(r->kind, "rules") == 0;
    struct buf b = { 0 };

    diags_print(&b, &r->d);
    printf("Checking %s\n", r->name);
    if (good)
        printf("  SUCCESS: %zu %s found\n", r->n_found, rules ? "rules" : "rule files");
    if (good && !rules)
        printf(" SUCCESS: %s is valid prometheus config file syntax\n", r->name);
    fflush(stdout);
    if (!good)
        fprintf(stderr, "  FAILED:\n");
    fprintf(stderr, "%.*s", STR_ARG(buf_as_str(&b)));
    printf("\n");
    buf_free(&b);
}

static void tell(struct check *c, const struct result *r)
{
    if (c->json)
        add_json(c, r);
    else
        print_text(c, r);
    c->n_files++;
    c->failed |= r->d.n_errors > 0;
    c->lint_found |= r->n_lint > 0;
}

static void out_of_memory(struct diags *d, const char *name)
{
    diag_error(d, name, 0, 0, "%s", errc_text(ERR_NOMEM));
}

/* An arena for one file, or NULL: the check has failed then. */
static struct arena *arena_for(struct check *c, const char *name)
{
    struct arena *a = arena_new(0);

    if (!a) {
        fprintf(stderr, "%s: %s\n", name, errc_text(ERR_NOMEM));
        c->failed = true;
    }
    return a;
}

/* ---- rules ---- */

static void check_text(const struct check *c, struct str text, struct result *r)
{
    struct rule_set *set = rule_set_new();
    enum errc rc = ERR_NOMEM;

    if (set) {
        set->ignore_unknown = c->ignore_unknown;
        rc = rules_read(text, r->name, set, &r->d);
    }
    if (rc == OK && c->lint) {
        size_t n_before = r->d.n;

        rc = rules_lint(set, &r->d);
        r->n_lint = r->d.n - n_before;
    }
    for (size_t i = 0; rc == OK && i < set->n_groups; i++)
        r->n_found += set->groups[i].n_rules;
    if (rc == ERR_NOMEM)
        out_of_memory(&r->d, r->name);
    rule_set_free(set);
}

static enum errc read_stdin(struct buf *b, struct err *err)
{
    for (size_t n = 1; n > 0 && b->len <= MAX_FILE_BYTES;) {
        uint8_t *p = buf_reserve(b, 65536);

        if (!p)
            return ERR_NOMEM;
        n = fread(p, 1, 65536, stdin);
        b->len += n;
    }
    if (ferror(stdin))
        return err_set(err, ERR_IO, 0, "cannot read standard input");
    if (b->len > MAX_FILE_BYTES)
        return err_set(err, ERR_TOO_LARGE, 0, "larger than %d bytes", MAX_FILE_BYTES);
    return OK;
}

/* path NULL: standard input. */
static void check_rules(struct check *c, const char *path)
{
    const char *name = path ? path : "standard input";
    struct arena *a = arena_for(c, name);
    struct result r = { .kind = "rules", .name = name, .d.arena = a };
    struct err err = err_in(a);
    struct buf b = { 0 };
    enum errc rc;

    if (!a)
        return;
    rc = path ? fs_read_file(path, MAX_FILE_BYTES, &b, &err) : read_stdin(&b, &err);
    if (rc)
        diag_error(&r.d, r.name, 0, 0, "%s", err_text(&err));
    else
        check_text(c, buf_as_str(&b), &r);
    tell(c, &r);
    buf_free(&b);
    arena_free(a);
}

/* ---- configurations ---- */

static void check_config(struct check *c, const char *path)
{
    struct arena *a = arena_for(c, path);
    struct result r = { .kind = "config", .name = path, .d.arena = a };
    struct config *config = NULL;

    if (!a)
        return;
    if (config_load(path, &config, &r.d) == ERR_NOMEM)
        out_of_memory(&r.d, path);
    r.n_found = config ? config->n_rule_files : 0;
    tell(c, &r);
    for (size_t i = 0; config && !c->syntax_only && i < config->n_rule_files; i++)
        check_rules(c, config->rule_files[i]);
    config_free(config);
    arena_free(a);
}

/* ---- the command line ---- */

static void usage(FILE *to)
{
    fprintf(to,
            "usage: tidemark check rules [flags] [FILE...]\n"
            "       tidemark check config [flags] FILE...\n\n"
            "Checks rules files (standard input without one), or configurations and the rules\n"
            "files that they name. Exits with 0 when all are good, 1 when one is not, 3 when only\n"
            "--lint-fatal makes it so.\n\n"
            "  --lint=LIST              all, none or duplicate-rules (default: duplicate-rules)\n"
            "  --lint-fatal             what lint finds is a failure\n"
            "  --ignore-unknown-fields  unknown fields in rules files are no faults\n"
            "  --syntax-only            do not look into the rules files of a configuration\n"
            "  --json                   print the result as JSON\n"
            "  --enable-feature=LIST    ignored: every feature is enabled\n"
            "  --help\n");
}

static void set_lint(struct check *c, const char *list)
{
    static const struct {
        const char *name;
        bool on;
    } names[] = { { "all", true }, { "duplicate-rules", true }, { "none", false } };

    c->lint = false;
    for (struct str rest = str_from(list); rest.len > 0;) {
        const char *comma = memchr(rest.ptr, ',', rest.len);
        struct str name = { rest.ptr, comma ? (size_t)(comma - rest.ptr) : rest.len };
        size_t i = 0;

        rest = (struct str){ rest.ptr + name.len, rest.len - name.len };
        if (comma)
            rest = (struct str){ rest.ptr + 1, rest.len - 1 };
        while (i < ARRAY_LEN(names) && !str_is(name, names[i].name))
            i++;
        if (i < ARRAY_LEN(names))
            c->lint = names[i].on;
        else
            fprintf(stderr, "WARNING: unknown lint option: \"%.*s\"\n", STR_ARG(name));
    }
}

enum { LINT = 256, LINT_FATAL, FEATURE, IGNORE_UNKNOWN, SYNTAX_ONLY, JSON, HELP };

static const struct option long_options[] = {
    { "lint", required_argument, NULL, LINT },
    { "lint-fatal", no_argument, NULL, LINT_FATAL },
    { "enable-feature", required_argument, NULL, FEATURE },
    { "ignore-unknown-fields", no_argument, NULL, IGNORE_UNKNOWN },
    { "syntax-only", no_argument, NULL, SYNTAX_ONLY },
    { "json", no_argument, NULL, JSON },
    { "help", no_argument, NULL, HELP },
    { 0 },
};

/* Takes the flags; *help when that was asked for. False: one is wrong, and has been named. */
static bool take_flags(int argc, char **argv, struct check *c, bool *help)
{
    int option;

    opterr = 0;
    optind = 0; /* GNU: begin anew */
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        c->lint_fatal |= option == LINT_FATAL;
        c->ignore_unknown |= option == IGNORE_UNKNOWN;
        c->syntax_only |= option == SYNTAX_ONLY;
        c->json |= option == JSON;
        *help |= option == HELP || option == 'h';
        if (option == LINT)
            set_lint(c, optarg);
        if (option == ':' || option == '?') {
            fprintf(stderr, "tidemark: %s %s; tidemark check --help lists the flags\n",
                    option == ':' ? "missing value of" : "unknown flag", argv[optind - 1]);
            return false;
        }
    }
    return true;
}

static int finish(struct check *c)
{
    bool failed = c->failed || (c->lint_fatal && c->lint_found);

    if (c->json)
        printf("{\"success\":%s,\"files\":[%.*s]}\n", failed ? "false" : "true",
               STR_ARG(buf_as_str(&c->files)));
    buf_free(&c->files);
    if (c->failed)
        return CHECK_FAILED;
    return failed ? CHECK_LINT : CHECK_GOOD;
}

int check_main(int argc, char **argv)
{
    struct check c = { .lint = true };
    bool help = false, rules, config;
    const char *what;

    if (!take_flags(argc, argv, &c, &help))
        return CHECK_USAGE;
    what = optind < argc ? argv[optind++] : "";
    rules = strcmp(what, "rules") == 0;
    config = strcmp(what, "config") == 0 && (help || optind < argc);
    if (help || (!rules && !config)) {
        usage(help ? stdout : stderr);
        return help ? CHECK_GOOD : CHECK_USAGE;
    }
    if (rules && optind == argc)
        check_rules(&c, NULL);
    for (int i = optind; i < argc; i++) {
        if (rules)
            check_rules(&c, argv[i]);
        else
            check_config(&c, argv[i]);
    }
    return finish(&c);
}
