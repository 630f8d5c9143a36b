"""What the end-to-end tests share: processes, ports, HTTP, a remote-write sender. Python's standard library only."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
import llm_service  # noqa: E402  its remote-write encoder

SKIPPED = 77  # the exit code by which ctest counts a test as skipped


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(SKIPPED)


def peer(package, program):
    """The path of a peer's program: unpacked under build/peers, or installed; skips the test without it."""
    unpacked = ROOT / "build" / "peers" / package / "usr" / "bin" / program
    found = str(unpacked) if unpacked.exists() else shutil.which(program)
    if not found:
        skip(f"{program} is not here; scripts/setup --test brings it")
    return found


def with_share(package, needed, command):
    """The command, run where /usr/share has the package's files too, for a program that names one absolutely. A mount
    namespace of its own does that without installing anything; the test is skipped where the kernel has none for us."""
    share = ROOT / "build" / "peers" / package / "usr" / "share"
    if os.path.exists(needed) or not share.exists():
        return command
    overlay = f"mount -t overlay -o lowerdir={share}:/usr/share overlay /usr/share"
    if subprocess.run(["unshare", "-rm", "sh", "-c", overlay], capture_output=True).returncode != 0:
        skip(f"{package} needs {needed}, and no mount namespace can be had")
    return ["unshare", "-rm", "sh", "-c", overlay + ' && exec "$@"', "sh", *command]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Http:
    """A keep-alive client of one server."""

    def __init__(self, port):
        self.port = port
        self.connection = None

    def request(self, method, path, body=None, headers=None):
        """Status and body."""
        status, _, text = self.exchange(method, path, body, headers)
        return status, text

    def exchange(self, method, path, body=None, headers=None):
        """Status, headers and body."""
        for attempt in (1, 2):  # a kept connection may have been closed by the server
            try:
                if not self.connection:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                self.connection.request(method, path, body, headers or {})
                response = self.connection.getresponse()
                return response.status, dict(response.getheaders()), response.read()
            except (http.client.HTTPException, OSError):
                self.close()
                if attempt == 2 or method == "POST" and body is not None:
                    raise

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def query(self, text, t=None):
        return self._api("query", {"query": text, **({} if t is None else {"time": repr(t)})})

    def query_range(self, text, start, end, step):
        return self._api("query_range", {"query": text, "start": repr(start), "end": repr(end), "step": repr(step)})

    def _api(self, endpoint, params):
        status, body = self.request("GET", f"/api/v1/{endpoint}?{urllib.parse.urlencode(params)}")
        answer = json.loads(body)
        if status != 200:
            raise RuntimeError(f"{endpoint} {params}: {status} {answer}")
        return answer["data"]


class Process:
    """A program under test; its output goes to a file that is shown when it fails."""

    def __init__(self, name, command, port, ready_path="/-/ready"):
        self.name, self.command, self.port, self.ready_path = name, command, port, ready_path
        self.log = tempfile.NamedTemporaryFile("w+", prefix=f"{name}-", suffix=".log", delete=False)
        self.child = None

    def start(self, timeout_s=60, environment=None):
        self.child = subprocess.Popen(self.command, stdout=self.log, stderr=subprocess.STDOUT, env=environment)
        client, deadline = Http(self.port), time.monotonic() + timeout_s
        while True:
            if self.child.poll() is not None:
                self.fail(f"ended with {self.child.returncode} before it was ready")
            try:
                if client.request("GET", self.ready_path)[0] == 200:
                    break
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > deadline:
                self.fail(f"not ready after {timeout_s} s")
            time.sleep(0.02)
        client.close()
        return self

    def fail(self, why):
        self.log.flush()
        print(f"--- output of {self.name} ---\n{pathlib.Path(self.log.name).read_text()[-4000:]}")
        self.stop()
        raise AssertionError(f"{self.name} {why}")

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if os.path.exists(self.log.name):
            self.log.close()
            os.unlink(self.log.name)


def tidemark(program, data_dir, *flags, port=None):
    port = port or free_port()
    return Process("tidemark", [program, "serve", f"--web.listen-address=127.0.0.1:{port}",
                                f"--storage.tsdb.path={data_dir}", *flags], port)


# ---- remote write 1.0 ----

def write_request(series):
    """The WriteRequest for [({name: value}, [(t_ms, v), …]), …], as a snappy block of literals."""
    return llm_service.snappy_block(b"".join(
        llm_service.field_bytes(1, llm_service.encode_labels(labels)
                                + b"".join(llm_service.encode_sample(v, t_ms) for t_ms, v in samples))
        for labels, samples in series))


WRITE_HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
                 "X-Prometheus-Remote-Write-Version": "0.1.0"}
