/* Expected texts are those of Prometheus (2.42 and 3) and of Go's text/template; where they name a
 * position it is that in the user's text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "alert/template.h"
#include "base/arena.h"

#include "base/banned.h"

#define LABEL(name, value)                                                                         \
    {                                                                                              \
        { (name), sizeof(name) - 1 },                                                              \
        {                                                                                          \
            (value), sizeof(value) - 1                                                             \
        }                                                                                          \
    }

static const int64_t NOW_MS = 1353755652000; /* 2012-11-24 11:14:12 UTC */

static const struct label series[] = { LABEL("__name__", "c"), LABEL("a", "foo"),
                                       LABEL("instance", "h.example.com:9100"),
                                       LABEL("path", "/a b?x=1&y=<z>") };
static const struct label external[] = { LABEL("cluster", "eu") };
static const struct label metric_a[] = { LABEL("__name__", "metric"), LABEL("instance", "a"),
                                         LABEL("zone", "2") };
static const struct label metric_b[] = { LABEL("__name__", "metric"), LABEL("instance", "b"),
                                         LABEL("zone", "1") };

/* query "metric" gives two series, b first; "1.5" one without labels; "none" nothing. */
static enum errc fake_query(void *ctx, struct str text, struct arena *a,
                            struct template_sample **out, size_t *n, struct err *err)
{
    struct template_sample *s = ARENA_NEW(a, struct template_sample, 2);

    ++*(int *)ctx;
    assert_non_null(s);
    *out = s;
    if (str_is(text, "metric")) {
        s[0] = (struct template_sample){ .labels = { metric_b, 3 }, .v = 21 };
        s[1] = (struct template_sample){ .labels = { metric_a, 3 }, .v = 11 };
        *n = 2;
    } else if (str_is(text, "1.5")) {
        s[0] = (struct template_sample){ .v = 1.5 };
        *n = 1;
    } else if (str_is(text, "none")) {
        *n = 0;
    } else {
        return err_set(err, ERR_BAD_QUERY, 0, "1:1: parse error: unexpected %.*s", STR_ARG(text));
    }
    return OK;
}

struct expansion {
    enum errc rc;
    struct err err;
    struct buf out;
    struct arena *arena;
    int n_queries;
};

static struct expansion expand(struct str text, double value)
{
    struct expansion e = { .arena = arena_new(64 << 20) };
    struct template_data data = { .labels = { series, ARRAY_LEN(series) },
                                  .value = value,
                                  .external_labels = { external, 1 },
                                  .external_url = STR("http://host:9090/path/prefix"),
                                  .now_ms = NOW_MS,
                                  .query = fake_query };

    assert_non_null(e.arena);
    data.query_ctx = &e.n_queries;
    e.err = err_in(e.arena);
    e.rc = template_expand(STR("T"), text, &data, e.arena, &e.out, &e.err);
    return e;
}

static void end_expansion(struct expansion *e)
{
    buf_free(&e->out);
    arena_free(e->arena);
}

struct output_case {
    const char *text, *expected;
};

static void check_outputs(const struct output_case *cases, size_t n, double value)
{
    for (size_t i = 0; i < n; i++) {
        struct expansion e = expand(str_from(cases[i].text), value);

        if (e.rc != OK)
            fail_msg("%s: %s", cases[i].text, err_text(&e.err));
        if (!str_is(buf_as_str(&e.out), cases[i].expected))
            fail_msg("%s gives\n  %.*s\nnot\n  %s", cases[i].text, STR_ARG(buf_as_str(&e.out)),
                     cases[i].expected);
        end_expansion(&e);
    }
}

