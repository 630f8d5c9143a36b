#!/usr/bin/env python3
"""test_grafana.py TIDEMARK

The dashboard of examples/grafana with the data of examples/llm_service.py: every panel's query, the template variable and
the annotation are asked as Grafana would ask them and must yield something."""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

import harness

GRAFANA = harness.ROOT / "examples" / "grafana"
EMPTY_IS_FINE = {"Pending and firing"}  # while nothing is wrong
VARIABLES = {"$__rate_interval": "1m", "$__range": "3600s", "$model": ".*", "$__interval": "15s"}


def fill(expr):
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


def ask(client, endpoint, **params):
    status, body = client.request("POST", f"/api/v1/{endpoint}", urllib.parse.urlencode(params, doseq=True),
                                  {"Content-Type": "application/x-www-form-urlencoded"})
    return status, json.loads(body)


def check_target(client, title, target, now):
    expr, answers = fill(target["expr"]), []
    if target.get("range", True):
        answers.append(ask(client, "query_range", query=expr, start=now - 3600, end=now, step=15))
    if target.get("instant"):
        answers.append(ask(client, "query", query=expr, time=now))
    failures = []
    for status, answer in answers:
        if status != 200 or answer.get("warnings"):
            failures.append(f"{title}: {expr}: {status} {answer}")
        elif not answer["data"]["result"] and title not in EMPTY_IS_FINE:
            failures.append(f"{title}: {expr} yields nothing")
    if target.get("exemplar"):
        status, answer = ask(client, "query_exemplars", query=expr, start=now - 3600, end=now)
        if status != 200:
            failures.append(f"{title}: exemplars {status} {answer}")
    return failures


def check_dashboard(client, path, now):
    dashboard = json.loads(path.read_text())
    failures, n = [], 0
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            failures += check_target(client, panel["title"], target, now)
            n += 1
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
        status, answer = ask(client, f"label/{label}/values", **{"match[]": selector, "start": now - 3600, "end": now})
        if status != 200 or len(answer["data"]) < 2:
            failures.append(f"variable {variable['name']}: {status} {answer}")
    for annotation in dashboard["annotations"]["list"]:
        status, answer = ask(client, "query_range", query=annotation["expr"], start=now - 3600, end=now, step=60)
        if status != 200:
            failures.append(f"annotation {annotation['name']}: {status} {answer}")
    ids = [p["id"] for p in dashboard["panels"]]
    return failures + ([] if len(ids) == len(set(ids)) else ["two panels have the same id"]), n


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    args = ap.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-e2e-"))
    server = harness.tidemark(args.tidemark, work / "data", f"--rules={harness.ROOT / 'examples' / 'llm_alerts.yml'}")
    service = None
    try:
        client = harness.Http(server.start().port)
        service = subprocess.Popen([sys.executable, harness.ROOT / "examples" / "llm_service.py", "--backfill=1h",
                                    f"--url=http://127.0.0.1:{server.port}/api/v1/write", "--interval=5s"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not client.query("count_over_time(llm_active_requests[1m])")["result"]:
            assert time.monotonic() < deadline, "no data after a minute"
            time.sleep(0.3)
        time.sleep(1)
        failures, n = [], 0
        for path in sorted((GRAFANA / "dashboards").glob("*.json")):
            more, count = check_dashboard(client, path, int(time.time()))
            failures += more
            n += count
    finally:
        if service:
            service.terminate()
            service.wait()
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(failures) or f"passed: {n} queries of panels")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
