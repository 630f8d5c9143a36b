#!/usr/bin/env python3
"""The simulated LLM service: what it sends, and that it loses nothing while the server is away."""
import http.server
import importlib.util
import json
import pathlib
import signal
import struct
import subprocess
import sys
import threading
import unittest

PATH = pathlib.Path(__file__).parent.parent / "examples" / "llm_service.py"
spec = importlib.util.spec_from_file_location("llm_service", PATH)
llm_service = importlib.util.module_from_spec(spec)
sys.modules["llm_service"] = llm_service
spec.loader.exec_module(llm_service)


def read_uvarint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, value) of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = read_uvarint(data, at)
        if key & 7 == 0:
            value, at = read_uvarint(data, at)
        elif key & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        else:
            assert key & 7 == 2
            n, at = read_uvarint(data, at)
            value, at = data[at:at + n], at + n
            assert len(value) == n
        yield key >> 3, value


def unsnappy(block):
    """Decodes literals, the only elements the service writes."""
    length, at = read_uvarint(block, 0)
    out = b""
    while at < len(block):
        assert block[at] == 0xF4
        n = struct.unpack_from("<H", block, at + 1)[0] + 1
        out += block[at + 3:at + 3 + n]
        at += 3 + n
    assert len(out) == length
    return out


def decode(message):
    """({labels: [(t_ms, value)]}, [family]) of a WriteRequest."""
    series, families = {}, []
    for number, value in fields(message):
        if number == 3:
            families.append(dict(fields(value))[2].decode())
            continue
        labels, samples = [], []
        for inner, data in fields(value):
            pair = dict(fields(data))
            if inner == 1:
                labels.append((pair[1].decode(), pair[2].decode()))
            else:
                samples.append((pair[2], pair.get(1, 0.0)))
        assert labels == sorted(labels)
        series[tuple(labels)] = samples
    return series, families


