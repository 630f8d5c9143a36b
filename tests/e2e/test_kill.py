#!/usr/bin/env python3
"""test_kill.py TIDEMARK [--cycles N] [--seed S]

Kills the server with SIGKILL in the middle of its work, again and again. After each restart every sample it has acknowledged
must be there with the same bits, once, and nothing that was never sent.

The load is mixed: samples in order and up to three days late, repeats of what was sent before, with the same value and with another,
series that come and go. Meanwhile the server flushes (its head is small), is asked to flush and to compact, and every other start
has a shorter retention, so that it drops days. Kills hit all of it."""
import argparse
import os
import random
import shutil
import struct
import tempfile
import threading
import time

import harness

SENDERS = 4
SERIES = 20  # of each sender at a time
DAY_MS = 86400000
KEPT_DAYS = 5  # by the shorter retention
VALUES = (lambda r: r.random(), lambda r: r.randrange(10 ** 6) / 100, lambda r: float(r.randrange(10 ** 9)), lambda r: 1e-300,
          lambda r: -0.0)


class Sender(threading.Thread):
    """Writes batches with random values; remembers what was acknowledged and what may or may not be stored."""

    def __init__(self, port, number, rng, clock, life, oldest_days, oldest_ms):
        super().__init__(daemon=True)
        self.client = harness.Http(port)
        self.number, self.rng, self.clock, self.life, self.oldest_days, self.oldest_ms = number, rng, clock, life, oldest_days, oldest_ms
        self.acked, self.unknown = {}, {}
        self.stopped = threading.Event()
        self.refused = None

    def lateness_ms(self):
        """Mostly none."""
        kind = self.rng.randrange(40)
        return self.rng.randrange(self.oldest_days * DAY_MS) if kind == 0 else self.rng.randrange(3 * DAY_MS) if kind < 8 else 0

    def batch(self):
        """What is sent, by series, and which of it has another value than what was acknowledged for that time."""
        series, conflicts = [], set()
        for i in self.rng.sample(range(SERIES), self.rng.randint(1, SERIES)):
            name = f"{i}-{self.life // (1 + i % 7)}"  # of some series another comes with each life, of others rarely
            samples = {}
            for _ in range(self.rng.randint(1, 30)):
                t_ms = next(self.clock) - self.lateness_ms()
                if (name, t_ms) not in self.acked and (name, t_ms) not in self.unknown:
                    samples[t_ms] = self.rng.choice(VALUES)(self.rng)
            series.append((name, sorted(samples.items())))
        if self.recent and self.rng.random() < 0.3:
            (name, t_ms), v = self.rng.choice(self.recent)
            if self.rng.random() < 0.5:
                v, _ = 12345.5, conflicts.add((name, t_ms))
            series.append((name, [(t_ms, v)]))
        return series, conflicts

    def run(self):
        self.recent = [(k, v) for k, v in list(self.acked.items())[-200:] if k[1] > self.oldest_ms]
        while not self.stopped.is_set():
            batch, conflicts = self.batch()
            sent = {(i, t): v for i, samples in batch for t, v in samples if (i, t) not in conflicts}
            body = harness.write_request([({"__name__": "kill_test", "sender": str(self.number), "series": str(i)}, samples)
                                          for i, samples in batch])
            try:
                status, text = self.client.request("POST", "/api/v1/write", body, harness.WRITE_HEADERS)
            except Exception:  # the server was killed: stored or not, both are right
                self.unknown.update((k, v) for k, v in sent.items() if k not in self.acked)
                return
            # Another value for a time is refused while the server remembers the first, and the rest of the request is stored.
            if status != 204 and not (status == 400 and conflicts and b"duplicate" in text):
                self.refused = f"{status} {text[:300]}"
                return
            self.acked.update(sent)
            self.recent = (self.recent + [(k, v) for k, v in sent.items() if k[1] > self.oldest_ms])[-200:]


