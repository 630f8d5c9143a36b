#!/usr/bin/env python3
"""test_random.py TIDEMARK [--queries N] [--seed S]

Random data with gaps, resets, staleness markers, NaN and Inf goes to Tidemark and to Debian's Prometheus by remote write; random
expressions must then have the same answers, at one time and over a range, from memory and, after a restart, from disk.

Prometheus 2.42 differs from 3.x by design, so none of the following is made: a sample, or a step of a subquery, on the edge of a
window or of the lookback; a counter near zero, whose extrapolation is cut short otherwise; equal values for topk; stddev and
stdvar of NaN and Inf; functions of one version only. What Prometheus refuses is left out; sums are compared to 1e-9, since 2.42
does not compensate them."""
import argparse
import math
import pathlib
import random
import shutil
import struct
import sys
import tempfile
import time

import harness
from test_prometheus import by_labels

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
HOUR_S, STEP_S = 3600, 15
MODELS, STATUS, LE = ("small", "medium", "large"), ("200", "429", "500"), ("0.1", "0.5", "1", "2.5", "+Inf")


# ---- data ----

def times(rng, start_ms):
    """Scrapes some milliseconds off the grid, never at or 3 ms after a half second, where windows end; with gaps."""
    t = start_ms + rng.randrange(STEP_S * 1000)
    while t < start_ms + HOUR_S * 1000:
        yield t + 1 + (t % 500 == 0) if t % 500 in (0, 3) else t
        t += STEP_S * 1000 + rng.randrange(9) * (rng.random() < 0.2) + (rng.random() < 0.01) * rng.randrange(600000)


def counter(rng, grid, whole=True):
    v = rng.uniform(1e6, 2e6)
    for t in grid:
        v += rng.expovariate(0.1) * (rng.random() < 0.6)
        if rng.random() < 0.005:
            v = rng.uniform(5e5, 6e5)  # a reset, far from zero
        yield t, float(int(v)) if whole else v


def gauge(rng, grid, odd):
    v = rng.uniform(-50, 50)
    for t in grid:
        v += rng.gauss(0, 3)
        kind = rng.random()
        yield t, math.nan if odd and kind < 0.05 else math.inf if odd and kind < 0.08 else v
        if rng.random() < 0.004:
            yield t + 1000, STALE


def histogram(rng, grid):
    """The series of one histogram: {le: [(t, v)]}; each bucket counts what the lower ones do and more."""
    counts, series = [1000.0 * (i + 1) for i in range(len(LE))], {le: [] for le in LE}
    for t in grid:
        for i in range(len(LE)):
            more = float(rng.randrange(4))
            for k in range(i, len(LE)):
                counts[k] += more
        for le, c in zip(LE, counts):
            series[le].append((t, c))
    return series


def make_data(rng, start_ms):
    data = []
    for pod in ("a", "b", "c"):
        grid = list(times(rng, start_ms))
        for model in MODELS:
            for status in STATUS:
                data.append(({"__name__": "requests_total", "pod": pod, "model": model, "status": status}, list(counter(rng, grid))))
            data.append(({"__name__": "cost_total", "pod": pod, "model": model}, list(counter(rng, grid, whole=False))))
            for le, samples in histogram(rng, grid).items():
                data.append(({"__name__": "latency_bucket", "pod": pod, "model": model, "le": le}, samples))
            data.append(({"__name__": "active", "pod": pod, "model": model}, sorted(gauge(rng, grid, odd=False))))
        data.append(({"__name__": "odd", "pod": pod}, sorted(gauge(rng, grid, odd=True), key=lambda s: s[0])))
        data.append(({"__name__": "build_info", "pod": pod, "version": rng.choice("12")}, [(t, 1.0) for t in grid]))
    return data


def send(client, data):
    """In order of time over all series, as both want it."""
    every = sorted(((t, i, v) for i, (_, samples) in enumerate(data) for t, v in samples), key=lambda s: (s[0], s[1]))
    for at in range(0, len(every), 5000):
        body = harness.write_request([(data[i][0], [(t, v)]) for t, i, v in every[at:at + 5000]])
        status, text = client.request("POST", "/api/v1/write", body, harness.WRITE_HEADERS)
        assert status // 100 == 2, f"status {status}: {text[:300]}"


# ---- expressions ----

