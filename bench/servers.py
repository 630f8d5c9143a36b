"""Starting, watching and stopping the servers that are measured, and printing tables. Standard library only."""
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "release"
LOADER = BUILD / "bench" / "bench_load"
START_TIMEOUT_S = 60
BODIES = "/dev/shm" if os.path.isdir("/dev/shm") else "/var/tmp"  # in memory, so that disks are written by servers alone


def build():
    """Brings Tidemark and the load generator up to date."""
    subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "tidemark", "bench_load"], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)


def peer_program(package, program):
    """The path of a peer's program, unpacked by scripts/setup --test or installed; None without it."""
    unpacked = ROOT / "build" / "peers" / package / "usr" / "bin" / program
    return str(unpacked) if unpacked.exists() else shutil.which(program)


class Server:
    """One server on a fresh directory, from with to the end of it."""

    name = write_path = ready_path = None
    reads = {}  # added to the parameters of every query

    def __init__(self, folder):
        self.folder = pathlib.Path(folder) / self.name
        self.data = self.folder / "data"
        self.process = self.connection = None

    @staticmethod
    def program():
        raise NotImplementedError

    def arguments(self):
        raise NotImplementedError

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.data.mkdir(parents=True)
        self.start()
        return self

    def start(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([self.program()] + self.arguments(), stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{self.name} did not start:\n{tail}")
            time.sleep(0.01)

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self):
        """Ends it as an operator would, and waits."""
        self.disconnect()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(300)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def restart(self, cold=False):
        """Ends and starts it; cold: with none of its files in the page cache."""
        self.stop()
        if cold:
            for path in self.data.rglob("*"):
                if path.is_file():
                    forget_pages(path)
        self.start()

    def restart_after_kill(self, samples):
        """Kills it, takes its files out of the page cache and starts it: seconds until it says that it is ready, and until a query
        counts as many samples of `up` as before, None when it never does within a minute; and what share of them it then has."""
        before = self.count(samples)
        self.disconnect()
        self.process.kill()
        self.process.wait()
        drop_cache(self.data)
        begun = time.monotonic()
        self.start()
        ready = time.monotonic() - begun
        while (now := self.count(samples)) < before and time.monotonic() - begun < 60:
            time.sleep(0.05)
        return ready, time.monotonic() - begun if now >= before else None, now / before if before else 0

    def count(self, samples):
        """Of the metric `up`, over as many scrapes as were sent."""
        form = {"query": f"sum(count_over_time(up[{(samples + 20) * 15}s]))", **self.reads}
        status, body = self.request("POST", "/api/v1/query", form)
        result = json.loads(body)["data"]["result"] if status == 200 else []
        return float(result[0]["value"][1]) if result else 0.0

    def is_ready(self):
        try:
            return self.request("GET", self.ready_path)[0] == 200
        except (OSError, http.client.HTTPException):
            self.disconnect()
            return False

    def disconnect(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def request(self, method, path, form=None):
        """Status and body, over one connection that is kept. All requests may be repeated, so one that finds the kept connection
        closed is."""
        kept = self.connection is not None
        try:
            return self.request_once(method, path, form)
        except (http.client.RemoteDisconnected, ConnectionError):
            self.disconnect()
            if not kept:
                raise
            return self.request_once(method, path, form)

    def connect(self):
        """A connection of its own, for clients beside each other."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def request_once(self, method, path, form):
        if not self.connection:
            self.connection = self.connect()
        return ask(self.connection, method, path, form)

    def load(self, options):
        """Runs the load generator; its figures."""
        url = f"http://127.0.0.1:{self.port}{self.write_path}"
        done = subprocess.run([str(LOADER), "--url", url, "--json", "--folder", BODIES] + options, stdout=subprocess.PIPE,
                              check=False)
        if not done.stdout:
            raise SystemExit(f"{self.name}: the load generator failed")
        return json.loads(done.stdout)

    # What it costs.

    def cpu_s(self):
        """CPU seconds it has used since its start, user and system, to the nanosecond: clock_getcpuclockid(3) of its process."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def forget_peak(self):
        """Lets VmHWM begin anew."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def memory_bytes(self, field):
        """A size from /proc/PID/status: RssAnon, VmHWM..."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    def written_bytes(self):
        """What has been written to its disk since the machine started, by whomever: the kernel counts whole folios for a process that
        changes a page of them, so that nothing better can be had of the process itself."""
        device = os.stat(self.data).st_dev
        fields = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
        return int(fields[6]) * 512

    def wait_quiet(self, limit_s=180):
        """Waits until it uses under 3 % of a CPU for two seconds."""
        deadline = time.monotonic() + limit_s
        before = self.cpu_s()
        while time.monotonic() < deadline:
            time.sleep(2)
            now = self.cpu_s()
            if now - before < 0.06:
                return
            before = now

    def flush(self):
        """Moves what it has in memory to disk, as far as it can be asked to."""

    def settle(self):
        """Lets it finish what it puts off."""
        self.wait_quiet()

    def flushed_bytes(self):
        """After flush(): all files but a log; None where that says nothing."""
        return disk_bytes(self.data) - sum(disk_bytes(self.data / log) for log in ("log", "wal"))

    def compacted_bytes(self):
        """Merges all it has, or asks for a merged copy, and measures that without a log."""
        raise NotImplementedError


class Tidemark(Server):
    name, write_path, ready_path = "tidemark", "/api/v1/write", "/-/ready"

    @staticmethod
    def program():
        return str(BUILD / "tidemark")

    def arguments(self):
        return [f"--web.listen-address=127.0.0.1:{self.port}", f"--storage.tsdb.path={self.data}", "--query.max-samples=500000000",
                "--web.enable-admin-api"]

    def flush(self, compact=False):
        status, body = self.request("POST", "/api/v1/admin/tsdb/flush" + ("?compact=true" if compact else ""), {})
        if status not in (200, 204):
            raise SystemExit(f"tidemark refused to flush: {body[:300]!r}")

    def compacted_bytes(self):
        self.flush(compact=True)
        return self.flushed_bytes()


class Prometheus(Server):
    name, write_path, ready_path = "prometheus", "/api/v1/write", "/-/ready"

    @staticmethod
    def program():
        return peer_program("prometheus", "prometheus")

    def arguments(self):
        config = self.folder / "prometheus.yml"
        config.write_text("global: {}\n")
        return [f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.port}", f"--storage.tsdb.path={self.data}",
                "--web.enable-remote-write-receiver", "--web.enable-admin-api", "--storage.tsdb.retention.time=10y",
                "--query.max-samples=500000000", "--log.level=error"]

    def flushed_bytes(self):
        return None  # it cannot be asked to flush

    def compacted_bytes(self):
        status, body = self.request("POST", "/api/v1/admin/tsdb/snapshot", {})
        if status != 200:
            raise SystemExit(f"prometheus refused a snapshot: {body[:300]!r}")
        return disk_bytes(self.data / "snapshots" / json.loads(body)["data"]["name"])


class Victoria(Server):
    name, write_path, ready_path = "victoria", "/api/v1/write", "/health"
    reads = {"nocache": "1"}

    @staticmethod
    def program():
        return peer_program("victoria-metrics", "victoria-metrics")

    def arguments(self):
        return [f"-httpListenAddr=127.0.0.1:{self.port}", f"-storageDataPath={self.data}", "-retentionPeriod=10y",
                "-search.disableCache", "-search.latencyOffset=0s", "-search.maxUniqueTimeseries=2000000",
                "-search.maxStalenessInterval=5m", "-loggerLevel=ERROR"]

    def flush(self):
        self.request("GET", "/internal/force_flush")

    def settle(self):
        self.flush()
        self.request("GET", "/internal/force_merge")  # without it a kill loses what only memory has
        self.wait_quiet()

    def compacted_bytes(self):
        self.settle()
        return disk_bytes(self.data)  # it has no log


KINDS = (Tidemark, Victoria, Prometheus)


def chosen(names):
    """The kinds of server to measure; those that are not here are named and left out."""
    kinds = []
    for kind in KINDS:
        if names and kind.name not in names:
            continue
        if kind.program():
            kinds.append(kind)
        else:
            print(f"{kind.name} is not here and is left out; scripts/setup --test brings it")
    return kinds


def ask(connection, method, path, form=None):
    """Status and body of one request."""
    body = urllib.parse.urlencode(form, doseq=True) if form is not None else None
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def forget_pages(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def disk_bytes(folder):
    """What the files below a folder take on disk."""
    return sum(p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())


def drop_cache(folder):
    """Has the kernel forget the files below a folder."""
    for p in folder.rglob("*"):
        if p.is_file():
            fd = os.open(p, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def work_folder(parent):
    return tempfile.TemporaryDirectory(prefix="tidemark-bench-", dir=parent)


def machine():
    """One line about what this ran on."""
    model = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPUs ({model}), {platform.system()} {platform.release()}, " \
           f"load before {os.getloadavg()[0]:.1f}"


def figure(v):
    """Three digits that matter."""
    if v is None:
        return "-"
    if isinstance(v, str):
        return v
    if v >= 1000:
        return f"{v:,.0f}"
    return f"{v:.1f}" if v >= 100 else f"{v:.2f}" if v >= 1 else f"{v:.3f}"


def ratio(ours, theirs):
    return f"{ours / theirs:.2f}x" if ours is not None and theirs else "-"


def print_table(head, rows):
    """A Markdown table; the first column is text."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)] + [[r[0]] + [figure(v) for v in r[1:]] for r in rows]
    for line in lines:
        print("| " + " | ".join(line) + " |")
