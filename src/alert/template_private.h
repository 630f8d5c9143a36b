/* template_private.h -- what the parts of the template engine share; nobody else includes it.
 *
 *   template_lex.c       text to tokens
 *   template_literal.c   the values of constants
 *   template_parse.c     tokens to a tree
 *   template_print.c     a tree's parts as text again, for messages
 *   template_value.c     dynamic values: types, truth, comparison, indexing
 *   template_exec.c      walking a tree
 *   template_funcs.c     the table of functions: Go's and Prometheus'
 *   template_humanize.c  numbers, durations and times for people
 *   template_text.c      case, quoting and host names
 *   template_time.c      time.Time and time.Duration
 *   template_verbs.c     one value by one verb: %d, %s
 *   template_format.c    print, printf
 *
 * The language is that of Go's text/template, https://pkg.go.dev/text/template; texts of errors are
 * Go's, with positions in the text that the user wrote. All memory comes from one arena.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/template.h"
#include "base/bytes.h"
#include "base/err.h"

enum {
    TPL_MAX_BYTES = 256 << 10, /* of a template's text */
    TPL_MAX_NESTING = 100,     /* of actions and parentheses in a text */
    TPL_MAX_DEPTH = 500,       /* of those being executed: templates may call templates */
    TPL_MAX_OUTPUT = 1 << 20,  /* of an expansion, and of a function's result */
    TPL_MAX_STEPS = 200000,    /* nodes, or 64 bytes made */
    TPL_BYTES_PER_STEP = 64,
    TPL_REGEX_STEPS = 1000, /* what one search costs */
    TPL_QUERY_STEPS = 2000,
    TPL_MAX_FORMAT = 1000000 /* widths and precisions, as in Go */
};

/* --- values --- */

enum datum_kind {
    DATUM_NONE, /* no value at all: prints <no value> */
    DATUM_NIL,  /* Go's nil interface */
    DATUM_BOOL,
    DATUM_INT,   /* int */
    DATUM_INT64, /* int64 */
    DATUM_FLOAT,
    DATUM_STRING,
    DATUM_HTML, /* a string of type template.HTML */
    DATUM_MAP,
    DATUM_LIST,
    DATUM_RECORD,
    DATUM_TIME,     /* i: ns since 1970 UTC */
    DATUM_DURATION, /* i: ns */
    DATUM_MONTH,    /* i: 1..12 */
    DATUM_WEEKDAY   /* i: 0 is Sunday */
};

struct datum {
    enum datum_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct str s;
        const struct datum_map *map;
        const struct datum_list *list;
        const struct datum_record *record;
    };
};

struct datum_map {
    bool any; /* values of any type (map[string]interface {}), else strings */
    size_t n;
    const struct str *keys; /* sorted */
    const struct datum *values;
};

struct datum_list {
    const char *type;
    size_t n;
    const struct datum *items;
};

struct record_type {
    const char *name;
    bool pointer;
    size_t n;
    const char *fields[4];
};

struct datum_record {
    const struct record_type *type;
    const struct datum *fields;
};

extern const struct record_type tpl_sample_type; /* Labels, Value */
extern const char tpl_result_type[];             /* the list of samples */

static inline struct datum datum_str(struct str s)
{
    return (struct datum){ .kind = DATUM_STRING, .s = s };
}

static inline struct datum datum_float(double f)
{
    return (struct datum){ .kind = DATUM_FLOAT, .f = f };
}

static inline struct datum datum_int(int64_t i)
{
    return (struct datum){ .kind = DATUM_INT, .i = i };
}

static inline struct datum datum_bool(bool b)
{
    return (struct datum){ .kind = DATUM_BOOL, .b = b };
}

static inline bool datum_is_nil(struct datum d)
{
    return d.kind == DATUM_NONE || d.kind == DATUM_NIL;
}

static inline bool datum_is_text(struct datum d)
{
    return d.kind == DATUM_STRING || d.kind == DATUM_HTML;
}

static inline bool datum_is_int(struct datum d)
{
    return d.kind == DATUM_INT || d.kind == DATUM_INT64 || d.kind >= DATUM_DURATION;
}

const char *datum_type(struct datum d); /* Go's name of the type */
bool datum_truth(struct datum d);
const struct datum *datum_field(struct datum record, struct str name); /* NULL: no such */
const struct datum *datum_key(struct datum map, struct str key);
bool datum_labels(struct arena *a, struct labels ls, struct datum *out); /* false: no memory */

/* --- the tree --- */

