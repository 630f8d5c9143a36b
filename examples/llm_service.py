#!/usr/bin/env python3
"""A simulated LLM service that pushes its metrics by Prometheus remote write 1.0.

It serves nothing: it draws requests to a few models as a busy service would see them (more by day
than by night, now and then an incident with errors and slow answers) and sends what such a service
measures:

  llm_requests_total{model,status,error_type}  counter; status is success or error
  llm_latency_seconds_bucket|_sum|_count{model}  histogram, 14 buckets
  llm_tokens_total{model,type}                 counter; type is input or output
  llm_cost_dollars_total{model}                counter
  llm_active_requests{model}                   gauge

all with job and instance. Samples wait in memory while the server is away and are sent when it is
back. Needs nothing but Python's standard library.
"""
import argparse
import bisect
import collections
import dataclasses
import http.client
import json
import math
import random
import signal
import struct
import sys
import threading
import time
import urllib.parse
import zlib

BOUNDS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 4, 6, 10, 15, 30, 60, math.inf)
TIMEOUT_S = 60.0  # the service gives up on a request after that
ERRORS = ("rate_limit", "timeout", "server_error")
STATUSES = ("success",) + ERRORS

# Metric types of remote write's MetricMetadata.
COUNTER, GAUGE, HISTOGRAM = 1, 2, 3
METADATA = (
    ("llm_requests_total", COUNTER, "Requests to a model by outcome.", ""),
    ("llm_latency_seconds", HISTOGRAM, "Time from request to the complete answer.", "seconds"),
    ("llm_tokens_total", COUNTER, "Tokens read (input) and written (output).", "tokens"),
    ("llm_cost_dollars_total", COUNTER, "Money spent, by the price list of the model.", "dollars"),
    ("llm_active_requests", GAUGE, "Requests being answered.", ""),
)

MAX_SAMPLES_PER_REQUEST = 2000
MAX_WAITING_S = 2 * 3600  # of samples are kept while the server is away
METADATA_EVERY_S = 60


@dataclasses.dataclass(frozen=True)
class Profile:
    """How a model behaves: share of the traffic, latency, tokens, dollars for a million tokens."""

    share: float
    latency_s: float
    tokens_in: float
    tokens_out: float
    price_in: float
    price_out: float
    error_ratio: float


PROFILES = {
    "gpt-4o": Profile(0.25, 2.2, 1200, 350, 2.50, 10.00, 0.008),
    "gpt-4o-mini": Profile(0.40, 0.9, 800, 250, 0.15, 0.60, 0.004),
    "claude-sonnet": Profile(0.25, 2.8, 2000, 500, 3.00, 15.00, 0.006),
    "llama-3-70b": Profile(0.10, 4.5, 900, 300, 0.60, 0.80, 0.020),
}


def profile_of(model):
    """The known profile, or one made up from the name, always the same for the same name."""
    if model in PROFILES:
        return PROFILES[model]
    rng = random.Random(zlib.crc32(model.encode()))
    price = rng.uniform(0.1, 5)
    return Profile(rng.uniform(0.05, 0.3), rng.uniform(0.5, 5), rng.uniform(300, 2500),
                   rng.uniform(100, 600), price, 4 * price, rng.uniform(0.002, 0.02))


# ---- protobuf and Snappy, as much as remote write needs ----


def uvarint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field_bytes(number, data):
    return uvarint(number << 3 | 2) + uvarint(len(data)) + data


def field_varint(number, n):
    return uvarint(number << 3) + uvarint(n & (1 << 64) - 1)


def encode_labels(labels):
    return b"".join(
        field_bytes(1, field_bytes(1, name.encode()) + field_bytes(2, value.encode()))
        for name, value in sorted(labels.items()))


def encode_sample(value, t_ms):
    return field_bytes(2, b"\x09" + struct.pack("<d", value) + field_varint(2, t_ms))


def encode_metadata():
    return b"".join(
        field_bytes(3, field_varint(1, kind) + field_bytes(2, family.encode())
                    + field_bytes(4, text.encode()) + field_bytes(5, unit.encode()))
        for family, kind, text, unit in METADATA)