class Upkeep(threading.Thread):
    """Asks the server to flush and to compact, now and then."""

    def __init__(self, port, rng):
        super().__init__(daemon=True)
        self.client, self.rng, self.stopped = harness.Http(port), rng, threading.Event()

    def run(self):
        while not self.stopped.wait(self.rng.uniform(0, 0.4)):
            try:
                self.client.request("POST", "/api/v1/admin/tsdb/flush" + self.rng.choice(("", "?compact=true")))
            except Exception:
                return


def ticks(start_ms):
    """Times that never repeat, shared by nobody."""
    t = start_ms
    while True:
        yield t
        t += 1


def stored(client, number):
    """All samples of a sender: {(series, t_ms): value}."""
    data = client.query('kill_test{sender="%d"}[30d]' % number, time.time() + 600)
    found = {}
    for series in data["result"]:
        for t, v in series.get("values", []):
            key = (series["metric"]["series"], round(t * 1000))
            assert key not in found, f"sample {key} twice"
            found[key] = float(v)
    return found


def bits(v):
    return struct.pack("<d", v)


def check(client, number, acked, unknown, since_ms):
    found = stored(client, number)
    lost = [k for k in acked if k[1] >= since_ms and k not in found]
    wrong = [k for k, v in acked.items() if k in found and bits(found[k]) != bits(v)]
    alien = [k for k, v in found.items()
             if k not in acked and (k not in unknown or bits(unknown[k]) != bits(v))]
    assert not lost, f"sender {number}: {len(lost)} acknowledged samples lost, e.g. {lost[:3]}"
    assert not wrong, f"sender {number}: {len(wrong)} samples with other bits, e.g. {wrong[:3]}"
    assert not alien, f"sender {number}: {len(alien)} samples nobody sent, e.g. {alien[:3]}"
    return len(found)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    ap.add_argument("--cycles", type=int, default=int(os.environ.get("KILL_CYCLES", 20)))
    ap.add_argument("--seed", type=int, default=int(time.time()))
    args = ap.parse_args()
    rng = random.Random(args.seed)
    data_dir = tempfile.mkdtemp(prefix="tidemark-kill-")
    acked, unknown = [{} for _ in range(SENDERS)], [{} for _ in range(SENDERS)]
    print(f"seed {args.seed}, {args.cycles} kills")
    server = harness.tidemark(args.tidemark, data_dir, "--storage.head-size=256KiB", "--web.enable-admin-api",
                              "--storage.tsdb.retention.time=15d")
    server.start()
    try:
        start_ms = int(time.time() * 1000) - 3600000
        since_ms = start_ms - 20 * DAY_MS
        for cycle in range(args.cycles):
            long = cycle % 2 == 0
            workers = [Sender(server.port, n, random.Random(rng.random()), ticks(start_ms + cycle * 100000), cycle, 12 if long else 3,
                              start_ms - 3 * DAY_MS) for n in range(SENDERS)]
            for s in workers:
                s.acked, s.unknown = dict(acked[s.number]), dict(unknown[s.number])
            workers.append(Upkeep(server.port, random.Random(rng.random())))
            for w in workers:
                w.start()
            time.sleep(rng.uniform(0.05, 1.2))
            server.kill()
            for w in workers:
                w.stopped.set()
                w.join()
            for s in workers[:SENDERS]:
                assert not s.refused, f"sender {s.number} was refused: {s.refused}"
                acked[s.number], unknown[s.number] = s.acked, s.unknown
            server.command[-1] = f"--storage.tsdb.retention.time={KEPT_DAYS if long else 15}d"
            if long:  # from now on what is older may be gone
                since_ms = start_ms - (KEPT_DAYS - 1) * DAY_MS
            server.start()
            client = harness.Http(server.port)
            total = sum(check(client, n, acked[n], unknown[n], since_ms) for n in range(SENDERS))
            client.close()
            print(f"kill {cycle + 1}: {total} samples, all acknowledged ones there", flush=True)
    finally:
        server.stop()
        shutil.rmtree(data_dir, ignore_errors=True)
    print("passed")


if __name__ == "__main__":
    main()