enum tpl_token_kind {
    TPL_EOF,
    TPL_ERROR, /* text is the message */
    TPL_TEXT,
    TPL_LEFT_DELIM,
    TPL_RIGHT_DELIM,
    TPL_SPACE,
    TPL_ASSIGN,  /* = */
    TPL_DECLARE, /* := */
    TPL_PIPE,
    TPL_LEFT_PAREN,
    TPL_RIGHT_PAREN,
    TPL_CHAR, /* any other one, like a comma */
    TPL_BOOL,
    TPL_CHAR_CONSTANT,
    TPL_NUMBER,
    TPL_STRING,
    TPL_RAW_STRING,
    TPL_FIELD,    /* with its dot */
    TPL_VARIABLE, /* with its dollar */
    TPL_IDENTIFIER,
    TPL_KEYWORD, /* the rest are words */
    TPL_BLOCK,
    TPL_BREAK,
    TPL_CONTINUE,
    TPL_DEFINE,
    TPL_DOT, /* by itself; Go counts it among the words */
    TPL_ELSE,
    TPL_END,
    TPL_IF,
    TPL_NIL,
    TPL_RANGE,
    TPL_TEMPLATE,
    TPL_WITH
};

struct tpl_token {
    enum tpl_token_kind kind;
    uint32_t pos;
    uint32_t line; /* of its start, from 1 */
    struct str text;
};

/* All tokens of text, the last of them TPL_EOF or TPL_ERROR. NULL when the arena is full. */
struct tpl_token *tpl_lex(struct str text, struct arena *a, size_t *n);

enum tpl_node_kind {
    NODE_TPL_TEXT,
    NODE_TPL_ACTION,
    NODE_TPL_IF,
    NODE_TPL_WITH,
    NODE_TPL_RANGE,
    NODE_TPL_TEMPLATE,
    NODE_TPL_BREAK,
    NODE_TPL_CONTINUE,
    NODE_TPL_ELSE, /* these two end a list and are in no tree */
    NODE_TPL_END,
    NODE_TPL_PIPE,
    NODE_TPL_COMMAND,
    NODE_TPL_DOT,
    NODE_TPL_NIL,
    NODE_TPL_CONSTANT, /* bool, number or string */
    NODE_TPL_FIELD,    /* .a.b */
    NODE_TPL_VARIABLE, /* $x.a.b */
    NODE_TPL_CHAIN,    /* operand.a.b */
    NODE_TPL_FUNCTION
};

struct tpl_node {
    enum tpl_node_kind kind;
    uint32_t pos;
    struct tpl_node *next;  /* sibling: in a list, the commands of a pipe, the arguments of one */
    struct tpl_node *child; /* PIPE: commands; COMMAND: arguments; CHAIN: operand; else: the pipe */
    struct tpl_node *body, *otherwise; /* IF, WITH, RANGE */
    struct str text; /* TEXT; CONSTANT as written; names of FUNCTION, TEMPLATE, VARIABLE ($x) */
    const struct str *fields; /* FIELD, VARIABLE, CHAIN */
    size_t n_fields;
    struct datum constant;
    struct str decl[2]; /* PIPE: variables it sets */
    uint8_t n_decl;
    bool assign; /* with =, not := */
};

struct tpl_define {
    struct str name;
    struct tpl_node *body;
    struct tpl_define *next;
};

struct tpl_tree {
    struct str name, text;
    struct tpl_node *root;
    struct tpl_define *defines; /* the root is among them */
};

/* Parses; variables ($labels ...) that exist at the start are predefined[0..n). Errors as of
 * template_check(). */
MUST_USE enum errc tpl_parse(struct tpl_tree *tree, const char *const *predefined, struct arena *a,
                             struct err *err);

void tpl_node_print(struct buf *b, const struct tpl_node *n);

/* template_literal.c: the values of constants as written. tpl_unquote() is false when the string is
 * malformed or the arena is full; the others give Go's words for what is wrong, or NULL. */
bool tpl_unquote(struct str quoted, struct arena *a, struct str *out);
const char *tpl_read_char(struct str quoted, struct datum *out);
const char *tpl_read_number(struct str text, struct datum *out);

/* --- execution --- */

enum tpl_missing { TPL_MISSING_ZERO, TPL_MISSING_NONE, TPL_MISSING_ERROR }; /* missingkey= */

struct tpl_variable {
    struct str name;
    struct datum value;
};