COUNTERS, GAUGES = ("requests_total", "cost_total", "latency_bucket"), ("active",)
OF_COUNTERS = ("rate", "increase", "irate", "resets", "changes", "delta", "idelta", "last_over_time", "max_over_time")
OF_GAUGES = ("avg_over_time", "sum_over_time", "min_over_time", "max_over_time", "count_over_time", "stddev_over_time", "stdvar_over_time",
             "last_over_time", "present_over_time", "changes", "delta", "deriv", "quantile_over_time")
OF_ODD = ("min_over_time", "max_over_time", "count_over_time", "last_over_time", "changes", "present_over_time")
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group")


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.in_subquery = False

    def selector(self, name):
        matchers = [m for m in (f'model{self.rng.choice(("=", "!="))}"{self.rng.choice(MODELS)}"', 'pod=~"a|b"', 'pod!~"c.*"', 'model=~"s.*|large"',
                                'status=~"[45].."', 'nothing=""', 'pod=~".+"') if self.rng.random() < 0.12]
        return name + ("{" + ",".join(matchers) + "}" if matchers else "")

    def offset(self):
        return self.rng.choice(("", "", "", " offset 3m", " offset -2m", " offset 17s"))

    def over_range(self, _=0):
        kind = self.rng.choice(("counter", "counter", "gauge", "odd"))
        names, functions = {"counter": (COUNTERS, OF_COUNTERS), "gauge": (GAUGES, OF_GAUGES), "odd": (("odd",), OF_ODD)}[kind]
        function, window = self.rng.choice(functions), self.rng.choice(("40s", "2m", "5m", "17m", "30m"))
        first = f"{self.rng.choice((0, 0.1, 0.5, 0.93, 1))}, " if function == "quantile_over_time" else ""
        return f"{function}({first}{self.selector(self.rng.choice(names))}[{window}]{self.offset()})"

    def plain(self):
        return self.selector(self.rng.choice(COUNTERS + GAUGES)) + self.offset()

    def grouping(self):
        labels = ", ".join(l for l in ("pod", "model", "status", "le", "none") if self.rng.random() < 0.4)
        return self.rng.choice(("", f"by ({labels}) ", f"without ({labels}) "))

    def vector(self, depth):
        if depth == 0:
            return self.rng.choice((self.over_range, self.over_range, self.plain))()
        return self.rng.choice((self.aggregate, self.aggregate, self.with_scalar, self.pair, self.subquery, self.quantile, self.mapped, self.over_range,
                                self.set_operation, self.compare, self.top))(depth - 1)

    def aggregate(self, depth):
        return f"{self.rng.choice(AGGREGATIONS)} {self.grouping()}({self.vector(depth)})"

    def with_scalar(self, depth):
        scalar = self.rng.choice(("2", "0.5", "-3", "1e3", "time()", "scalar(count(build_info))"))
        sides = [f"({self.vector(depth)})", scalar]
        self.rng.shuffle(sides)
        return f" {self.rng.choice(('+', '-', '*', '/'))} ".join(sides)

    def pair(self, depth):
        both = self.rng.choice((
            "sum by (pod) ({a}) {op} sum by (pod) ({b})", "sum by (pod, model) ({a}) {op} on (model, pod) sum by (model, pod) ({b})",
            "max by (pod, model) ({a}) {op} on (pod) group_left () sum by (pod) ({b})",
            "avg by (pod, model) ({a}) * on (pod) group_left (version) build_info", "sum by (pod) ({a}) {op} ignoring (version) build_info",
            "max by (pod) ({b}) {op} on (pod) group_right () sum by (pod, model) ({a})"))
        return both.format(a=self.vector(depth), b=self.vector(depth), op=self.rng.choice(("+", "-", "*", "/")))

    def subquery(self, depth):
        if self.in_subquery:  # its windows would end on the steps of the one inside
            return self.over_range()
        self.in_subquery = True
        inner = self.vector(depth)
        self.in_subquery = False
        function = self.rng.choice(("max_over_time", "min_over_time", "avg_over_time", "count_over_time", "sum_over_time", "last_over_time"))
        return f"{function}(({inner})[{self.rng.choice(('5m', '11m'))}:{self.rng.choice(('1m', '30s', '7s'))}])"

    def quantile(self, _):
        by = self.rng.choice(("le", "le, pod", "le, model", "le, pod, model"))
        return f"histogram_quantile({self.rng.choice((0.5, 0.9, 0.99))}, sum by ({by}) (rate({self.selector('latency_bucket')}[{self.rng.choice(('2m', '5m'))}])))"

    def mapped(self, depth):
        return self.rng.choice(("abs({})", "-({})", "clamp_max({}, 1e6)", "sqrt(abs({}))", "ln(abs({}))", "sort({})",
                                'label_replace({}, "to", "$1x", "pod", "(.*)")', "absent({})", "sgn({})")).format(self.vector(depth))

    def set_operation(self, depth):
        return f"({self.vector(depth)}) {self.rng.choice(('and', 'or', 'unless'))} {self.rng.choice(('', 'on (pod) ', 'on (model) '))}({self.vector(depth)})"

    def compare(self, _):
        return f"active {self.rng.choice(('>', '<', '>=', '!='))}{self.rng.choice((' ', ' bool '))}{self.rng.choice((0, 10, -20))}"

    def top(self, _):
        return f"{self.rng.choice(('topk', 'bottomk', 'quantile'))}({self.rng.choice((1, 2, 0.5))}, avg_over_time(active[5m])) "


