#!/usr/bin/env python3
"""test_native.py TIDEMARK [--seconds N]

Debian's Prometheus scrapes native histograms (a page in protobuf) and exemplars (a page in OpenMetrics) and sends them by
remote write 1.0. Both servers must then hold the same histograms, bucket by bucket, and the same exemplars; Tidemark also
after it was killed."""
import argparse
import http.server
import json
import math
import pathlib
import random
import shutil
import struct
import sys
import tempfile
import threading
import time

import harness
from llm_service import field_bytes, field_varint, uvarint

SCHEMA = 3
MODELS = ("small", "large")


def field_double(number, v):
    return uvarint(number << 3 | 1) + struct.pack("<d", v)


def zigzag(v):
    return (v << 1) ^ (v >> 63) & (1 << 64) - 1


def spans_and_deltas(counts):
    """{index: count} as the spans and deltas of the protobuf exposition format, fields 12 and 13."""
    out, last_index, last_count, run = b"", 0, 0, []
    for index in sorted(counts):
        if run and index == run[-1] + 1:
            run.append(index)
            continue
        if run:
            out += span(run, last_index)
            last_index = run[-1] + 1
        run = [index]
    if run:
        out += span(run, last_index)
    for index in sorted(counts):
        out += field_varint(13, zigzag(counts[index] - last_count))
        last_count = counts[index]
    return out


def span(run, after):
    return field_bytes(12, field_varint(1, zigzag(run[0] - after)) + field_varint(2, len(run)))


class Native:
    """A page with one native histogram a model, in protobuf; it is reset once."""

    content_type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

    def __init__(self):
        self.rng = random.Random(3)
        self.scrapes = 0
        self.counts = {m: {} for m in MODELS}
        self.zeros = dict.fromkeys(MODELS, 0)
        self.sums = dict.fromkeys(MODELS, 0.0)

    def advance(self):
        self.scrapes += 1
        if self.scrapes == 10:
            self.__init__()
            self.scrapes = 11
        for m in MODELS:
            for _ in range(self.rng.randrange(30)):
                v = self.rng.lognormvariate(0, 2)
                index = math.ceil(math.log2(v) * 2**SCHEMA)
                self.counts[m][index] = self.counts[m].get(index, 0) + 1
                self.sums[m] += v
            self.zeros[m] += self.rng.randrange(2)

    def body(self):
        self.advance()
        metrics = b""
        for m in MODELS:
            total = sum(self.counts[m].values()) + self.zeros[m]
            histogram = (field_varint(1, total) + field_double(2, self.sums[m]) + field_varint(5, zigzag(SCHEMA))
                         + field_double(6, 1e-128) + field_varint(7, self.zeros[m]) + spans_and_deltas(self.counts[m]))
            label = field_bytes(1, field_bytes(1, b"model") + field_bytes(2, m.encode()))
            metrics += field_bytes(4, label + field_bytes(7, histogram))
        family = (field_bytes(1, b"llm_native_seconds") + field_bytes(2, b"Latency.") + field_varint(3, 4) + metrics)
        return uvarint(len(family)) + family


class OpenMetrics:
    """A page with a counter and a classic histogram that carry exemplars."""

    content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    def __init__(self):
        self.scrapes = 0

    def body(self):
        self.scrapes += 1
        n, now = self.scrapes, time.time()
        return (f'# TYPE llm_traced counter\n'
                f'llm_traced_total{{model="small"}} {n} # {{trace_id="c{n:04}"}} 1 {now:.3f}\n'
                f'# TYPE llm_traced_seconds histogram\n'
                f'llm_traced_seconds_bucket{{le="1"}} {n} # {{trace_id="b{n:04}",span_id="s"}} 0.{n % 9 + 1} {now:.3f}\n'
                f'llm_traced_seconds_bucket{{le="+Inf"}} {n}\nllm_traced_seconds_sum {n / 2}\nllm_traced_seconds_count {n}\n'
                f'# EOF\n').encode()


