#!/usr/bin/env python3
"""test_remote_write2.py TIDEMARK

A sender built on client_golang's remote-write 2.0 client (remote_write2/main.go) writes to Tidemark: the client must be
content with what it is told, and what it sent must be there. Skipped where Go or its modules cannot be had."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import harness

SOURCE = pathlib.Path(__file__).resolve().parent / "remote_write2"


def build():
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not go:
        harness.skip("there is no Go here")
    out = harness.ROOT / "build" / "peers" / "remote_write2"
    out.parent.mkdir(parents=True, exist_ok=True)
    modules = harness.ROOT / "build" / "peers" / "go"
    made = subprocess.run([go, "build", "-o", str(out), "."], cwd=SOURCE, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "GOPATH": str(modules), "GOFLAGS": "-modcacherw -buildvcs=false -mod=readonly"})
    if made.returncode != 0:
        harness.skip(f"the sender cannot be built: {made.stderr.strip()[-500:]}")
    return out


def check(client, t, outcomes):
    """Texts of what is not as it should be."""
    good, partly = outcomes
    failures = []
    if good != {"Samples": 2, "Histograms": 2, "Exemplars": 2, "Error": ""}:
        failures.append(f"the client made of a good request: {good}")
    if (partly["Samples"], partly["Histograms"], partly["Exemplars"]) != (1, 0, 0):
        failures.append(f"the client made of a request that is good in parts: {partly}")
    for text in ("400", "2 of 3 samples", "too far in the future", "rw2_odd"):
        if text not in partly["Error"]:
            failures.append(f"{text!r} is not in {partly['Error']!r}")
    expected = {
        "rw2_requests_total[1m]": "5 7",
        "histogram_count(rw2_latency_seconds)": "12",
        "histogram_sum(rw2_latency_seconds)": "1.5",
        "histogram_count(rw2_custom)": "3",
        "histogram_quantile(0.5, rw2_custom)": "0.625",
        "rw2_kept": "1",
    }
    for q, want in expected.items():
        got = " ".join(v for s in client.query(q, t)["result"]
                       for _, v in s.get("values", [s["value"]] if "value" in s else []))
        if got != want:
            failures.append(f"{q}: {got!r}, expected {want!r}")
    metadata = json.loads(client.request("GET", "/api/v1/metadata")[1])["data"]
    if metadata.get("rw2_latency_seconds") != [{"type": "histogram", "help": "Latency.", "unit": "seconds"}]:
        failures.append(f"metadata: {metadata}")
    path = f"/api/v1/query_exemplars?query=rw2_requests_total&start={t - 60}&end={t + 60}"
    exemplars = json.loads(client.request("GET", path)[1])["data"]
    if [e["labels"] for s in exemplars for e in s["exemplars"]] != [{"trace_id": "00f067aa0ba902b7"}]:
        failures.append(f"exemplars: {exemplars}")
    return failures


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    args = ap.parse_args()
    sender = build()
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-e2e-"))
    server = harness.tidemark(args.tidemark, work / "tidemark")
    try:
        server.start()
        t = int(time.time())
        ran = subprocess.run([sender, f"http://127.0.0.1:{server.port}", str(t * 1000)], capture_output=True, text=True,
                             timeout=120)
        assert ran.returncode == 0, ran.stderr
        client = harness.Http(server.port)
        failures = check(client, t, json.loads(ran.stdout))
        server.kill()
        server.start()
        client.close()
        failures += [f"after kill -9: {f}" for f in check(client, t, json.loads(ran.stdout))]
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(failures) or "passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
