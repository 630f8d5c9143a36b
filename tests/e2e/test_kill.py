#!/usr/bin/env python3
"""test_kill.py TIDEMARK [--cycles N] [--seed S]

Kills the server with SIGKILL in the middle of ingest, again and again. After each restart every sample it has acknowledged
must be there with the same bits, and nothing that was never sent. Small head and short flush interval, so that kills hit
flushes too."""
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
SERIES = 20  # of each sender


class Sender(threading.Thread):
    """Writes batches with random values; remembers what was acknowledged and what may or may not be stored."""

    def __init__(self, port, number, rng, clock):
        super().__init__(daemon=True)
        self.client = harness.Http(port)
        self.number, self.rng, self.clock = number, rng, clock
        self.acked, self.unknown = {}, {}
        self.stopped = threading.Event()
        self.refused = None

    def batch(self):
        series = []
        for i in self.rng.sample(range(SERIES), self.rng.randint(1, SERIES)):
            samples = {}
            for _ in range(self.rng.randint(1, 30)):
                # mostly now, sometimes up to three days late; each time once
                late = self.rng.choice((0, 0, 0, 0, self.rng.randrange(3 * 86400000)))
                t_ms = next(self.clock) - late
                if (i, t_ms) not in self.acked and (i, t_ms) not in self.unknown:
                    samples[t_ms] = self.rng.choice((self.rng.random(), self.rng.randrange(10 ** 6) / 100,
                                                     float(self.rng.randrange(10 ** 9)), 1e-300, -0.0))
            series.append((i, sorted(samples.items())))
        return series

    def run(self):
        while not self.stopped.is_set():
            batch = self.batch()
            sent = {(i, t): v for i, samples in batch for t, v in samples}
            body = harness.write_request([({"__name__": "kill_test", "sender": str(self.number), "series": str(i)}, samples)
                                          for i, samples in batch])
            try:
                status, text = self.client.request("POST", "/api/v1/write", body, harness.WRITE_HEADERS)
            except Exception:  # the server was killed: stored or not, both are right
                self.unknown.update(sent)
                return
            if status != 204:
                self.refused = f"{status} {text[:300]}"
                return
            self.acked.update(sent)


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
            key = (int(series["metric"]["series"]), round(t * 1000))
            assert key not in found, f"sample {key} twice"
            found[key] = float(v)
    return found


def bits(v):
    return struct.pack("<d", v)


def check(client, number, acked, unknown):
    found = stored(client, number)
    lost = [k for k in acked if k not in found]
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
    server = harness.tidemark(args.tidemark, data_dir, "--storage.head-size=256KiB")
    server.start()
    try:
        start_ms = int(time.time() * 1000) - 3600000
        for cycle in range(args.cycles):
            senders = [Sender(server.port, n, random.Random(rng.random()), ticks(start_ms + cycle * 100000))
                       for n in range(SENDERS)]
            for s in senders:
                s.acked, s.unknown = dict(acked[s.number]), dict(unknown[s.number])
                s.start()
            time.sleep(rng.uniform(0.05, 1.2))
            server.kill()
            for s in senders:
                s.stopped.set()
                s.join()
                assert not s.refused, f"sender {s.number} was refused: {s.refused}"
                acked[s.number], unknown[s.number] = s.acked, s.unknown
            server.start()
            client = harness.Http(server.port)
            total = sum(check(client, n, acked[n], unknown[n]) for n in range(SENDERS))
            client.close()
            print(f"kill {cycle + 1}: {total} samples, all acknowledged ones there", flush=True)
    finally:
        server.stop()
        shutil.rmtree(data_dir, ignore_errors=True)
    print("passed")


if __name__ == "__main__":
    main()
