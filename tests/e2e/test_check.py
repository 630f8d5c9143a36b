#!/usr/bin/env python3
"""test_check.py TIDEMARK: `check rules` and `check config` as their users see them.

RULES_DIR in the environment names a folder with rules files and an expected.json that says how checking each has to
end. Where promtool is here, verdicts are compared with its own."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import harness

GOOD = "groups: [{ name: g, rules: [{ record: r, expr: up, labels: { a: b } }] }]\n"
TWICE = "groups: [{ name: g, rules: [{ record: r, expr: up }, { record: r, expr: up }] }]\n"

# Rules files of which promtool and we must think the same, and what both have to say.
ALIKE = {
    "good": (GOOD, 0, ""),
    "empty": ("", 0, ""),
    "no_groups": ("groups:\n", 0, ""),
    "anchor": ("groups: [{ name: g, rules: [{ record: r, expr: &e up }, { record: s, expr: *e }] }]", 0, ""),
    "scalars": ("groups: [{ name: g, rules: [{ alert: r, expr: 1, labels: { a: 5, b: true, c: } }] }]", 0, ""),
    "twice": (TWICE, 0, "duplicate rule(s) found"),
    "both": ("groups: [{ name: g, rules: [{ record: r, alert: a, expr: 1 }] }]", 1,
             "only one of 'record' and 'alert' must be set"),
    "neither": ("groups: [{ name: g, rules: [{ expr: 1 }] }]", 1, "one of 'record' or 'alert' must be set"),
    "no_expr": ("groups: [{ name: g, rules: [{ alert: a }] }]", 1, "field 'expr' must be set in rule"),
    "expr": ("groups: [{ name: g, rules: [{ alert: a, expr: sum(x }] }]", 1, "unclosed left parenthesis"),
    "for": ("groups: [{ name: g, rules: [{ record: a, expr: 1, for: 1m }] }]", 1,
            "invalid field 'for' in recording rule"),
    "duration": ("groups: [{ name: g, rules: [{ alert: a, expr: 1, for: 1m1h }] }]", 1,
                 'not a valid duration string: "1m1h"'),
    "label": ("groups: [{ name: g, rules: [{ alert: a, expr: 1, labels: { __name__: x } }] }]", 1,
              "invalid label name: __name__"),
    "template": ("groups: [{ name: g, rules: [{ alert: T, expr: 1, annotations: { s: '{{ nosuch }}' } }] }]", 1,
                 'template: __alert_T:1: function "nosuch" not defined'),
    "group": ("groups: [{ name: g }, { name: g }]", 1, 'groupname: "g" is repeated in the same file'),
    "no_name": ("groups: [{ rules: [] }]", 1, "Groupname must not be empty"),
    "field": ("groups: [{ name: g, foo: 1 }]", 1, "field foo not found in type rulefmt.RuleGroup"),
    "key": ("groups:\n- name: g\n  name: h\n", 1, 'mapping key "name" already defined at line 2'),
    "syntax": ("groups: [\n", 1, "did not find expected node content"),
}


class Checker:
    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = pathlib.Path(folder)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def run(self, *args, stdin=""):
        """(exit status, standard output, standard error) of `check ARGS`."""
        done = subprocess.run([self.binary, "check", *args], input=stdin, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def expect(self, args, status, out="", err="", stdin=""):
        got = self.run(*args, stdin=stdin)
        assert got[0] == status, (args, got)
        assert out in got[1] and err in got[2], (args, got)
        return got


def check_usage(c):
    c.expect([], 2, err="usage: tidemark check")
    c.expect(["rulez", "x"], 2, err="usage: tidemark check")
    c.expect(["config"], 2, err="usage: tidemark check")
    c.expect(["rules", "--nosuch"], 2, err="unknown flag --nosuch")
    c.expect(["rules", "--lint"], 2, err="missing value of --lint")
    c.expect(["--help"], 0, out="--lint-fatal")


def check_rules(c):
    good, twice = c.file("good.yml", GOOD), c.file("twice.yml", TWICE)
    bad = c.file("bad.yml", "groups:\n  - name: g\n    rules:\n      - record: r\n        expr: |\n          up\n"
                            "          + )\n      - alert: a\n        expr: 1\n        fro: 5m\n")
    c.expect(["rules", good], 0, out=f"Checking {good}\n  SUCCESS: 1 rules found\n")
    c.expect(["rules"], 0, out="Checking standard input\n  SUCCESS: 1 rules found\n", stdin=GOOD)
    c.expect(["rules", bad], 1, out=f"Checking {bad}\n",
             err=f"  FAILED:\n{bad}:7:14: group \"g\", rule 1, \"r\": could not parse expression: parse error: "
                 "unexpected right parenthesis ')'\n"
                 f"{bad}:10:9: field fro not found in type rulefmt.Rule; did you mean \"for\"?\n")
    status, out, _ = c.expect(["rules", good, bad, good], 1)
    assert out.count("SUCCESS") == 2, out
    c.expect(["rules", "--ignore-unknown-fields"], 0, stdin="foo: 1\n" + GOOD)
    c.expect(["rules", "/nosuch/rules.yml"], 1, err="/nosuch/rules.yml")
    c.expect(["rules", twice], 0, out="SUCCESS: 2 rules found", err="warning: duplicate rule(s) found")
    c.expect(["rules", "--lint-fatal", twice], 3, err="FAILED:")
    c.expect(["rules", "--lint-fatal", twice, bad], 1)
    c.expect(["rules", "--lint-fatal", "--lint=none", twice], 0, out="SUCCESS")
    c.expect(["rules", "--lint-fatal", "--lint=all", twice], 3)
    c.expect(["rules", "--lint-fatal", "--lint=new-one,duplicate-rules", twice], 3, err="unknown lint option")


def check_json(c):
    bad = c.file("j.yml", 'groups: [{ name: "\\"<é", rules: [{ record: r }] }]')
    twice = c.file("k.yml", TWICE)
    status, out, err = c.run("rules", "--json", bad, twice)
    assert status == 1 and err == "", (status, err)
    found = json.loads(out)
    assert found["success"] is False
    assert [(f["file"], f["success"], f["found"]) for f in found["files"]] == [(bad, False, 0), (twice, True, 2)]
    fault, = found["files"][0]["diagnostics"]
    assert fault == {"file": bad, "line": 1, "column": 34, "severity": "error", "lint": False,
                     "text": 'group "\\"<é", rule 1, "r": field \'expr\' must be set in rule'}, fault
    lint, = found["files"][1]["diagnostics"]
    assert lint["severity"] == "warning" and lint["lint"] is True, lint
    assert json.loads(c.expect(["rules", "--json"], 0, stdin=GOOD)[1])["success"] is True


def check_config(c):
    c.file("rules_a.yml", GOOD)
    c.file("rules_b.yml", "groups: [{ name: '' }]")
    both = c.file("both.yml", "rule_files: ['rules_*.yml']\nscrape_configs: []\n")
    one = c.file("one.yml", "global: { evaluation_interval: 5s }\nrule_files: [rules_a.yml]\n")
    bad = c.file("unknown.yml", "globl: {}\n")
    c.expect(["config", one], 0, out=f"SUCCESS: 1 rule files found\n SUCCESS: {one} is valid")
    status, out, err = c.expect(["config", both], 1, out="SUCCESS: 2 rule files found",
                                err="Groupname must not be empty")
    assert f"{both}:2:1: warning: scrape_configs is ignored" in err, err
    assert out.count("Checking") == 3, out
    c.expect(["config", "--syntax-only", both], 0)
    c.expect(["config", bad], 1, err=f'{bad}:1:1: field globl not found in type config.Config; did you mean "global"?')
    c.expect(["config", "/nosuch.yml"], 1, err="/nosuch.yml")


def check_given(c, folder):
    """The verdicts of expected.json."""
    cases = json.loads((folder / "expected.json").read_text())["cases"]
    cases = [case for case in cases if case["command"] == "check rules"]
    assert cases
    for case in cases:
        c.expect(["rules", *case["args"], str(folder / case["file"])], case["exit"],
                 err=case.get("error_contains", ""))
    print(f"{len(cases)} given cases end as they have to")


def compare(c, promtool, files):
    for path in files:
        ours = c.run("rules", path)
        theirs = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, timeout=60)
        assert ours[0] == theirs.returncode, (path, ours, theirs)
    for name, (text, status, says) in ALIKE.items():
        path = c.file(f"alike_{name}.yml", text)
        theirs = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, timeout=60)
        assert theirs.returncode == status, (name, theirs)
        assert says in theirs.stdout + theirs.stderr, (name, theirs)
    print(f"promtool agrees on {len(ALIKE) + len(files)} files")


def main():
    example = str(harness.ROOT / "examples" / "llm_alerts.yml")
    given = os.environ.get("RULES_DIR")
    with tempfile.TemporaryDirectory() as folder:
        c = Checker(sys.argv[1], folder)
        check_usage(c)
        check_rules(c)
        check_json(c)
        check_config(c)
        c.expect(["rules", "--lint-fatal", example], 0, out="SUCCESS: 9 rules found")
        for name, (text, status, says) in ALIKE.items():
            c.expect(["rules", c.file(f"alike_{name}.yml", text)], status, err=says)
        files = [example]
        if given:
            check_given(c, pathlib.Path(given))
            files += [str(pathlib.Path(given) / name) for name in
                      ("rules.yml", "rules-bad.yml", "llm_alerts_original.yml", "bad_expr.bad.yaml",
                       "rules_duplicates.yml", "prometheus-rules.lint.yml", "template_parsing_1.yml",
                       "template_parsing_3.yml", "template_parsing_4.yml", "template_parsing_5.yml")]
        compare(c, harness.peer("prometheus", "promtool"), files)


if __name__ == "__main__":
    main()
