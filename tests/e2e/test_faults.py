#!/usr/bin/env python3
"""test_faults.py TIDEMARK FAULT_LIBRARY [--all] [--points N] [--seed S]

Makes each system call by which the server changes or syncs its files fail in turn: with an input/output error, with a full disk, by
a write that does half of its work; once, or from then on. The server must not end, must go on answering queries with every sample
that it has acknowledged, and after a kill and a start without faults every acknowledged sample must be there with the same bits.

The workload appends, sends late samples, flushes and compacts. A dry run counts its calls; then N of them, drawn by the seed, are
made to fail, or all with --all. A second round lets the calls of a start and the first write after it fail: the start may be refused, but
must lose nothing."""
import argparse
import errno
import mmap
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time

import harness

SERIES = 3
KINDS = (("EIO", errno.EIO, 0), ("EIO from then on", errno.EIO, 1), ("ENOSPC", errno.ENOSPC, 0),
         ("ENOSPC from then on", errno.ENOSPC, 1), ("half a write", 0, 0))


class Control:
    """The file through which fault_preload.c is steered."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "control")
        with open(self.path, "wb") as f:
            f.write(bytes(64))
        self.file = open(self.path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 64)

    def arm(self, fail_at, error, sticky):
        self.map[:64] = struct.pack("<6Q16s", 0, 0, fail_at, error, sticky, 0, b"")
        self.map[0:8] = struct.pack("<Q", 1)

    def disarm(self):
        self.map[0:8] = struct.pack("<Q", 0)

    def calls(self):
        return struct.unpack_from("<Q", self.map, 8)[0]

    def failed(self):
        """The name of the call that failed, "" without one."""
        return self.map[48:64].rstrip(b"\0").decode()


class Run:
    """A data directory, what was acknowledged in it, and the server."""

    def __init__(self, tidemark, library, folder):
        self.control = Control(folder)
        self.data = os.path.join(folder, "data")
        os.mkdir(self.data)
        self.acked, self.unknown = {}, {}
        self.server = harness.tidemark(tidemark, self.data, "--storage.head-size=64KiB", "--web.enable-admin-api")
        self.faulty = {"LD_PRELOAD": library, "FAULT_DIR": self.data, "FAULT_CONTROL": self.control.path}
        self.client = None

    def start(self, faults):
        environment = dict(os.environ, **(self.faulty if faults else {}))
        self.server.start(environment=environment)
        self.client = harness.Http(self.server.port)

    def kill(self):
        if self.client:
            self.client.close()
        self.server.kill()

    def write(self, rng, t_ms):
        batch = [(i, [(t_ms + 1000 * k, rng.random()) for k in range(rng.randint(1, 40))]) for i in range(SERIES)]
        sent = {(i, t): v for i, samples in batch for t, v in samples}
        body = harness.write_request([({"__name__": "fault_test", "series": str(i)}, samples) for i, samples in batch])
        status, text = self.client.request("POST", "/api/v1/write", body, harness.WRITE_HEADERS)
        if status == 204:
            self.acked.update(sent)
        else:
            assert status >= 500, f"a good write was refused for good: {status} {text[:300]}"
            self.unknown.update(sent)

    def upkeep(self, compact):
        path = "/api/v1/admin/tsdb/flush" + ("?compact=true" if compact else "")
        status, text = self.client.request("POST", path)
        assert status in (200, 204, 500, 503), f"{path}: {status} {text[:300]}"

    def workload(self, seed):
        rng = random.Random(seed)
        now_ms = int(time.time() * 1000) // 1000 * 1000
        for day in (2, 1, 0):
            for k in range(4):
                self.write(rng, now_ms - day * 86400000 - 7200000 + k * 100000)
            self.upkeep(False)
        for k in range(4):  # late
            self.write(rng, now_ms - 86400000 - 3600000 + k * 100000)
        self.upkeep(True)
        self.write(rng, now_ms - 600000)

    def check(self):
        data = self.client.query("fault_test[30d]", time.time() + 600)
        found = {}
        for series in data["result"]:
            for t, v in series.get("values", []):
                found[int(series["metric"]["series"]), round(t * 1000)] = float(v)
        lost = [k for k in self.acked if k not in found]
        wrong = [k for k, v in found.items() if self.acked.get(k, self.unknown.get(k)) != v]
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged samples lost, e.g. {lost[:3]}"
        assert not wrong, f"{len(wrong)} samples with other values, e.g. {wrong[:3]}"


def one(args, point, kind, at_start):
    """Lets one call fail; the name of it, "" when there were not so many."""
    name, error, sticky = kind
    with tempfile.TemporaryDirectory(prefix="tidemark-faults-") as folder:
        run = Run(args.tidemark, args.library, folder)
        try:
            if at_start:
                run.start(faults=False)
                run.workload(args.seed)
                run.kill()
                run.control.arm(point, error, sticky)
                try:
                    run.start(faults=True)
                except AssertionError as refused:
                    assert "ended with 1" in str(refused), refused
                else:
                    run.write(random.Random(1), int(time.time() * 1000) // 1000 * 1000 - 300000)
                    run.upkeep(False)
                    run.check()
                    run.kill()
                run.control.disarm()
            else:
                run.start(faults=True)
                run.control.arm(point, error, sticky)
                run.workload(args.seed)
                assert run.server.child.poll() is None, f"the server ended with {run.server.child.returncode}"
                run.check()  # with the faults still there: reads go on
                run.control.disarm()
                run.kill()
            failed = run.control.failed()
            run.start(faults=False)
            run.check()
            run.write(random.Random(0), int(time.time() * 1000) // 1000 * 1000)
            run.upkeep(True)
            run.check()
            return failed, run.control.calls()
        except BaseException:
            print(f"--- call {point} ({run.control.failed()}), {name}, {'at a start' if at_start else 'in the workload'} ---", flush=True)
            raise
        finally:
            run.server.stop()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    ap.add_argument("library")
    ap.add_argument("--all", action="store_true", help="every call, not a sample of them")
    ap.add_argument("--points", type=int, default=int(os.environ.get("FAULT_POINTS", 24)))
    ap.add_argument("--seed", type=int, default=int(time.time()))
    args = ap.parse_args()
    rng = random.Random(args.seed)
    print(f"seed {args.seed}")
    for at_start in (False, True):
        _, calls = one(args, 0, KINDS[0], at_start)
        cases = [(point, kind) for point in range(1, calls + 1) for kind in KINDS]
        if not args.all:
            cases = rng.sample(cases, min(args.points, len(cases)))
        failed = {}
        for point, kind in cases:
            name, _ = one(args, point, kind, at_start)
            failed[name or "none"] = failed.get(name or "none", 0) + 1
        print(f"{'a start' if at_start else 'the workload'}: {calls} calls, {len(cases)} faults: "
              + ", ".join(f"{k} {n}" for k, n in sorted(failed.items())), flush=True)
    print("passed")


if __name__ == "__main__":
    main()