struct tpl_exec {
    const struct tpl_tree *tree;
    const struct template_data *data;
    enum tpl_missing missing;
    struct arena *arena;
    struct buf *out;
    size_t out_start;
    struct err *err;
    enum errc rc;
    struct buf scratch; /* what a function writes */
    struct str name;    /* of the template being executed */
    const struct tpl_node *at;
    struct tpl_variable *vars;
    size_t n_vars, cap_vars, first_var; /* those before first_var belong to callers */
    unsigned depth;
    size_t steps;
};

/* Executes tree with data (not NULL) and dot, and the predefined variables of an alert if dot is
 * NULL. */
MUST_USE enum errc tpl_execute(struct tpl_exec *x, const struct datum *dot);

/* Fails the expansion. Always false. */
bool tpl_fail(struct tpl_exec *x, enum errc code, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool tpl_no_memory(struct tpl_exec *x);
bool tpl_spend(struct tpl_exec *x, size_t steps); /* false: the limit is reached */

/* --- functions --- */

enum tpl_param { PARAM_ANY, PARAM_STRING, PARAM_SAMPLE, PARAM_RESULT, PARAM_TIME, PARAM_DURATION };

struct tpl_call {
    struct tpl_exec *x;
    const struct datum *args;
    size_t n;
    struct buf *text; /* empty; what is written is the result if *out stays untouched */
    struct datum *out;
    const char *error; /* set by call_fail() */
};

struct tpl_func {
    const char *name;
    bool (*fn)(struct tpl_call *c); /* false: failed; NULL for and, or */
    uint8_t n_fixed;                /* arguments */
    bool variadic;                  /* and any number more */
    enum tpl_param params[3];       /* the last holds for all that follow */
};

/* The error of a function: text of the form `error calling NAME: ...`. Always false. */
bool call_fail(struct tpl_call *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Gives a result. Always true. */
static inline bool call_return(struct tpl_call *c, struct datum d)
{
    *c->out = d;
    return true;
}

const struct tpl_func *tpl_func_find(struct str name); /* NULL: no such */
const struct tpl_func *tpl_method_find(enum datum_kind kind,
                                       struct str name); /* args[0]: receiver */

/* template_value.c */
bool fn_eq(struct tpl_call *c);
bool fn_ne(struct tpl_call *c);
bool fn_lt(struct tpl_call *c);
bool fn_le(struct tpl_call *c);
bool fn_gt(struct tpl_call *c);
bool fn_ge(struct tpl_call *c);
bool fn_not(struct tpl_call *c);
bool fn_len(struct tpl_call *c);
bool fn_index(struct tpl_call *c);
bool fn_slice(struct tpl_call *c);

/* template_humanize.c */
bool fn_humanize(struct tpl_call *c);
bool fn_humanize1024(struct tpl_call *c);
bool fn_humanize_duration(struct tpl_call *c);
bool fn_humanize_percentage(struct tpl_call *c);
bool fn_humanize_timestamp(struct tpl_call *c);
bool fn_to_time(struct tpl_call *c);
bool fn_to_duration(struct tpl_call *c);
bool fn_parse_duration(struct tpl_call *c);

/* template_text.c */
bool fn_title(struct tpl_call *c);
bool fn_to_upper(struct tpl_call *c);
bool fn_to_lower(struct tpl_call *c);
bool fn_strip_port(struct tpl_call *c);
bool fn_strip_domain(struct tpl_call *c);
void tpl_escape_html(struct buf *b, struct str s);
void tpl_escape_js(struct buf *b, struct str s);
void tpl_escape_query(struct buf *b, struct str s);
bool rune_is_word(uint32_t rune); /* a letter, digit or underscore of any script */

/* template_time.c */
void tpl_time_print(struct buf *b, int64_t ns);
void tpl_duration_print(struct buf *b, int64_t ns);
struct str tpl_month_name(int64_t month);
struct str tpl_weekday_name(int64_t day);
extern const struct tpl_func tpl_time_methods[], tpl_duration_methods[];
extern const size_t tpl_n_time_methods, tpl_n_duration_methods;
extern const struct tpl_func tpl_name_method; /* String() of a month or weekday */

/* template_format.c: as Go's fmt.Sprint, Sprintln and Sprintf. */
void tpl_print(struct buf *b, const struct datum *args, size_t n);
void tpl_println(struct buf *b, const struct datum *args, size_t n);
void tpl_printf(struct buf *b, struct str format, const struct datum *args, size_t n);
/* As {{arg}} prints, which differs for nothing and for pointers. */
void tpl_print_actions(struct buf *b, const struct datum *args, size_t n);