static void text_passes_through(void **state)
{
    static const struct output_case cases[] = {
        { "", "" },
        { "plain text", "plain text" },
        { "a } }} b", "a } }} b" },
        { "{ {", "{ {" },
        { "x{{/* a comment }} in it */}}y", "xy" },
        { "x {{- /* c */ -}} y", "xy" },
        { "  {{ 1 }}  ", "  1  " },
        { "  {{- 1 -}}  \n\t.", "1." },
        { "a {{-3}} b", "a -3 b" },
        { "{{ 3 -}} x", "3x" },
        { "{{ \"}}\" }}", "}}" },
        { "{{\n1\n}}", "1" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 0);
}

static void data_of_the_alert(void **state)
{
    static const struct output_case cases[] = {
        { "{{ $labels.instance }}", "h.example.com:9100" },
        { "{{ .Labels.instance }}", "h.example.com:9100" },
        { "{{ $.Labels.instance }}", "h.example.com:9100" },
        { "[{{ $labels.missing }}]", "[]" },
        { "{{ $labels }}", "map[__name__:c a:foo instance:h.example.com:9100 "
                           "path:/a b?x=1&y=<z>]" },
        { "{{ $value }} {{ .Value }}", "42 42" },
        { "{{ $externalLabels.cluster }} {{ .ExternalLabels }}", "eu map[cluster:eu]" },
        { "{{ $externalURL }} {{ .ExternalURL }}",
          "http://host:9090/path/prefix http://host:9090/path/prefix" },
        { "{{ externalURL }} {{ pathPrefix }}", "http://host:9090/path/prefix /path/prefix" },
        { "{{ with .ExternalLabels }}{{ . }}{{ end }}", "map[cluster:eu]" },
        { "{{ now }}", "1.353755652e+09" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

static void floats_print_as_in_go(void **state)
{
    static const struct {
        double value;
        const char *expected;
    } cases[] = {
        { 123456, "123456" },
        { 12345.678, "12345.678" },
        { 1000000, "1e+06" },
        { 1234567, "1.234567e+06" },
        { 0.0001, "0.0001" },
        { 0.00001234, "1.234e-05" },
        { NAN, "NaN" },
        { INFINITY, "+Inf" },
        { -INFINITY, "-Inf" },
        { 123456789.123, "1.23456789123e+08" },
        { 0.1 + 0.2, "0.30000000000000004" },
        { -0.0, "-0" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct output_case c = { "{{ $value }}", cases[i].expected };

        check_outputs(&c, 1, cases[i].value);
    }
}

static void control_structures(void **state)
{
    static const struct output_case cases[] = {
        { "{{ if true }}a{{ else }}b{{ end }}", "a" },
        { "{{ if 0 }}a{{ else }}b{{ end }}", "b" },
        { "{{ if \"\" }}a{{ else if 0.0 }}b{{ else if $labels.a }}c{{ else }}d{{ end }}", "c" },
        { "{{ if not $labels.nope }}x{{ end }}", "x" },
        { "{{ with $labels.a }}{{ . }}{{ end }}", "foo" },
        { "{{ with $labels.nope }}x{{ else }}none{{ end }}", "none" },
        { "{{ with $labels.nope }}x{{ else with $labels.a }}{{ . }}{{ end }}", "foo" },
        { "{{ with $x := 5 }}{{ $x }}{{ . }}{{ end }}", "55" },
        { "{{ range $k, $v := $externalLabels }}{{ $k }}={{ $v }};{{ end }}", "cluster=eu;" },
        { "{{ range $labels }}{{ . }}|{{ end }}", "c|foo|h.example.com:9100|/a b?x=1&y=<z>|" },
        { "{{ range query \"none\" }}x{{ else }}empty{{ end }}", "empty" },
        { "{{ range 3 }}{{ . }}{{ end }}{{ range $i := 2 }}{{ $i }}{{ end }}", "01201" },
        { "{{ range $i, $s := query \"metric\" }}{{ $i }}{{ $s.Value }} {{ end }}", "011 121 " },
        { "{{ range 9 }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ if eq . 4 }}{{ break }}{{ end }}"
          "{{ . }}{{ end }}",
          "013" },
        { "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ $x }}{{ end }}{{ $x }}", "32" },
        { "{{ $x := 0 }}{{ range $x = 3 }}{{ end }}{{ $x }}", "2" },
        { "{{ $i := 7 }}{{ $v := 7 }}{{ range $i, $v = $externalLabels }}{{ end }}{{ $i }}{{ $v }}",
          "clustereu" },
        { "{{ define \"x\" }}[{{ . }}]{{ end }}{{ template \"x\" 5 }}{{ template \"x\" }}",
          "[5][<no value>]" },
        { "{{ define \"x\" }}{{ .arg0 }} {{ .arg1 }}{{ end }}{{ template \"x\" (args 1 \"2\") }}",
          "1 2" },
        { "{{ block \"b\" 4 }}<{{ . }}>{{ end }}{{ template `b` 5 }}", "<4><5>" },
        { "{{ define \"x\" }}{{ $ }}{{ end }}{{ template \"x\" $labels.a }}", "foo" },
        { "{{ define \"x\" }}{{ end }}{{ define \"x\" }}new{{ end }}{{ template \"x\" }}", "new" },
        { "{{ define \"r\" }}{{ if . }}{{ . }}{{ template \"r\" (slice . 1) }}{{ end }}{{ end }}"
          "{{ template \"r\" \"abc\" }}",
          "abcbcc" },
        { "{{ .Labels.a | printf \"%s-%s\" \"x\" }}", "x-foo" },
        { "{{ (printf \"%d\" 1) | len }}", "1" },
        { "{{ print (len (print \"abc\")) }}", "3" },
        { "{{ $labels.a -}} \n {{- $labels.a }}", "foofoo" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

static void constants(void **state)
{
    static const struct output_case cases[] = {
        { "{{ 1 }} {{ -1 }} {{ 0x1F }} {{ 0b11 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }} {{ 'a' }}",
          "1 -1 31 3 15 15 1000 97" },
        { "{{ 1_000.5 }}", "1000.5" },
        { "{{ 1.5 }} {{ 1e3 }} {{ .5 }} {{ -2. }} {{ 1e6 }}", "1.5 1000 0.5 -2 1e+06" },
        { "{{ '\\n' }} {{ '\\'' }} {{ '\\u00e4' }}", "10 39 228" },
        { "{{ \"a\\tb\\\"\\\\\\x41\\101\\u00e4\\U0001F600\" }}",
          "a\tb\"\\AA\xc3\xa4\xf0\x9f\x98\x80" },
        { "{{ `raw \\n \"` }}", "raw \\n \"" },
        { "{{ true }} {{ false }}", "true false" },
        { "{{ 9223372036854775807 }} {{ -9223372036854775808 }}",
          "9223372036854775807 -9223372036854775808" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

static void logic_and_comparison(void **state)
{
    static const struct output_case cases[] = {
        { "{{ and 1 0 2 }} {{ and 1 2 }} {{ or 0 \"\" 3 }} {{ or 0 false }}", "0 2 3 false" },
        { "{{ or true (index $labels 1) }}", "true" }, /* the rest is not evaluated */
        { "{{ 1 | and 2 }} {{ 1 | or 0 }}", "1 1" },
        { "{{ eq 1 1 }} {{ eq 1 2 3 1 }} {{ eq \"a\" \"b\" }} {{ eq $labels.a \"foo\" }}",
          "true true false true" },
        { "{{ ne 1 2 }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt \"b\" \"a\" }} {{ ge 1.5 1.5 }}",
          "true true true true true" },
        { "{{ gt $value 5.0 }} {{ lt $value 5.0 }}", "true false" },
        { "{{ eq true true }} {{ eq (args 1).nope nil }}", "true true" },
        { "{{ not 1 }} {{ not \"\" }}", "false true" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

static void lengths_and_parts(void **state)
{
    static const struct output_case cases[] = {
        { "{{ len $labels }} {{ len \"\xc3\xa4\" }} {{ len (query \"metric\") }}", "4 2 2" },
        { "{{ index $labels \"a\" }} [{{ index $labels \"nope\" }}]", "foo []" },
        { "{{ (index (query \"metric\") 1).Value }}", "21" },
        { "{{ index \"abc\" 1 }} {{ index $labels \"a\" 0 }}", "98 102" },
        { "{{ slice \"abcdef\" 1 3 }} {{ slice \"abc\" 1 }} {{ slice \"abc\" }}", "bc bc abc" },
        { "{{ len (slice (query \"metric\") 1) }}", "1" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

static void printf_formats_as_go(void **state)
{
    static const struct output_case cases[] = {
        { "{{ printf \"%.2f\" $value }}|{{ $value | printf \"%.0f%%\" }}", "42.00|42%" },
        { "{{ printf \"%d\" $value }}", "%!d(float64=42)" },
        { "{{ printf \"%.2f\" ($value | humanize) }}", "%!f(string=42)" },
        { "{{ printf \"%s\" $value }} {{ printf \"%s\" 5 }}", "%!s(float64=42) %!s(int=5)" },
        { "{{ printf \"%d %d\" 1 }} {{ printf \"%d\" 1 2 \"a\" }}",
          "1 %!d(MISSING) 1%!(EXTRA int=2, string=a)" },
        { "{{ printf \"%z %\" 1 }}", "%!z(int=1) %!(NOVERB)" },
        { "{{ printf \"%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%b\" 42 42 -42 42 42 255 255 255 8 5 }}",
          "   42|42   |-0042|+42| 42|ff|FF|0xff|10|101" },
        { "{{ printf \"%.3d|%6.2d|%.0d|\" 5 5 0 }}", "005|    05||" },
        { "{{ printf \"%c|%q|%U|%#U\" 228 'x' 228 228 }}",
          "\xc3\xa4|'x'|U+00E4|U+00E4 '\xc3\xa4'" },
        { "{{ printf \"%s|%5s|%-5s|%.2s|%05s\" \"abc\" \"abc\" \"abc\" \"abc\" \"ab\" }}",
          "abc|  abc|abc  |ab|000ab" },
        { "{{ printf \"%q|%#q|%+q|%x|% X|%#x\" \"a\\n\" \"b\" \"\xc3\xa4\" \"hi\" \"hi\" \"hi\" }}",
          "\"a\\n\"|`b`|\"\\u00e4\"|6869|68 69|0x6869" },
        { "{{ printf \"%f|%e|%g|%G|%8.3f|%-8.1f|%+.1e|%08.3f|% f\" 3.14159 3.14159 3.14159 1e20 "
          "3.14159 3.14159 12345.678 -3.14159 1.0 }}",
          "3.141590|3.141590e+00|3.14159|1E+20|   3.142|3.1     |+1.2e+04|-003.142| 1.000000" },
        { "{{ printf \"%v %.3v %6v %x %b\" 1e6 3.14159 1.5 42.5 42.0 }}",
          "1e+06 3.14    1.5 0x1.54p+05 5910974510923776p-47" },
        { "{{ printf \"%t|%v|%6t|%d\" true false true true }}",
          "true|false|  true|%!d(bool=true)" },
        { "{{ printf \"%d|%q\" $externalLabels $externalLabels }}",
          "map[%!d(string=cluster):%!d(string=eu)]|map[\"cluster\":\"eu\"]" },
        { "{{ printf \"%v|%+v|%#v|%T\" $externalLabels $externalLabels $externalLabels "
          "$externalLabels }}",
          "map[cluster:eu]|map[cluster:eu]|map[string]string{\"cluster\":\"eu\"}|"
          "map[string]string" },
        { "{{ printf \"%v|%+v\" (query \"1.5\" | first) (query \"1.5\" | first) }}",
          "&{map[] 1.5}|&{Labels:map[] Value:1.5}" },
        { "{{ printf \"%*d|%-*d|\" 5 42 6 7 }} {{ printf \"%[2]*[1]d\" 5 7 }}",
          "   42|7     |       5" },
        { "{{ printf \"%*d\" \"a\" 1 }} {{ printf \"%.*f\" 2 3.14159 }}", "%!(BADWIDTH)1 3.14" },
        { "{{ printf \"%[2]d %[1]d\" 1 2 }} {{ printf \"%[3]d\" 1 2 }} {{ printf \"%[x]d\" 1 }}",
          "2 1 %!d(BADINDEX) %!d(BADINDEX)" },
        { "{{ printf \"%v %s\" nil nil }}", "<nil> %!s(<nil>)" },
        { "{{ printf \"%T %T %T %T\" 1 \"a\" 1.5 nil }}", "int string float64 <nil>" },
        { "{{ print 1 2 \"a\" \"b\" 3 4.5 true }} {{ print nil 1 }}", "1 2ab3 4.5 true <nil> 1" },
        { "{{ println 1 \"a\" }}{{ print }}", "1 a\n" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

static void prometheus_functions(void **state)
{
    static const struct output_case cases[] = {
        { "{{ query \"1.5\" | first | value }}", "1.5" },
        { "{{ query \"metric\" | first | label \"instance\" }}", "a" },
        { "[{{ query \"metric\" | first | strvalue }}]", "[]" },
        { "{{ range query \"metric\" | sortByLabel \"zone\" }}{{ .Labels.instance }}{{ .Value }} "
          "{{ end }}",
          "b21 a11 " },
        { "{{ range query \"metric\" }}{{ .Labels.instance }}{{ end }}", "ab" },
        { "{{ query \"metric\" | first }}", "{map[__name__:metric instance:a zone:2] 11}" },
        { "{{ with query \"none\" }}x{{ else }}no data{{ end }}", "no data" },
        { "{{ toUpper \"aa bb CC \xc3\xa4\" }} {{ toLower \"aA \xc3\x84\" }}",
          "AA BB CC \xc3\x84 aa \xc3\xa4" },
        { "{{ title \"foo-bar b\xc3\xa4z FOO it's\" }}", "Foo-Bar B\xc3\xa4z FOO It'S" },
        { "{{ match \"b.\" \"abc\" }} {{ match \"^b\" \"abc\" }}", "true false" },
        { "{{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}", "h.example.com" },
        { "{{ reReplaceAll \"a\" \"<$0>\" \"banana\" }}", "b<a>n<a>n<a>" },
        { "{{ $labels.instance | stripPort }}", "h.example.com" },
        { "{{ \"[::1]:90\" | stripPort }} {{ \"::1\" | stripPort }} {{ \"a\" | stripPort }}",
          "::1 ::1 a" },
        { "{{ $labels.instance | stripDomain }} {{ \"foo.example.com\" | stripDomain }}",
          "h:9100 foo" },
        { "{{ \"192.0.2.1\" | stripDomain }} {{ \"192.0.2.1:12\" | stripDomain }} "
          "{{ \"[2001:db8::1]:12\" | stripDomain }} {{ \"[2001:db8::1]::12\" | stripDomain }}",
          "192.0.2.1 192.0.2.1:12 [2001:db8::1]:12 [2001:db8::1]::12" },
        { "{{ graphLink \"up{a=\\\"b\\\"} > 1\" }}",
          "/graph?g0.expr=up%7Ba%3D%22b%22%7D+%3E+1&g0.tab=0" },
        { "{{ tableLink \"up\" }}", "/graph?g0.expr=up&g0.tab=1" },
        { "{{ urlQueryEscape $labels.path }}", "%2Fa+b%3Fx%3D1%26y%3D%3Cz%3E" },
        { "{{ html \"<a href='x'>&\\\"\" }}", "&lt;a href=&#39;x&#39;&gt;&amp;&#34;" },
        { "{{ js \"<a='x'>\" }}", "\\u003Ca\\u003D\\'x\\'\\u003E" },
        { "{{ urlquery \"a b\" 1 }}", "a+b1" },
        { "{{ html nil 1 }} {{ html (query \"1.5\" | first) }}", "&lt;no value&gt;1 {map[] 1.5}" },
        { "{{ len (sortByLabel \"x\" nil) }}", "0" },
        { "{{ \"<b>\" | safeHtml }}", "<b>" },
        { "{{ (args 1 \"x\").arg1 }} {{ args 1 \"x\" }}", "x map[arg0:1 arg1:x]" },
        { "{{ (args 1).arg7 }}", "<no value>" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

static void numbers_for_people(void **state)
{
    static const struct output_case cases[] = {
        { "{{ humanize 0.0 }} {{ humanize 1234567 }} {{ humanize 999.9999 }} {{ humanize 0.0123 }}",
          "0 1.235M 1000 12.3m" },
        { "{{ humanize \"1e30\" }} {{ humanize -1500 }} {{ humanize 1e-30 }}",
          "1e+06Y -1.5k 1e-06y" },
        { "{{ humanize1024 1048576 }} {{ humanize1024 0.12 }} {{ humanize1024 1e30 }} "
          "{{ humanize1024 9223372036854775807 }}",
          "1Mi 0.12 8.272e+05Yi 8Ei" },
        { "{{ humanizeDuration 0 }} {{ humanizeDuration 60 }} {{ humanizeDuration 90000 }} "
          "{{ humanizeDuration -183845 }}",
          "0s 1m 0s 1d 1h 0m 0s -2d 3h 4m 5s" },
        { "{{ humanizeDuration 12345 }} {{ humanizeDuration 1000 }} {{ humanizeDuration 899.99 }}",
          "3h 25m 45s 16m 40s 14m 59s" },
        { "{{ humanizeDuration 0.1 }} {{ humanizeDuration .0001 }} {{ humanizeDuration 12.345 }} "
          "{{ humanizeDuration 1.2345 }}",
          "100ms 100us 12.35s 1.234s" },
        { "{{ humanizeDuration 9223372036854775807 }}", "106751991167300d 15h 30m 7s" },
        { "{{ humanizePercentage 0.1234567 }} {{ humanizePercentage 1000 }} "
          "{{ -0.22222 | humanizePercentage }}",
          "12.35% 1e+05% -22.22%" },
        { "{{ humanizeTimestamp 1435065584.128 }} {{ humanizeTimestamp -1.5 }}",
          "2015-06-23 13:19:44.128 +0000 UTC 1969-12-31 23:59:58.5 +0000 UTC" },
        { "{{ range args \"+Inf\" \"-Inf\" \"NaN\" }}{{ humanize . }}:{{ humanize1024 . }}:"
          "{{ humanizeDuration . }}:{{ humanizePercentage . }}:{{ humanizeTimestamp . }} {{ end }}",
          "+Inf:+Inf:+Inf:+Inf%:+Inf -Inf:-Inf:-Inf:-Inf%:-Inf NaN:NaN:NaN:NaN%:NaN " },
        { "{{ printf \"%.2f\" (parseDuration \"1h2m10ms\") }} {{ parseDuration \"-90s\" }}",
          "3720.01 -90" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

static void times_and_durations(void **state)
{
    static const struct output_case cases[] = {
        { "{{ (now | toTime).Format \"Mon Jan 2 15:04:05 2006\" }}", "Sat Nov 24 11:14:12 2012" },
        { "{{ $t := toTime 1435065584.128 }}{{ $t.Year }} {{ $t.Unix }} {{ $t.Month }} {{ $t.Day "
          "}} "
          "{{ $t.Weekday }} {{ $t.YearDay }} {{ $t.UnixMilli }}",
          "2015 1435065584 June 23 Tuesday 174 1435065584128" },
        { "{{ $t := toTime 1435065584.128 }}{{ $t.Format \"2006-01-02T15:04:05.000Z07:00\" }} "
          "{{ $t.Format \"Monday, 02-Jan-06 3:04PM .999999 MST -0700\" }}",
          "2015-06-23T13:19:44.128Z Tuesday, 23-Jun-15 1:19PM .128 UTC +0000" },
        { "{{ (toTime 0).Format \"_2 002 __2 January Month 03 pm\" }}",
          " 1 001   1 January Month 12 am" },
        { "{{ (toTime 951782400).Format \"2006-01-02 002\" }} {{ toTime -2203891200 }}",
          "2000-02-29 060 1900-03-01 00:00:00 +0000 UTC" },
        { "{{ toDuration 90 }} {{ toDuration 0.0015 }} {{ toDuration 0 }} {{ toDuration 3600.5 }} "
          "{{ toDuration \"-1e-9\" }} {{ toDuration 0.00000125 }}",
          "1m30s 1.5ms 0s 1h0m0.5s -1ns 1.25\xc2\xb5s" },
        { "{{ (toDuration 90).Minutes }} {{ (toDuration 90).Seconds }}", "1.5 90" },
        { "{{ printf \"%s|%d|%v\" (toDuration 1) (toDuration 1) (toTime 0).Month }}",
          "1s|1000000000|January" },
        { "{{ ((toTime 0).Add (toDuration 60)).Unix }} {{ (toTime 5).After (toTime 4) }}",
          "60 true" },
    };

    (void)state;
    check_outputs(cases, ARRAY_LEN(cases), 42);
}

struct error_case {
    const char *text, *expected;
    uint32_t pos;
};

static void faults_of_syntax_are_named(void **state)
{
    static const struct error_case cases[] = {
        { "{{ foo }}", "template: T:1: function \"foo\" not defined", 3 },
        { "a\n{{ tmpl }}", "template: T:2: function \"tmpl\" not defined", 5 },
        { "{{ $nope }}", "template: T:1: undefined variable \"$nope\"", 3 },
        { "{{ $labels.instance", "template: T:1: unclosed action", 19 },
        { "{{ if true\n", "template: T:2: unclosed action started at T:1", 11 },
        { "{{ \"a }}", "template: T:1: unterminated quoted string", 3 },
        { "{{ `a }}", "template: T:1: unterminated raw quoted string", 3 },
        { "{{ 'a }}", "template: T:1: unterminated character constant", 3 },
        { "{{ /* a */ }}", "template: T:1: unexpected \"/\" in command", 3 },
        { "{{/* a }}", "template: T:1: unclosed comment", 2 },
        { "{{/* a */ x}}", "template: T:1: comment ends before closing delimiter", 2 },
        { "{{ (1 }}", "template: T:1: unclosed left paren", 6 },
        { "{{ 1) }}", "template: T:1: unexpected right paren", 4 },
        { "{{ 1x }}", "template: T:1: bad number syntax: \"1x\"", 3 },
        { "{{ 99999999999999999999 }}", "template: T:1: integer overflow: \"99999999999999999999\"",
          3 },
        { "{{ $x+1 }}", "template: T:1: bad character U+002B '+'", 3 },
        { "{{\xc2\xa0}}", "template: T:1: unrecognized character in action: U+00A0", 2 },
        { "{{ x : y }}", "template: T:1: function \"x\" not defined", 3 },
        { "{{ }}", "template: T:1: missing value for command", 3 },
        { "{{ if }}a{{ end }}", "template: T:1: missing value for if", 6 },
        { "{{ if true }}a", "template: T:1: unexpected EOF", 14 },
        { "{{ end }}", "template: T:1: unexpected {{end}}", 7 },
        { "{{ else }}", "template: T:1: unexpected {{else}}", 8 },
        { "{{ break }}", "template: T:1: {{break}} outside {{range}}", 9 },
        { "{{ 1 | 2 }}", "template: T:1: non executable command in pipeline stage 2", 9 },
        { "{{ 1.Foo }}", "template: T:1: bad number syntax: \"1.F\"", 3 },
        { "{{ \"a\".Foo }}", "template: T:1: unexpected . after term \"\\\"a\\\"\"", 6 },
        { "{{ range $a, $b, $c := . }}{{ end }}", "template: T:1: too many declarations in range",
          15 },
        { "{{ $a, $b := 1 }}", "template: T:1: too many declarations in command", 5 },
        { "{{ template 5 }}", "template: T:1: unexpected \"5\" in template clause", 12 },
        { "{{ define \"x\" }}{{ $labels.a }}{{ end }}",
          "template: T:1: undefined variable \"$labels\"", 19 },
        { "{{ define \"x\" }}a{{ end }}{{ define \"x\" }}b{{ end }}",
          "template: T:1: template: multiple definition of template \"x\"", 0 },
        { "{{ if true }}{{ define \"x\" }}{{ end }}{{ end }}",
          "template: T:1: unexpected <define> in command", 16 },
        { "{{ \"\\z\" }}", "template: T:1: invalid syntax", 3 },
        { "{{ '' }}", "template: T:1: invalid syntax: ''", 3 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct err err = err_in(a);
        enum errc rc = template_check(STR("T"), str_from(cases[i].text), a, &err);

        if (rc != ERR_BAD_CONFIG || strcmp(err_text(&err), cases[i].expected) != 0)
            fail_msg("%s: %d\n  %s\nnot\n  %s", cases[i].text, rc, err_text(&err),
                     cases[i].expected);
        if (cases[i].pos && err.pos != cases[i].pos)
            fail_msg("%s: at %u, not %u", cases[i].text, err.pos, cases[i].pos);
        arena_free(a);
    }
}

#define EXECUTING(place, node)                                                                     \
    "error executing template T: template: T:" place ": executing \"T\" at <" node ">: "

static void faults_of_execution_are_named(void **state)
{
    static const struct error_case cases[] = {
        { "{{ gt $value 5 }}",
          EXECUTING(
              "1:3",
              "gt $value 5") "error calling gt: incompatible types for comparison: float64 and int",
          3 },
        { "line\n {{ humanize \"one\" }}",
          EXECUTING("2:4", "humanize \"one\"") "error calling humanize: strconv.ParseFloat: "
                                               "parsing \"one\": invalid syntax",
          9 },
        { "{{ $labels.a.b }}",
          EXECUTING("1:10", "$labels.a.b") "can't evaluate field b in type string", 10 },
        { "{{ $value | toUpper }}",
          EXECUTING("1:12", "toUpper") "wrong type for value; expected string; got float64", 12 },
        { "{{ toUpper 5 }}", EXECUTING("1:11", "5") "expected string; found 5", 11 },
        { "{{ (query \"none\").banana }}",
          EXECUTING("1:10", "\"none\"") "can't evaluate field banana in type template.queryResult",
          10 },
        { "{{ query \"none\" | first }}",
          EXECUTING("1:18",
                    "first") "error calling first: first() called on vector with no elements",
          18 },
        { "{{ query \"up{\" }}",
          EXECUTING("1:3", "query \"up{\"") "error calling query: 1:1: parse error: unexpected up{",
          3 },
        { "{{ humanize }}",
          EXECUTING("1:3", "humanize") "wrong number of args for humanize: want 1 "
                                       "got 0",
          3 },
        { "{{ printf }}",
          EXECUTING("1:3", "printf") "wrong number of args for printf: want at least 1 got 0", 3 },
        { "{{ $value 1 }}", EXECUTING("1:3", "$value") "can't give argument to non-function $value",
          3 },
        { "{{ nil }}", EXECUTING("1:3", "nil") "nil is not a command", 3 },
        { "{{ template \"nope\" }}",
          EXECUTING("1:12", "{{template \"nope\"}}") "template \"nope\" not defined", 12 },
        { "{{ $x = 1 }}", EXECUTING("1:8", "1") "undefined variable: $x", 8 },
        { "{{ range $value }}{{ end }}", EXECUTING("1:9", "$value") "range can't iterate over 42",
          9 },
        { "{{ index $labels 1 }}",
          EXECUTING("1:3",
                    "index $labels 1") "error calling index: value has type int; should be string",
          3 },
        { "{{ index \"abc\" 3 }}",
          EXECUTING("1:3", "index \"abc\" 3") "error calling index: index out of range: 3", 3 },
        { "{{ slice \"abc\" 2 1 }}",
          EXECUTING("1:3", "slice \"abc\" 2 1") "error calling slice: invalid slice index: 2 > 1",
          3 },
        { "{{ len 3 }}", EXECUTING("1:3", "len 3") "error calling len: len of type int", 3 },
        { "{{ match \"(\" \"a\" }}",
          EXECUTING("1:3", "match \"(\" \"a\"") "error calling match: error parsing regexp: "
                                                "missing closing ): `(`",
          3 },
        { "{{ reReplaceAll \"(\" \"\" \"a\" }}",
          EXECUTING(
              "1:3",
              "reReplaceAll \"(\" \"\" \"a\"") "error calling reReplaceAll: regexp: Compile(`(`): "
                                               "error parsing regexp: missing closing "
                                               "): `(`",
          3 },
        { "{{ parseDuration \"x\" }}",
          EXECUTING("1:3", "parseDuration \"x\"") "error calling parseDuration: not a valid "
                                                  "duration string: \"x\"",
          3 },
        { "{{ humanizeTimestamp 9223372036854775807 }}",
          EXECUTING("1:3",
                    "humanizeTimestamp 9223372036854775807") "error calling humanizeTimestamp: "
                                                             "9.223372036854776e+18 cannot be "
                                                             "represented as a "
                                                             "nanoseconds timestamp since it "
                                                             "overflows int64",
          3 },
        { "{{ toTime \"NaN\" }}",
          EXECUTING("1:3", "toTime \"NaN\"") "error calling toTime: value is NaN or Inf", 3 },
        { "{{ \"a\" | safeHtml | toUpper }}",
          EXECUTING("1:20", "toUpper") "wrong type for value; expected string; got template.HTML",
          20 },
        { "{{ define \"x\" }}{{ .a.b }}{{ end }}{{ template \"x\" $labels }}",
          "error executing template T: template: T:1:21: executing \"x\" at <.a.b>: can't evaluate "
          "field b in type string",
          0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct expansion e = expand(str_from(cases[i].text), 42);

        if (e.rc != ERR_EXECUTION || strcmp(err_text(&e.err), cases[i].expected) != 0)
            fail_msg("%s: %d\n  %s\nnot\n  %s", cases[i].text, e.rc, err_text(&e.err),
                     cases[i].expected);
        if (cases[i].pos && e.err.pos != cases[i].pos)
            fail_msg("%s: at %u, not %u", cases[i].text, e.err.pos, cases[i].pos);
        assert_int_equal(e.out.len, 0);
        end_expansion(&e);
    }
}

static void a_text_that_does_not_parse_does_not_expand(void **state)
{
    struct expansion e = expand(STR("{{ foo }}"), 0);

    (void)state;
    assert_int_equal(e.rc, ERR_BAD_CONFIG);
    assert_string_equal(err_text(&e.err),
                        "error parsing template T: template: T:1: function \"foo\" not defined");
    end_expansion(&e);
}

static void check_limited(struct str text)
{
    struct expansion e = expand(text, 42);

    if (e.rc != ERR_LIMIT)
        fail_msg("%.60s...: %d, %s", text.ptr, e.rc, err_text(&e.err));
    assert_int_equal(e.out.len, 0);
    end_expansion(&e);
}

static void an_expansion_has_limits(void **state)
{
    static const char *const texts[] = {
        "{{ range 1000000000 }}{{ end }}",
        "{{ range 100000 }}0123456789012345678901234567890123456789{{ end }}",
        "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}",
        "{{ $x := \"0123456789\" }}{{ range 100 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}",
        "{{ printf \"%1000000d%1000000d%1000000d\" 1 2 3 }}",
        "{{ printf \"%1000000d\" $labels }}",
        "{{ range 1000 }}{{ $x := query \"metric\" }}{{ end }}",
        "{{ range 100000 }}{{ $x := match \"(a*)*b\" \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" }}{{ end "
        "}}",
        "{{ $x := printf \"%100000d\" 1 }}{{ reReplaceAll \"\" \"0123456789012\" $x }}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        check_limited(str_from(texts[i]));
}

static void nesting_has_a_limit(void **state)
{
    static const struct {
        const char *open, *close;
    } cases[] = { { "{{if 1}}", "{{end}}" },
                  { "{{range 1}}", "{{end}}" },
                  { "{{if 0}}{{else if 0}}{{else}}", "{{end}}" },
                  { "{{block \"x\" 1}}", "{{end}}" } };
    struct buf text = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&text);
        for (int k = 0; k < 1000; k++)
            buf_text(&text, cases[i].open);
        for (int k = 0; k < 1000; k++)
            buf_text(&text, cases[i].close);
        check_limited(buf_as_str(&text));
    }
    buf_clear(&text);
    buf_text(&text, "{{");
    for (int k = 0; k < 1000; k++)
        buf_u8(&text, '(');
    check_limited(buf_as_str(&text));
    buf_free(&text);
}

static void a_small_arena_is_an_error(void **state)
{
    struct str text = STR("{{ range $k, $v := $labels }}{{ printf \"%s=%s\" $k $v }}{{ end }}");
    struct template_data data = { .labels = { series, ARRAY_LEN(series) } };
    enum errc rc = ERR_LIMIT;

    (void)state;
    for (size_t limit = 64; rc != OK; limit += 64) {
        struct arena *a = arena_new(limit);
        struct err err = err_in(a);
        struct buf out = { 0 };

        rc = template_expand(STR("T"), text, &data, a, &out, &err);
        if (rc != OK) {
            assert_int_equal(rc, ERR_LIMIT);
            assert_int_equal(out.len, 0);
        }
        buf_free(&out);
        arena_free(a);
    }
}

static void output_is_appended(void **state)
{
    struct template_data data = { .value = 1 };
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct buf out = { 0 };

    (void)state;
    buf_text(&out, "kept ");
    assert_int_equal(template_expand(STR("T"), STR("{{ $value }}"), &data, a, &out, &err), OK);
    assert_int_equal(template_expand(STR("T"), STR("x{{ query \"a\" }}"), &data, a, &out, &err),
                     ERR_EXECUTION);
    assert_true(str_is(buf_as_str(&out), "kept 1"));
    buf_free(&out);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_passes_through),
        cmocka_unit_test(data_of_the_alert),
        cmocka_unit_test(floats_print_as_in_go),
        cmocka_unit_test(control_structures),
        cmocka_unit_test(constants),
        cmocka_unit_test(logic_and_comparison),
        cmocka_unit_test(lengths_and_parts),
        cmocka_unit_test(printf_formats_as_go),
        cmocka_unit_test(prometheus_functions),
        cmocka_unit_test(numbers_for_people),
        cmocka_unit_test(times_and_durations),
        cmocka_unit_test(faults_of_syntax_are_named),
        cmocka_unit_test(faults_of_execution_are_named),
        cmocka_unit_test(a_text_that_does_not_parse_does_not_expand),
        cmocka_unit_test(an_expansion_has_limits),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(a_small_arena_is_an_error),
        cmocka_unit_test(output_is_appended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
