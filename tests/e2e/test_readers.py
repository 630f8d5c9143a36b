#!/usr/bin/env python3
"""test_readers.py TIDEMARK

Debian's Prometheus reads from Tidemark: by remote_read, where its answers must be those of Tidemark itself, and by
federation, where it must scrape the newest samples with their times. promtool's queries and checks are asked as well."""
import argparse
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import harness

CONFIG = "global:\n  external_labels: {zone: z1}\n"
QUERIES = ["llm_requests_total", "sum by (model) (rate(llm_requests_total[297s]))", "llm_gone", "count({job='llm'})",
           "llm_cost_dollars_total offset 10m", "max_over_time(llm_active_requests[1797s])", "absent(nothing)"]


def samples(now_ms):
    """Two hours at 15 s: counters, a float sum, a gauge, a series that ended with a staleness marker."""
    stale = harness.llm_service.struct.unpack("<d", (0x7ff0000000000002).to_bytes(8, "little"))[0]
    times = [now_ms - 15000 * i for i in range(480, -1, -1)]
    series = []
    for m, model in enumerate(("small", "large")):
        for status in ("200", "500"):
            series.append(({"__name__": "llm_requests_total", "job": "llm", "model": model, "status": status},
                           [(t, float(1000 + i * (m + 2))) for i, t in enumerate(times)]))
        series.append(({"__name__": "llm_cost_dollars_total", "job": "llm", "model": model},
                       [(t + 3, 0.1 + i / 7) for i, t in enumerate(times)]))
    series.append(({"__name__": "llm_active_requests", "job": "llm", "instance": "own"},
                   [(t, float(i * 7919 % 13)) for i, t in enumerate(times)]))
    series.append(({"__name__": "llm_gone", "job": "llm"}, [(times[-9], 1.0), (times[-8], stale)]))
    return series


def write(client, series):
    for one in series:
        status, body = client.request("POST", "/api/v1/write", harness.write_request([one]), harness.WRITE_HEADERS)
        assert status == 204, body


def prometheus(work, name, config):
    path = work / f"{name}.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    port = harness.free_port()
    return harness.Process(name, [harness.peer("prometheus", "prometheus"), f"--config.file={path}",
                                  f"--storage.tsdb.path={work / name}", f"--web.listen-address=127.0.0.1:{port}"], port)


def normal(data):
    """An answer as a set of series, without the label that the reader's own side strips."""
    return {json.dumps({k: v for k, v in s["metric"].items() if k != "zone"}, sort_keys=True):
            s.get("values") or s.get("value") for s in data["result"]}


def same(a, b):
    """Equal but for the last bits: series are summed in another order."""
    a, b = normal(a), normal(b)
    if a.keys() != b.keys():
        return False
    flat = [([x] if not isinstance(x[0], list) else x, [y] if not isinstance(y[0], list) else y)
            for x, y in ((a[k], b[k]) for k in a)]
    return all(len(x) == len(y) and all(p[0] == q[0] and math.isclose(float(p[1]), float(q[1]), rel_tol=1e-12)
                                        for p, q in zip(x, y)) for x, y in flat)


def check_remote_read(server, reader, now_s):
    failures = []
    ours, theirs = harness.Http(server.port), harness.Http(reader.port)
    for q in QUERIES:
        for a, b in ((ours.query(q, now_s), theirs.query(q, now_s)),
                     (ours.query_range(q, now_s - 3600, now_s, 60), theirs.query_range(q, now_s - 3600, now_s, 60))):
            if not same(a, b):
                failures.append(f"remote read, {q}: {str(normal(a))[:300]}, through Prometheus {str(normal(b))[:300]}")
    raw = "{job='llm'}[3h]"
    if normal(ours.query(raw, now_s)) != normal(theirs.query(raw, now_s)):
        failures.append("remote read: raw samples differ")
    return failures


def check_federation(reader, now_s):
    client, deadline = harness.Http(reader.port), time.monotonic() + 60
    while time.monotonic() < deadline:
        found = client.query('llm_requests_total{federated="yes"}', now_s + 1)["result"]
        if len(found) == 4:
            break
        time.sleep(0.3)
    else:
        return [f"federation: {found} after a minute"]
    metric = found[0]["metric"]
    failures = [] if metric.get("zone") == "z1" and metric["job"] == "llm" else [f"federation: labels {metric}"]
    times = {s["value"][1] for s in client.query('timestamp(llm_requests_total{federated="yes"})', now_s + 1)["result"]}
    if times != {str(now_s)}:
        failures.append(f"federation: times {times}, want {now_s}")
    own = client.query('llm_active_requests{federated="yes"}', now_s + 1)["result"]
    if [s["metric"].get("instance") for s in own] != ["own"]:
        failures.append(f"federation: instance of {own}")
    if client.query('llm_gone{federated="yes"}', now_s + 1)["result"]:
        failures.append("federation: an ended series is there")
    return failures


def promtool(*args):
    done = subprocess.run([harness.peer("prometheus", "promtool"), *args], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def check_promtool(server, now_s):
    url = f"http://127.0.0.1:{server.port}"
    cases = [
        (("query", "instant", "--time", str(now_s), url, "sum(llm_requests_total)"), r"^\{\} => \d+ @\[\d+"),
        (("query", "range", "--start", str(now_s - 60), "--end", str(now_s), "--step", "30s", url, "llm_active_requests"),
         r"llm_active_requests\{instance=\"own\", job=\"llm\"\} =>\n.* @\["),
        (("query", "series", "--match", "llm_requests_total", "--start", str(now_s - 60), "--end", str(now_s), url),
         r"model=\"large\""),
        (("query", "labels", "--start", str(now_s - 60), "--end", str(now_s), url, "model"), r"^large\nsmall"),
    ]
    if "healthy" in promtool("check", "--help")[1]:  # not in 2.42
        cases += [(("check", "healthy", f"--url={url}"), r"SUCCESS: Tidemark is Healthy\."),
                  (("check", "ready", f"--url={url}"), r"SUCCESS: Tidemark is Ready\.")]
    failures = []
    for args, pattern in cases:
        code, output = promtool(*args)
        if code != 0 or not re.search(pattern, output, re.M):
            failures.append(f"promtool {' '.join(args)}: {code}\n{output}")
    code, output = promtool("query", "instant", url, "sum(")
    if code == 0 or "parse error" not in output:
        failures.append(f"promtool with a bad query: {code} {output}")
    return failures


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    args = ap.parse_args()
    harness.peer("prometheus", "prometheus")
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-e2e-"))
    (work / "tidemark.yml").write_text(CONFIG)
    server = harness.tidemark(args.tidemark, work / "data", f"--config.file={work / 'tidemark.yml'}")
    now_s = int(time.time())
    reader = prometheus(work, "reader", {
        "global": {"external_labels": {"zone": "z1"}},
        "remote_read": [{"url": f"http://127.0.0.1:{server.port}/api/v1/read", "read_recent": True}]})
    federating = prometheus(work, "federating", {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "federate", "honor_labels": True, "metrics_path": "/federate",
                            "params": {"match[]": ['{job="llm"}']},
                            "static_configs": [{"targets": [f"127.0.0.1:{server.port}"], "labels": {"federated": "yes"}}]}]})
    try:
        server.start()
        write(harness.Http(server.port), samples(now_s * 1000))
        federating.start()
        reader.start()
        failures = check_federation(federating, now_s)
        failures += check_remote_read(server, reader, now_s)
        failures += check_promtool(server, now_s)
    finally:
        for process in (reader, federating, server):
            process.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(failures) or f"passed: {len(QUERIES)} queries and raw samples by remote read, federation, promtool")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
