#!/usr/bin/env python3
"""test_full_disk.py TIDEMARK

Fills a small disk (a tmpfs in a mount namespace of its own). When it is full, writes must be refused with 503 and a Retry-After, while
every acknowledged sample can still be queried. When room appears writes must work again without a restart. When it is full for good,
dropping old days must still be possible: a start with a shorter retention gives space back and takes writes. Nothing acknowledged
inside the retention may be lost on the way."""
import os
import random
import subprocess
import sys
import tempfile
import time

import harness

DISK_MB = 12
FILLER_MB = 4
SERIES = 20
DAY_MS = 86400000


class Disk:
    """A small disk that lives as long as a process in its namespace."""

    def __init__(self, folder):
        self.inside = folder
        script = f"mount -t tmpfs -o size={DISK_MB}m tmpfs {folder} && echo mounted && exec sleep 3600"
        self.keeper = subprocess.Popen(["unshare", "-rm", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       text=True)
        if self.keeper.stdout.readline().strip() != "mounted":
            harness.skip("no mount namespace with a tmpfs can be had")
        self.path = f"/proc/{self.keeper.pid}/root{folder}"

    def enter(self, command):
        return ["nsenter", f"--user=/proc/{self.keeper.pid}/ns/user", f"--mount=/proc/{self.keeper.pid}/ns/mnt", "--preserve-credentials",
                *command]

    def close(self):
        self.keeper.kill()
        self.keeper.wait()


class Writer:
    def __init__(self, port):
        self.client, self.acked, self.unknown, self.rng = harness.Http(port), {}, {}, random.Random(7)

    def write(self, t_ms):
        """One batch of incompressible samples: the answer's status and headers."""
        sent = {(i, t_ms + 1000 * k): self.rng.random() for i in range(SERIES) for k in range(100)}
        body = harness.write_request([({"__name__": "full_disk", "series": str(i)}, [(t, v) for (s, t), v in sorted(sent.items()) if s == i])
                                      for i in range(SERIES)])
        status, headers, text = self.client.exchange("POST", "/api/v1/write", body, harness.WRITE_HEADERS)
        if status == 204:
            self.acked.update(sent)
        else:
            self.unknown.update(sent)
            assert status == 503, f"a full disk is answered with {status}: {text[:300]}"
            assert "retry-after" in {name.lower() for name in headers}, f"no Retry-After in {headers}"
        return status

    def fill(self, times):
        """Writes until it is refused; how many batches went in."""
        for n, t_ms in enumerate(times):
            if self.write(t_ms) != 204:
                return n
        raise AssertionError("the disk does not fill")

    def check(self, since_ms=0):
        found = {}
        data = self.client.query("full_disk[30d]", time.time() + 600)
        for series in data["result"]:
            for t, v in series["values"]:
                found[int(series["metric"]["series"]), round(t * 1000)] = float(v)
        lost = [k for k in self.acked if k[1] >= since_ms and k not in found]
        wrong = [k for k, v in found.items() if self.acked.get(k, self.unknown.get(k)) != v]
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged samples lost, e.g. {lost[:3]}"
        assert not wrong, f"{len(wrong)} samples with other values, e.g. {wrong[:3]}"


def wait_accepted(writer, t_ms, limit_s=60):
    deadline = time.monotonic() + limit_s
    while writer.write(t_ms) != 204:
        t_ms += 100000
        assert time.monotonic() < deadline, f"writes are still refused after {limit_s} s"
        time.sleep(0.25)


def main():
    tidemark = os.path.abspath(sys.argv[1])
    folder = tempfile.mkdtemp(prefix="tidemark-full-")
    disk = Disk(folder)
    server = harness.tidemark(tidemark, os.path.join(folder, "data"), "--storage.head-size=256KiB")
    server.command = disk.enter(server.command)
    try:
        filler = os.path.join(disk.path, "filler")
        with open(filler, "wb") as f:
            f.write(os.urandom(FILLER_MB << 20))
        server.start()
        writer = Writer(server.port)
        now_ms = int(time.time() * 1000) // DAY_MS * DAY_MS
        times = (now_ms - d * DAY_MS + k * 100000 for k in range(400) for d in range(9, 0, -1))
        first = writer.fill(times)
        writer.check()
        print(f"full after {first} batches; everything acknowledged can be queried", flush=True)

        os.unlink(filler)
        wait_accepted(writer, now_ms - 8 * DAY_MS + 80100000)
        second = writer.fill(now_ms - d * DAY_MS + k * 100000 for k in range(400, 800) for d in range(9, 0, -1))
        writer.check()
        print(f"room came back: {second} more batches, and full again", flush=True)

        writer.client.close()
        server.kill()
        server.command = [c.replace("--storage.head-size=256KiB", "--storage.tsdb.retention.time=36h") for c in server.command]
        server.start()
        wait_accepted(writer, now_ms - 600000)
        writer.check(since_ms=now_ms - DAY_MS)
        print("a shorter retention gave space back", flush=True)
        writer.client.close()
        server.kill()
        server.start()
        writer.check(since_ms=now_ms - DAY_MS)
    finally:
        server.stop()
        disk.close()
        os.rmdir(folder)
    print("passed")


if __name__ == "__main__":
    main()