def serve(page):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = page.body()
            self.send_response(200)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def prometheus(work, pages, tidemark_port):
    config = work / "prometheus.yml"
    config.write_text(json.dumps({  # JSON is YAML
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": f"page{i}", "static_configs": [{"targets": [f"127.0.0.1:{serve(p)}"]}]}
                           for i, p in enumerate(pages)],
        "remote_write": [{"url": f"http://127.0.0.1:{tidemark_port}/api/v1/write", "send_exemplars": True,
                          "send_native_histograms": True, "queue_config": {"batch_send_deadline": "1s"}}],
    }))
    port = harness.free_port()
    return harness.Process("prometheus", [harness.peer("prometheus", "prometheus"), f"--config.file={config}",
                                          f"--storage.tsdb.path={work / 'prometheus'}",
                                          "--enable-feature=native-histograms,exemplar-storage",
                                          f"--web.listen-address=127.0.0.1:{port}"], port)


def histograms(client, t, seconds):
    """All raw native histograms, by series and time: count, sum and buckets that are not empty."""
    found = {}
    for s in client.query(f"llm_native_seconds[{seconds}s]", t)["result"]:
        for when, h in s.get("histograms", []):
            buckets = [b for b in h.get("buckets", []) if float(b[3]) != 0]
            found[s["metric"]["model"], when] = (h["count"], h["sum"], buckets)
    return found


def exemplars(client, t, seconds):
    path = f'/api/v1/query_exemplars?query={{__name__=~"llm_traced.%2B"}}&start={t - seconds}&end={t}'
    status, body = client.request("GET", path.replace("{", "%7B").replace("}", "%7D").replace('"', "%22"))
    assert status == 200, body
    return {(json.dumps(s["seriesLabels"], sort_keys=True), e["timestamp"]): (e["labels"], float(e["value"]))
            for s in json.loads(body)["data"] for e in s["exemplars"]}


def differences(what, ours, theirs, least):
    if len(theirs) < least:
        return [f"Prometheus has only {len(theirs)} {what}"]
    return [f"{what} {key}: {ours.get(key)}, Prometheus {theirs.get(key)}"
            for key in sorted(set(ours) | set(theirs)) if ours.get(key) != theirs.get(key)]


def compare(ours, theirs, t, seconds):
    """Texts of what differs, and how many histograms and exemplars there were."""
    a, b = histograms(ours, t, seconds), histograms(theirs, t, seconds)
    failures = differences("histogram", a, b, 20)
    c, d = exemplars(ours, t, seconds), exemplars(theirs, t, seconds)
    failures += differences("exemplar", c, d, 20)
    for q in ("histogram_count(llm_native_seconds)", "histogram_sum(llm_native_seconds)"):
        x, y = ours.query(q, t)["result"], theirs.query(q, t)["result"]
        if [s["metric"] for s in x] != [s["metric"] for s in y] or not all(
                math.isclose(float(p["value"][1]), float(r["value"][1]), rel_tol=1e-9) for p, r in zip(x, y)):
            failures.append(f"{q}: {x}, Prometheus {y}")
    return failures, len(b), len(d)


def wait_for(client, t):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        result = client.query("min(timestamp(up))")["result"]
        if result and float(result[0]["value"][1]) > t:
            return
        time.sleep(0.2)
    raise AssertionError(f"no sample newer than {t} after a minute")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    ap.add_argument("--seconds", type=int, default=20, help="how long to scrape")
    args = ap.parse_args()
    harness.peer("prometheus", "prometheus")
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-e2e-"))
    server = harness.tidemark(args.tidemark, work / "tidemark")
    scraper = prometheus(work, [Native(), OpenMetrics()], server.port)
    try:
        server.start()
        scraper.start()
        time.sleep(args.seconds)
        ours, theirs = harness.Http(server.port), harness.Http(scraper.port)
        wait_for(ours, time.time())
        t = time.time() - 2
        failures, n_histograms, n_exemplars = compare(ours, theirs, t, args.seconds + 30)
        server.kill()
        server.start()
        ours.close()
        failures += [f"after kill -9: {f}" for f in compare(ours, theirs, t, args.seconds + 30)[0]]
    finally:
        scraper.stop()
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(failures[:20]) or f"passed: {n_histograms} native histograms and {n_exemplars} exemplars equal")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
