#!/usr/bin/env python3
"""test_prometheus.py TIDEMARK [--seconds N]

Debian's Prometheus scrapes a small metrics page and remote-writes to Tidemark. Then both must hold the same raw samples,
bit by bit, and give the same answers to the same queries. Versions differ (2.x here, 3.x semantics in Tidemark), so query
times are chosen where they agree: no sample lies exactly on the edge of a window."""
import argparse
import http.server
import json
import math
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

import harness

MODELS = ("small", "medium", "large")
BUCKETS = ("0.1", "0.5", "1", "2.5", "5", "+Inf")


class Page:
    """A page that moves a little at every scrape, with a counter reset and a series that ends."""

    def __init__(self):
        self.rng = random.Random(7)
        self.scrapes = 0
        # far from zero, where 2.x and 3.x extrapolate a counter's beginning alike
        self.requests = {(m, s): 1000 for m in MODELS for s in ("200", "429", "500")}
        self.buckets = {m: [1000 + 10 * i for i in range(len(BUCKETS))] for m in MODELS}
        self.sums = dict.fromkeys(MODELS, 1000.0)
        self.cost = dict.fromkeys(MODELS, 10.0)

    def advance(self):
        self.scrapes += 1
        for m in MODELS:
            for _ in range(self.rng.randrange(20)):
                latency = self.rng.expovariate(1)
                self.requests[m, self.rng.choices(("200", "429", "500"), (90, 5, 5))[0]] += 1
                self.sums[m] += latency
                self.cost[m] += latency / 1000
                for i, bound in enumerate(BUCKETS):
                    self.buckets[m][i] += latency <= float(bound)
        if self.scrapes == 12:  # a restart of the service
            self.requests = dict.fromkeys(self.requests, 500)

    def text(self):
        out = ["# HELP llm_requests_total Requests by model and status.", "# TYPE llm_requests_total counter"]
        out += [f'llm_requests_total{{model="{m}",status="{s}"}} {n}' for (m, s), n in self.requests.items()]
        out += ["# HELP llm_latency_seconds Latency.", "# TYPE llm_latency_seconds histogram"]
        for m in MODELS:
            out += [f'llm_latency_seconds_bucket{{model="{m}",le="{b}"}} {n}' for b, n in zip(BUCKETS, self.buckets[m])]
            out += [f'llm_latency_seconds_sum{{model="{m}"}} {self.sums[m]!r}',
                    f'llm_latency_seconds_count{{model="{m}"}} {self.buckets[m][-1]}']
        out += ["# TYPE llm_cost_dollars_total counter"]
        out += [f'llm_cost_dollars_total{{model="{m}"}} {c!r}' for m, c in self.cost.items()]
        out += ["# TYPE llm_active_requests gauge", f"llm_active_requests {self.rng.randrange(10)}"]
        if self.scrapes < 15:
            out += ["# TYPE llm_going_away gauge", "llm_going_away 1"]
        out += ["# TYPE llm_odd gauge", f'llm_odd{{k="nan"}} NaN', f'llm_odd{{k="inf"}} +Inf', f'llm_odd{{k="neg"}} -1e-9',  # the sender drops the sign of -0
                f'llm_odd{{k="tiny"}} 4.9e-324']
        return "\n".join(out) + "\n"


def serve(page):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            page.advance()
            body = page.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def prometheus(work, page_port, tidemark_port):
    config = work / "prometheus.yml"
    config.write_text(json.dumps({  # JSON is YAML
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "llm", "static_configs": [{"targets": [f"127.0.0.1:{page_port}"]}]}],
        "remote_write": [{"url": f"http://127.0.0.1:{tidemark_port}/api/v1/write",
                          "metadata_config": {"send_interval": "2s"}, "queue_config": {"batch_send_deadline": "1s"}}],
    }))
    port = harness.free_port()
    return harness.Process("prometheus", [harness.peer("prometheus", "prometheus"), f"--config.file={config}",
                                          f"--storage.tsdb.path={work / 'prometheus'}",
                                          f"--web.listen-address=127.0.0.1:{port}"], port)


def by_labels(data):
    key = "values" if data["resultType"] == "matrix" else "value"
    if data["resultType"] in ("scalar", "string"):
        return {"": data["result"]}
    return {json.dumps(s["metric"], sort_keys=True): s[key] for s in data["result"]}


def close(a, b):
    a, b = float(a), float(b)
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-12)


def same_points(a, b):
    if a and not isinstance(a[0], list):
        a, b = [a], [b]
    return len(a) == len(b) and all(x[0] == y[0] and close(x[1], y[1]) for x, y in zip(a, b))


def difference(ours, theirs):
    """None, or a text: where the two answers differ."""
    if ours["resultType"] != theirs["resultType"]:
        return f"result type {ours['resultType']}, Prometheus {theirs['resultType']}"
    a, b = by_labels(ours), by_labels(theirs)
    for labels in sorted(set(a) | set(b)):
        if labels not in a or labels not in b:
            return f"{labels} only in {'Tidemark' if labels in a else 'Prometheus'}"
        if not same_points(a[labels], b[labels]):
            return f"{labels}: {str(a[labels])[:300]}, Prometheus {str(b[labels])[:300]}"
    return None