def snappy_block(data):
    """A Snappy block of literals only: legal, and no smaller than the data."""
    out = [uvarint(len(data))]
    for start in range(0, len(data), 1 << 16):
        piece = data[start:start + (1 << 16)]
        out.append(b"\xf4" + struct.pack("<H", len(piece) - 1) + piece)
    return b"".join(out)


# ---- the service ----


def poisson(rng, mean):
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    n, p, floor = 0, rng.random(), math.exp(-mean)
    while p > floor:
        p *= rng.random()
        n += 1
    return n


def daily_shape(t):
    """Traffic relative to its mean: a peak at 14:00 UTC, a third of it at night, less on weekends."""
    day = time.gmtime(t)
    hour = day.tm_hour + day.tm_min / 60
    weekend = 0.6 if day.tm_wday >= 5 else 1.0
    return weekend * (1 + 0.6 * math.cos((hour - 14) / 24 * 2 * math.pi))


def in_incident(model, t):
    """Six bad minutes in every two hours, at another time for every model."""
    return (t + zlib.crc32(model.encode()) % 7200) % 7200 < 360


class ModelMetrics:
    """The counters of one model on one instance."""

    def __init__(self, model, mean_rate, rng):
        self.model = model
        self.profile = profile_of(model)
        self.mean_rate = mean_rate
        self.rng = rng
        self.requests = dict.fromkeys(STATUSES, 0)
        self.buckets = [0] * len(BOUNDS)  # not cumulative
        self.latency_sum = 0.0
        self.tokens_in = self.tokens_out = 0
        self.cost = 0.0
        self.active = 0

    def advance(self, t, seconds):
        """Serves what arrives in the seconds before t."""
        rate = self.mean_rate * daily_shape(t)
        bad = in_incident(self.model, t)
        latency = self.profile.latency_s * (3 if bad else 1)
        for _ in range(poisson(self.rng, rate * seconds)):
            self.serve(latency, 0.25 if bad else self.profile.error_ratio)
        self.active = poisson(self.rng, rate * latency)  # Little's law

    def serve(self, latency, error_ratio):
        rng, profile = self.rng, self.profile
        status = rng.choice(ERRORS) if rng.random() < error_ratio else "success"
        took = {"rate_limit": 0.05, "timeout": TIMEOUT_S}.get(
            status, rng.lognormvariate(math.log(latency), 0.6))
        if took > TIMEOUT_S:
            status, took = "timeout", TIMEOUT_S
        self.requests[status] += 1
        self.buckets[bisect.bisect_left(BOUNDS, took)] += 1
        self.latency_sum += took
        if status != "success":
            return
        tokens_in = 1 + round(rng.expovariate(1 / profile.tokens_in))
        tokens_out = 1 + round(rng.expovariate(1 / profile.tokens_out))
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.cost += (tokens_in * profile.price_in + tokens_out * profile.price_out) / 1e6

    def series(self):
        """(labels, value) of everything, always in the same order."""
        for status in STATUSES:
            outcome = {"status": "success"} if status == "success" else {
                "status": "error", "error_type": status}
            yield {"__name__": "llm_requests_total", **outcome}, self.requests[status]
        total = 0
        for bound, n in zip(BOUNDS, self.buckets):
            total += n
            le = "+Inf" if bound == math.inf else str(float(bound))
            yield {"__name__": "llm_latency_seconds_bucket", "le": le}, total
        yield {"__name__": "llm_latency_seconds_sum"}, self.latency_sum
        yield {"__name__": "llm_latency_seconds_count"}, total
        yield {"__name__": "llm_tokens_total", "type": "input"}, self.tokens_in
        yield {"__name__": "llm_tokens_total", "type": "output"}, self.tokens_out
        yield {"__name__": "llm_cost_dollars_total"}, self.cost
        yield {"__name__": "llm_active_requests"}, self.active


class Service:
    """All models on all instances; a snapshot is a list of values in the order of series_labels."""

    def __init__(self, models, instances, rate, job):
        rng = random.Random()
        total_share = sum(profile_of(model).share for model in models)
        self.parts = []
        self.series_labels = []
        for instance in range(1, instances + 1):
            for model in models:
                share = profile_of(model).share / total_share / instances
                part = ModelMetrics(model, rate * share, rng)
                own = {"job": job, "instance": f"llm-{instance}:8000", "model": model}
                self.series_labels += [encode_labels({**labels, **own}) for labels, _ in part.series()]
                self.parts.append(part)

    def snapshot(self):
        return [float(value) for part in self.parts for _, value in part.series()]

    def advance(self, t, seconds):
        for part in self.parts:
            part.advance(t, seconds)