class FakeClient:
    """Answers the writes from a list of outcomes, then accepts everything."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.messages = []

    def write(self, message):
        if self.outcomes and (failure := self.outcomes.pop(0)):
            raise llm_service.Unavailable(failure)
        self.messages.append(message)


class Stub(http.server.BaseHTTPRequestHandler):
    """A server that is overloaded at first."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        state = self.server.state
        with state["lock"]:
            status = state["statuses"].pop(0) if state["statuses"] else 204
            if status == 204:
                state["messages"].append(unsnappy(body))
        if len(state["messages"]) >= state["enough"]:
            state["done"].set()
        self.answer(status, b"")

    def do_GET(self):
        self.answer(200, json.dumps({"data": {"result": []}}).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Encoding(unittest.TestCase):
    def test_blocks_decode(self):
        for size in (0, 1, 59, 60, 61, 65535, 65536, 65537, 200000):
            data = bytes(i * 7 & 0xFF for i in range(size))
            self.assertEqual(unsnappy(llm_service.snappy_block(data)), data)

    def test_labels_are_sorted_and_negative_times_kept(self):
        labels = llm_service.encode_labels({"job": "x", "__name__": "up"})
        message = llm_service.field_bytes(1, labels + llm_service.encode_sample(1.5, 1700000000000))
        series, _ = decode(message)
        self.assertEqual(series, {(("__name__", "up"), ("job", "x")): [(1700000000000, 1.5)]})
        self.assertEqual(llm_service.field_varint(2, -1), b"\x10" + b"\xff" * 9 + b"\x01")

    def test_metadata_names_every_family(self):
        _, families = decode(llm_service.encode_metadata())
        names = {labels["__name__"] for labels, _ in llm_service.ModelMetrics("m", 1, None).series()}
        self.assertEqual(len(families), len(llm_service.METADATA))
        for name in names:
            self.assertIn(name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count"),
                          families)


class Simulation(unittest.TestCase):
    def test_counters_are_consistent_and_never_fall(self):
        part = llm_service.ModelMetrics("gpt-4o", 50, llm_service.random.Random(1))
        before = [value for labels, value in part.series() if labels["__name__"] != "llm_active_requests"]
        for t in range(0, 7200, 60):
            part.advance(t, 60)
            now = [value for labels, value in part.series() if labels["__name__"] != "llm_active_requests"]
            self.assertTrue(all(a <= b for a, b in zip(before, now)))
            before = now
        values = {}
        for labels, value in part.series():
            values.setdefault(labels["__name__"], []).append(value)
        count = values["llm_latency_seconds_count"][0]
        self.assertGreater(count, 10000)
        self.assertEqual(len(values["llm_latency_seconds_bucket"]), 14)
        self.assertEqual(values["llm_latency_seconds_bucket"], sorted(values["llm_latency_seconds_bucket"]))
        self.assertEqual(values["llm_latency_seconds_bucket"][-1], count)
        self.assertEqual(sum(values["llm_requests_total"]), count)
        errors = sum(values["llm_requests_total"][1:]) / count
        self.assertTrue(0.005 < errors < 0.1, errors)

    def test_unknown_models_have_a_stable_profile(self):
        self.assertEqual(llm_service.profile_of("mine"), llm_service.profile_of("mine"))
        self.assertNotEqual(llm_service.profile_of("mine"), llm_service.profile_of("yours"))


class Sending(unittest.TestCase):
    def setUp(self):
        self.service = llm_service.Service(["a"], 1, 10, "j")
        self.said = []
        self.real_say, llm_service.say = llm_service.say, self.said.append

    def tearDown(self):
        llm_service.say = self.real_say

    def sent_times(self, client):
        times = []
        for message in client.messages:
            series, _ = decode(message)
            if series:
                times += [t for t, _ in next(iter(series.values()))]
        return times

    def test_samples_wait_for_the_server_and_keep_their_order(self):
        client = FakeClient("away", "still away")
        sender = llm_service.Sender(client, self.service, 5)
        for t in range(3):
            sender.add(t, self.service.snapshot())
        self.assertFalse(sender.flush())
        self.assertFalse(sender.flush())  # too early: not even tried
        self.assertEqual(len(client.outcomes), 1)
        sender.retry_at = 0
        self.assertFalse(sender.flush())
        self.assertEqual(sender.backoff_s, 2)
        sender.retry_at = 0
        sender.add(3, self.service.snapshot())
        self.assertTrue(sender.flush())
        self.assertEqual(self.sent_times(client), [0, 1000, 2000, 3000])
        self.assertEqual(sender.backoff_s, 0)

    def test_requests_stay_small(self):
        client = FakeClient()
        sender = llm_service.Sender(client, self.service, 5)
        for t in range(500):
            sender.add(t, self.service.snapshot())
        self.assertTrue(sender.flush())
        for message in client.messages:
            n = sum(len(samples) for samples in decode(message)[0].values())
            self.assertLessEqual(n, llm_service.MAX_SAMPLES_PER_REQUEST)
        self.assertEqual(self.sent_times(client), [1000 * t for t in range(500)])

    def test_memory_is_bounded_and_the_loss_said_once(self):
        sender = llm_service.Sender(FakeClient(), self.service, 3600)
        for t in range(5):
            sender.add(t, [])
        self.assertEqual([t for t, _ in sender.waiting], [3000, 4000])
        self.assertEqual(len(self.said), 1)

    def test_history_begins_after_what_the_server_has(self):
        client = FakeClient()
        stop = threading.Event()
        client.newest_sample = lambda job, range_s: None
        self.assertEqual(llm_service.backfill_start(client, "j", 10000, 3600, stop), 6400)
        client.newest_sample = lambda job, range_s: 9000
        self.assertEqual(llm_service.backfill_start(client, "j", 10000, 3600, stop), 9000)


class WholeProgram(unittest.TestCase):
    def test_history_arrives_whole_though_the_server_is_overloaded_first(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
        server.daemon_threads = True
        server.state = state = {"lock": threading.Lock(), "statuses": [503], "messages": [],
                                "enough": 5, "done": threading.Event()}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = subprocess.Popen(
            [sys.executable, PATH, "--url", f"http://127.0.0.1:{server.server_port}/api/v1/write",
             "--interval", "1s", "--backfill", "2m", "--models", "a", "--instances", "1"],
            stderr=subprocess.PIPE, text=True)
        try:
            self.assertTrue(state["done"].wait(30))
            program.send_signal(signal.SIGTERM)
            _, said = program.communicate(timeout=30)
        finally:
            program.kill()
            server.shutdown()
            server.server_close()
        self.assertEqual(program.returncode, 0, said)
        self.assertIn("server is back", said)
        series, families = {}, []
        for message in state["messages"]:
            some, names = decode(message)
            families += names
            for labels, samples in some.items():
                series.setdefault(labels, []).extend(samples)
        self.assertIn("llm_tokens_total", families)
        self.assertEqual(len(series), 24)
        for labels, samples in series.items():
            self.assertGreaterEqual(len(samples), 120)
            times = [t for t, _ in samples]
            self.assertEqual(times, list(range(times[0], times[-1] + 1, 1000)))
            if dict(labels)["__name__"] != "llm_active_requests":
                values = [value for _, value in samples]
                self.assertEqual(values[0], 0)
                self.assertEqual(values, sorted(values))


if __name__ == "__main__":
    unittest.main()