QUERIES = """
1 + 1
time()
llm_requests_total
llm_odd
{__name__=~"llm_.*_total", model!="small"}
llm_requests_total{status=~"4..|5.."}
llm_requests_total{status!~"2.."}
llm_requests_total offset 3s
llm_going_away
absent(llm_going_away)
absent(nothing_here{a="b"})
sum by (model) (rate(llm_requests_total[5500ms]))
sum by (model) (increase(llm_requests_total[7500ms]))
irate(llm_requests_total[5500ms])
delta(llm_active_requests[8500ms])
deriv(llm_active_requests[8500ms])
predict_linear(llm_active_requests[8500ms], 60)
resets(llm_requests_total[30500ms])
changes(llm_active_requests[10500ms])
sum(rate(llm_requests_total{status=~"5.."}[9500ms])) / sum(rate(llm_requests_total[9500ms]))
histogram_quantile(0.95, sum by (le) (rate(llm_latency_seconds_bucket[9500ms])))
histogram_quantile(0.5, sum by (le, model) (rate(llm_latency_seconds_bucket[9500ms])))
sum(increase(llm_cost_dollars_total[9500ms])) * 3600
rate(llm_latency_seconds_sum[9500ms]) / rate(llm_latency_seconds_count[9500ms])
avg_over_time(llm_active_requests[9500ms])
max_over_time(llm_active_requests[9500ms]) - min_over_time(llm_active_requests[9500ms])
quantile_over_time(0.9, llm_active_requests[9500ms])
stddev_over_time(llm_active_requests[9500ms])
count_over_time(llm_odd[9500ms])
last_over_time(llm_going_away[20500ms])
sum_over_time(llm_cost_dollars_total[9500ms])
present_over_time(llm_requests_total[9500ms])
topk(2, llm_latency_seconds_count)
bottomk(1, llm_cost_dollars_total)
quantile(0.5, llm_cost_dollars_total)
count_values("v", llm_active_requests)
stdvar(llm_cost_dollars_total)
count by (status) (llm_requests_total)
group by (model) (llm_requests_total)
llm_requests_total > 5
llm_requests_total > bool 5
llm_requests_total and on (model) llm_cost_dollars_total
llm_requests_total unless llm_requests_total{status="200"}
llm_cost_dollars_total or llm_active_requests
llm_requests_total / on (model) group_left () llm_latency_seconds_count
llm_latency_seconds_count % 7
2 ^ llm_active_requests
-llm_cost_dollars_total
abs(-llm_cost_dollars_total)
round(llm_cost_dollars_total, 0.001)
clamp(llm_requests_total, 2, 10)
ceil(llm_cost_dollars_total * 100)
ln(llm_latency_seconds_count)
sqrt(llm_latency_seconds_sum)
label_replace(llm_requests_total, "kind", "$1xx", "status", "(.)..")
label_join(llm_requests_total, "both", "-", "model", "status")
scalar(llm_active_requests)
vector(3)
timestamp(llm_active_requests)
hour(vector(1700000000))
day_of_week(vector(1700000000))
sgn(llm_active_requests - 5)
max_over_time(sum(rate(llm_requests_total[3500ms]))[10s:2s])
avg_over_time(llm_active_requests[9500ms] offset 2s)
sum(llm_requests_total @ end())
sort(llm_latency_seconds_count)
up
""".strip().splitlines()


def compare(ours, theirs, times):
    failures = []
    for q in QUERIES:
        for t in times:
            difference_found = difference(ours.query(q, t), theirs.query(q, t))
            if difference_found:
                failures.append(f"{q} at {t}: {difference_found}")
        start, end = times[0], times[-1]
        difference_found = difference(ours.query_range(q, start, end, 1), theirs.query_range(q, start, end, 1))
        if difference_found:
            failures.append(f"{q} from {start} to {end}: {difference_found}")
    return failures


def compare_raw(ours, theirs, t, seconds):
    """All samples of all series; a text per difference. Values are compared as they print, which is bit by bit."""
    q = '{job="llm"}[%ds]' % seconds
    a, b = by_labels(ours.query(q, t)), by_labels(theirs.query(q, t))
    assert len(b) > 40, f"Prometheus has only {len(b)} series"
    return [f"raw samples of {k} differ: {len(a.get(k, []))} and {len(b.get(k, []))}" for k in sorted(set(a) | set(b))
            if a.get(k) != b.get(k)], sum(map(len, b.values()))


def wait_for(client, t):
    """Until a sample newer than t has arrived."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        result = client.query("max(timestamp(up))")["result"]
        if result and float(result[0]["value"][1]) > t:
            return
        time.sleep(0.2)
    raise AssertionError(f"no sample newer than {t} after a minute")


def safe_times(client, seconds):
    """Whole-second query times whose distance to every sample time is no multiple of half a second."""
    newest = int(float(client.query("max(timestamp(up))")["result"][0]["value"][1]))
    return [newest - d + 0.003 for d in (seconds - 12, 9, 6, 2)]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    ap.add_argument("--seconds", type=int, default=25, help="how long to scrape")
    args = ap.parse_args()
    harness.peer("prometheus", "prometheus")
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-e2e-"))
    server = harness.tidemark(args.tidemark, work / "tidemark")
    scraper = prometheus(work, serve(Page()), server.port)
    try:
        server.start()
        scraper.start()
        time.sleep(args.seconds)
        ours, theirs = harness.Http(server.port), harness.Http(scraper.port)
        wait_for(ours, time.time() - 3)
        times = safe_times(ours, args.seconds)
        failures, n = compare_raw(ours, theirs, times[-1], args.seconds + 30)
        failures += compare(ours, theirs, times)
        metadata = json.loads(ours.request("GET", "/api/v1/metadata?metric=llm_requests_total")[1])["data"]
        if metadata.get("llm_requests_total", [{}])[0].get("type") != "counter":
            failures.append(f"metadata of llm_requests_total: {metadata}")
        server.kill()
        server.start()
        ours.close()
        more, _ = compare_raw(ours, theirs, times[-1], args.seconds + 30)
        failures += [f"after kill -9: {f}" for f in more]
    finally:
        scraper.stop()
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(failures) or f"passed: {n} raw samples equal, {len(QUERIES)} queries at {len(times)} times and as ranges")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