# ---- sending ----


class Unavailable(Exception):
    """The server is away or overloaded: the same request may succeed later."""


class Client:
    """One kept connection to the server."""

    def __init__(self, url, timeout_s=10):
        self.url = urllib.parse.urlsplit(url)
        self.target = self.url.path if self.url.path.strip("/") else "/api/v1/write"
        self.timeout_s = timeout_s
        self.connection = None

    def request(self, method, target, body=None, headers=None):
        """(status, body); Unavailable when there is no answer."""
        kept = self.connection is not None
        try:
            return self._request(method, target, body, headers or {})
        except (OSError, http.client.HTTPException) as e:
            self.close()
            if not kept:
                raise Unavailable(str(e) or type(e).__name__) from e
        try:  # the server may have closed a connection that was idle: once more on a new one
            return self._request(method, target, body, headers or {})
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise Unavailable(str(e) or type(e).__name__) from e

    def _request(self, method, target, body, headers):
        if self.connection is None:
            kind = (http.client.HTTPSConnection
                    if self.url.scheme == "https" else http.client.HTTPConnection)
            self.connection = kind(self.url.hostname, self.url.port, timeout=self.timeout_s)
        self.connection.request(method, target, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def write(self, message):
        """Sends a WriteRequest. Unavailable when it should be sent again; what the server refuses
        for good is reported and dropped, as every remote-write client does."""
        status, text = self.request("POST", self.target, snappy_block(message), {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "User-Agent": "llm-service-simulation/1",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        })
        if status >= 500 or status == 429:
            raise Unavailable(f"HTTP {status}: {first_line(text)}")
        if status >= 300:
            say(f"refused with HTTP {status}: {first_line(text)}")

    def newest_sample(self, job, range_s):
        """The time in seconds of the newest sample of the job within the last range_s, or None."""
        query = f'max(max_over_time(timestamp(llm_active_requests{{job="{job}"}})[{range_s:.0f}s:1m]))'
        target = "/api/v1/query?" + urllib.parse.urlencode({"query": query})
        status, text = self.request("GET", target)
        if status == 503:
            raise Unavailable("not ready yet")
        try:
            result = json.loads(text)["data"]["result"]
            return float(result[0]["value"][1]) if result else None
        except (ValueError, KeyError, IndexError, TypeError):
            return None  # a server that takes remote write but does not answer queries

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Sender:
    """Keeps samples until the server has them; waits longer after every failure."""

    def __init__(self, client, service, interval):
        self.client = client
        self.labels = service.series_labels
        self.waiting = collections.deque(maxlen=max(1, int(MAX_WAITING_S / interval)))
        self.dropping = False
        self.metadata_due = 0.0
        self.backoff_s = 0.0
        self.retry_at = 0.0

    def add(self, t, values):
        if len(self.waiting) == self.waiting.maxlen and not self.dropping:
            say(f"the server has been away for {MAX_WAITING_S / 3600:g} h: dropping the oldest samples")
            self.dropping = True
        self.waiting.append((round(t * 1000), values))

    def flush(self, stop=None):
        """Sends what waits, unless it is too early after a failure. False when samples remain."""
        if time.monotonic() < self.retry_at:
            return False
        try:
            while self.waiting and not (stop and stop.is_set()):
                ticks = max(1, MAX_SAMPLES_PER_REQUEST // len(self.labels))
                batch = [self.waiting[i] for i in range(min(ticks, len(self.waiting)))]
                self.client.write(self.encode(batch))
                for _ in batch:
                    self.waiting.popleft()
                self.recovered()
            if time.monotonic() >= self.metadata_due:
                self.client.write(encode_metadata())
                self.metadata_due = time.monotonic() + METADATA_EVERY_S
                self.recovered()
        except Unavailable as e:
            self.failed(e)
        return not self.waiting

    def encode(self, batch):
        return b"".join(
            field_bytes(1, labels + b"".join(encode_sample(values[i], t_ms) for t_ms, values in batch))
            for i, labels in enumerate(self.labels))

    def failed(self, why):
        self.backoff_s = min(30.0, self.backoff_s * 2 or 1.0)
        self.retry_at = time.monotonic() + self.backoff_s * random.uniform(0.8, 1.2)
        say(f"server unavailable ({why}); {len(self.waiting)} ticks wait, "
            f"next try in {self.backoff_s:.0f} s")

    def recovered(self):
        if self.backoff_s:
            say("server is back")
        self.backoff_s = self.retry_at = 0.0
        self.dropping = False


def backfill_start(client, job, now, backfill_s, stop):
    """Where history begins: after what the server has from an earlier run, because values of two
    runs must not interleave. None when told to stop meanwhile."""
    delay_s = 0.5
    while not stop.is_set():
        try:
            newest = client.newest_sample(job, backfill_s)
            return max(now - backfill_s, newest or 0)
        except Unavailable as e:
            say(f"waiting for the server ({e})")
            stop.wait(delay_s)
            delay_s = min(10.0, delay_s * 2)
    return None


def run(args, stop):
    client = Client(args.url)
    service = Service(args.models, args.instances, args.rate, args.job)
    sender = Sender(client, service, min(args.interval, MAX_WAITING_S))
    t = time.time() // args.interval * args.interval
    if args.backfill:
        start = backfill_start(client, args.job, t, args.backfill, stop)
        t = t if start is None else (start // args.interval + 1) * args.interval
    say(f"{len(service.series_labels)} series every {args.interval:g} s to {args.url}")
    sender.add(t, service.snapshot())  # counters are born at zero, so that rates see the first count
    while not stop.is_set():
        late = time.time() - (t + args.interval)
        if late < 0:
            sender.flush(stop)
            stop.wait(min(1.0, max(0.0, t + args.interval - time.time())))
            continue
        t += args.interval
        service.advance(t, args.interval)
        sender.add(t, service.snapshot())
        if len(sender.waiting) >= 50:  # history: send while it is made
            sender.flush(stop)
    sender.retry_at = 0.0
    remain = not sender.flush()
    client.close()
    say("stopped" + (f", {len(sender.waiting)} ticks could not be sent" if remain else ""))


# ---- command line ----


def say(text):
    print(f"llm_service: {text}", file=sys.stderr, flush=True)


def first_line(text):
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[0][:300] if lines else ""


def duration(text):
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        seconds = float(text[:-1]) * units[text[-1]] if text[-1:] in units else float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 5s, 10m or 1h")
    return seconds


def interval(text):
    if not 0.1 <= duration(text) <= 3600:
        raise argparse.ArgumentTypeError("must be between 0.1s and 1h")
    return duration(text)


def model_list(text):
    models = [name.strip() for name in text.split(",")]
    if not all(models) or len(set(models)) != len(models):
        raise argparse.ArgumentTypeError("must be different names, separated by commas")
    return models


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:9420/api/v1/write",
                        help="remote-write address (default: %(default)s)")
    parser.add_argument("--interval", type=interval, default=5.0, metavar="DURATION",
                        help="between samples (default: 5s)")
    parser.add_argument("--models", type=model_list, default=list(PROFILES), metavar="A,B,...",
                        help=f"models to simulate (default: {','.join(PROFILES)})")
    parser.add_argument("--instances", type=int, default=2, metavar="N",
                        help="instances of the service (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, metavar="N",
                        help="mean requests per second over all models (default: %(default)g)")
    parser.add_argument("--job", default="llm-service", help="job label (default: %(default)s)")
    parser.add_argument("--backfill", type=duration, default=0.0, metavar="DURATION",
                        help="send that much history first, such as 1h (default: none)")
    args = parser.parse_args()
    try:
        url = urllib.parse.urlsplit(args.url)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        parser.error("--url must look like http://host:port/path")
    if args.instances < 1 or not 0 < args.rate <= 100000:
        parser.error("--instances and --rate must be positive")
    return args


def main():
    args = parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    run(args, stop)


if __name__ == "__main__":
    main()