# ---- comparing ----

def close(a, b):
    a, b = float(a), float(b)
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)


def difference(ours, theirs):
    a, b = by_labels(ours), by_labels(theirs)
    for labels in sorted(set(a) | set(b)):
        if labels not in a or labels not in b:
            return f"{labels} only in {'Tidemark' if labels in a else 'Prometheus'}"
        x, y = ([s] if s and not isinstance(s[0], list) else s for s in (a[labels], b[labels]))
        if [p[0] for p in x] != [p[0] for p in y]:
            return f"{labels}: {len(x)} points and {len(y)}"
        for p, q in zip(x, y):
            if not close(p[1], q[1]):
                return f"{labels} at {p[0]}: {p[1]}, Prometheus {q[1]}"
    return None


def ask(client, text, start, end, step):
    """The answer at the end, and over the range; None when it is refused."""
    try:
        return client.query(text, end), client.query_range(text, start, end, step)
    except RuntimeError as e:
        return e


def compare(ours, theirs, texts, start, end, step):
    failures, refused, empty = [], 0, 0
    for text in texts:
        want, got = ask(theirs, text, start, end, step), ask(ours, text, start, end, step)
        if isinstance(want, RuntimeError):
            refused += 1
        elif isinstance(got, RuntimeError):
            failures.append(f"{text}: {got}")
        else:
            failures += [f"{text}: {d}" for d in map(difference, got, want) if d]
            empty += not want[1]["result"]
    assert empty < len(texts) / 2, f"{empty} of {len(texts)} answers are empty"
    assert refused < len(texts) / 4, f"Prometheus refused {refused} of {len(texts)}"
    return failures


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    ap.add_argument("--queries", type=int, default=150)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    program = harness.peer("prometheus", "prometheus")
    rng, work = random.Random(args.seed), pathlib.Path(tempfile.mkdtemp(prefix="tidemark-e2e-"))
    (work / "prometheus.yml").write_text("global: {}\n")
    port = harness.free_port()
    server = harness.tidemark(args.tidemark, work / "tidemark")
    peer = harness.Process("prometheus", [program, f"--config.file={work / 'prometheus.yml'}", f"--storage.tsdb.path={work / 'prometheus'}",
                                          f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"], port)
    try:
        server.start()
        peer.start()
        start_s = int(time.time()) - HOUR_S - 60
        data, maker = make_data(rng, start_s * 1000), Maker(rng)
        texts = [maker.vector(rng.randrange(4)) for _ in range(args.queries)]
        for process in (server, peer):
            send(harness.Http(process.port), data)
        theirs, window = harness.Http(peer.port), (start_s + 2400.003, start_s + 3540.003, rng.choice((15, 30, 61)))
        failures = [f"from memory: {f}" for f in compare(harness.Http(server.port), theirs, texts, *window)]
        server.stop()  # which flushes
        server = harness.tidemark(args.tidemark, work / "tidemark")
        server.start()
        failures += [f"from disk: {f}" for f in compare(harness.Http(server.port), theirs, texts, *window)]
    finally:
        server.stop()
        peer.stop()
        shutil.rmtree(work, ignore_errors=True)
    for f in failures[:20]:
        print(f)
    print(f"{len(texts)} expressions, seed {args.seed}: {len(failures)} differences")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
