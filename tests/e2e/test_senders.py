#!/usr/bin/env python3
"""test_senders.py TIDEMARK

What applications really send: OpenTelemetry's SDKs for Python and Node, instrumented OpenAI clients, Prometheus' clients for
batch jobs, whose pushes Debian's Pushgateway gets as well. Clients are in build/peers/senders (scripts/setup --test)."""
import argparse
import contextlib
import http.server
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import harness

HERE = pathlib.Path(__file__).resolve().parent
SENDERS = harness.ROOT / "build" / "peers" / "senders"
PYTHON = SENDERS / "venv" / "bin" / "python"
MODEL = 'gen_ai_request_model="gpt-4o"'


def python(script, *args, background=False, **env):
    if not PYTHON.exists():
        harness.skip("Python's clients are not here; scripts/setup --test brings them")
    return run([str(PYTHON), str(HERE / "senders" / script), *map(str, args)], background, env)


def node(script, *args, **env):
    return run(["node", str(HERE / "senders" / script), *map(str, args)], False,
               {"NODE_PATH": str(SENDERS / "node_modules"), **env})


def has_node():
    return shutil.which("node") and (SENDERS / "node_modules").exists()


def run(command, background, env):
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env})
    if background:
        return child
    output = child.communicate(timeout=120)[0]
    assert child.returncode == 0, f"{command}: {output}"
    return output


@contextlib.contextmanager
def server(program, *flags):
    """Tidemark in a folder of its own; stopped and removed in the end."""
    folder = tempfile.mkdtemp(prefix="senders-")
    process = harness.tidemark(program, folder, *flags).start()
    try:
        yield process
    finally:
        process.stop()
        shutil.rmtree(folder)


def values(db, selector):
    """{labels without the name, as a sorted tuple: value} of an instant query."""
    return {tuple(sorted(r["metric"].items())): r.get("value", [0, None])[1] for r in db.query(selector)["result"]}


def value(db, selector):
    found = values(db, selector)
    assert len(found) == 1, f"{selector}: {found}"
    return float(next(iter(found.values())))


def metric(db, line):
    found = re.search(rf"^{re.escape(line)} (\S+)$", db.request("GET", "/metrics")[1].decode(), re.M)
    assert found, f"/metrics has no {line}"
    return float(found[1])


def expect(db, job, rounds):
    """What otlp_app.py has sent in so many rounds."""
    app = f'job="{job}"'
    assert value(db, f'llm_requests_total{{{app},{MODEL},status="error"}}') == rounds
    assert value(db, f'llm_requests_total{{{app},{MODEL},status="ok"}}') == 2 * rounds
    assert value(db, f'llm_latency_seconds_count{{{app},{MODEL}}}') == 3 * rounds
    assert math.isclose(value(db, f'llm_latency_seconds_sum{{{app},{MODEL}}}'), 33.4 * rounds)
    for le, n in (("0.5", 1), ("2.5", 1), ("5", 2), ("10", 2), ("+Inf", 3)):
        assert value(db, f'llm_latency_seconds_bucket{{{app},{MODEL},le="{le}"}}') == n * rounds, le
    assert value(db, f'llm_cost_dollars_total{{{app},{MODEL}}}') == 0.25 * rounds
    assert value(db, f'histogram_count(llm_tokens{{{app}}})') == 3 * rounds
    assert value(db, f'target_info{{{app},telemetry_sdk_language="python"}}') == 1


def otlp_from_python(program, protocol, flags):
    with server(program, *flags) as process:
        db = harness.Http(process.port)
        endpoint = flags[0].split("=")[1] if flags else f"http://127.0.0.1:{process.port}/v1/metrics"
        python("otlp_app.py", protocol, endpoint, "cumulative", 3, "service.name=total")
        expect(db, "total", 3)
        python("otlp_app.py", protocol, endpoint, "delta", 2, "service.name=delta", "service.instance.id=i")
        expect(db, "delta", 2)
        db.close()
        process.child.terminate()
        process.child.wait(30)
        process.start()
        python("otlp_app.py", protocol, endpoint, "delta", 2, "service.name=delta", "service.instance.id=i")
        expect(db, "delta", 4)  # goes on with what is stored
        assert value(db, 'resets(llm_requests_total{job="delta",status="ok"}[5m])') == 0
        assert metric(db, 'tidemark_otlp_data_points_rejected_total{reason="store"}') == 0
        db.close()


def two_writers(program):
    with server(program) as process:
        db = harness.Http(process.port)
        endpoint = f"http://127.0.0.1:{process.port}/v1/metrics"
        apps = [python("otlp_app.py", "http", endpoint, "cumulative", 5, "service.name=twice", background=True,
                       ROUND_SECONDS="0.5") for _ in range(2)]
        output = [app.communicate(timeout=120)[0] for app in apps]
        assert all(app.returncode == 0 for app in apps), output
        assert metric(db, "tidemark_otlp_two_writers_total") > 0
        db.close()


def otlp_from_node(program):
    if not has_node():
        print("Node's clients are not here: left out")
        return
    with server(program) as process:
        db = harness.Http(process.port)
        url = f"http://127.0.0.1:{process.port}/v1/metrics"
        node("otlp_app.js", "proto", url, 2, OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
        node("otlp_app.js", "json", url, 2)
        by_format = []
        for job in ("node-proto", "node-json"):
            assert value(db, f'llm_requests_total{{job="{job}",list="[\\"a\\",\\"b\\"]"}}') == 4
            by_format.append({tuple(l for l in k if l[0] not in ("job", "telemetry_sdk_version")): v
                              for k, v in values(db, f'{{job="{job}"}}').items()})
        assert by_format[0] == by_format[1], by_format
        assert value(db, 'gpu_temperature_celsius{job="node-json",gpu="0",ok="true"}') == 61.5
        delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
        node("otlp_app.js", "json", url, 1, **delta)
        assert value(db, 'llm_requests_total{job="node-json"}') == 6
        assert value(db, 'llm_latency_seconds_bucket{job="node-json",le="1"}') == 3
        db.close()


class Chat(http.server.BaseHTTPRequestHandler):
    """Chat completions with cached tokens; the models fails-N get the status N."""
    protocol_version = "HTTP/1.1"
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200,
             "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 0}}

    def do_GET(self):
        prices = {"gpt-4o": {"promptPrice": 0.0025, "completionPrice": 0.01}}
        self.answer(200, json.dumps({"chat": prices}), "application/json")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"], "usage": self.usage,
                  "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}]}
        if asked["model"].startswith("fails-"):
            status = int(asked["model"].split("-")[1])
            self.answer(status, json.dumps({"error": {"message": "no", "type": "e"}}), "application/json")
        elif asked.get("stream"):
            chunk = {**answer, "object": "chat.completion.chunk", "usage": None,
                     "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
            last = {**chunk, "choices": [], "usage": self.usage}
            self.answer(200, "".join(f"data: {d}\n\n" for d in (json.dumps(chunk), json.dumps(last), "[DONE]")),
                        "text/event-stream")
        else:
            self.answer(200, json.dumps(answer), "application/json")

    def answer(self, status, text, content_type):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


def instrumented_clients(program):
    chat = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=chat.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{chat.server_port}"
    with server(program) as process:
        db = harness.Http(process.port)
        endpoint = f"http://127.0.0.1:{process.port}"
        python("chat_app.py", "openai", url, endpoint)
        usage = 'gen_ai_client_token_usage_sum{gen_ai_response_model="gpt-4o"'
        assert value(db, f'sum({usage},gen_ai_token_type="input"}})') == 2000
        assert value(db, f'sum({usage},gen_ai_token_type="output"}})') == 400
        assert value(db, 'sum(gen_ai_client_operation_duration_seconds_count{error_type=""})') == 2
        assert value(db, 'sum(gen_ai_client_operation_duration_seconds_count{error_type!=""})') == 2
        assert metric(db, 'tidemark_otlp_data_points_rejected_total{reason="store"}') == 0
        db.close()
    with server(program) as process:
        db = harness.Http(process.port)
        python("chat_app.py", "openlit", url, f"http://127.0.0.1:{process.port}")
        # of a streamed answer this library counts tokens itself
        assert value(db, 'sum(gen_ai_usage_input_tokens_total{gen_ai_request_model="gpt-4o"})') > 1000
        assert value(db, 'sum(gen_ai_usage_cost_USD_sum)') > 0.0045
        assert value(db, 'sum(gen_ai_usage_cost_USD_count)') == 2  # and leaves out what failed
        db.close()
    chat.shutdown()


# ---- pushes of batch jobs ----

def parse_exposition(text, job):
    """{labels as a sorted tuple: value} of the samples of a job, as a query would show them."""
    samples = {}
    for line in text.splitlines():
        found = re.fullmatch(r'([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)', line)
        if not found or line.startswith("#"):
            continue
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
        labels = {k: v for k, v in labels.items() if v}
        if labels.get("job") == job and "push_" not in found[1]:
            if "le" in labels and re.fullmatch(r"\d+", labels["le"]):
                labels["le"] += ".0"  # as Prometheus stores what it scrapes
            samples[tuple(sorted({"__name__": found[1], **labels}.items()))] = float(found[3])
    return samples


def pushes(program):
    gateway_port = harness.free_port()
    gateway = harness.Process("pushgateway", [harness.peer("prometheus-pushgateway", "prometheus-pushgateway"),
                                              f"--web.listen-address=127.0.0.1:{gateway_port}"], gateway_port).start()
    try:
        with server(program, "--push.interval=1s") as process:
            db, reference = harness.Http(process.port), harness.Http(gateway_port)

            def compare(job, created=True):
                got = {k: float(v) for k, v in values(db, f'{{job="{job}",__name__!~"push_.*"}}').items()}
                want = parse_exposition(reference.request("GET", "/metrics")[1].decode(), job)
                got, want = ({k: v for k, v in d.items() if not dict(k)["__name__"].endswith("_created")}
                             for d in (got, want))
                assert got == want, f"{job}: {sorted(set(got.items()) ^ set(want.items()))}"
                return got

            ports = (process.port, gateway_port)
            for job, labels in (("batch", ()), ("a/b", ("env=x/y", "empty="))):
                for port in ports:
                    python("push_app.py", f"127.0.0.1:{port}", "push", job, *labels)
                assert len(compare(job)) == 21, job
                for port in ports:
                    python("push_app.py", f"127.0.0.1:{port}", "pushadd", job, *labels)
                assert len(compare(job)) == 22, job
                for port in ports:
                    python("push_app.py", f"127.0.0.1:{port}", "delete", job, *labels)
                assert compare(job) == {}, job
            if has_node():
                for what, n in (("push", 6), ("pushAdd", 6), ("delete", 0)):
                    for port in ports:
                        node("push_app.js", f"http://127.0.0.1:{port}", what, "node-job")
                    assert len(compare("node-job")) == n, what
            for port in ports:  # a bad push shows in both
                status = harness.Http(port).request("PUT", "/metrics/job/bad", b"not a metric\n")[0]
                assert status == 400, status
            assert value(db, 'push_failure_time_seconds{job="bad"}') > 1.6e9
            db.close()
            reference.close()
    finally:
        gateway.stop()


def alerts(program):
    folder = tempfile.mkdtemp(prefix="senders-")
    config = pathlib.Path(folder) / "config.yml"
    config.write_text(f"global: {{evaluation_interval: 1s}}\nrule_files: ['{HERE}/llm_alerts.yml']\n")
    with server(program, "--push.interval=1s", f"--config.file={config}") as process:
        db = harness.Http(process.port)

        def firing():
            return {a["labels"]["alertname"] for a in json.loads(db.request("GET", "/api/v1/alerts")[1])["data"]["alerts"]
                    if a["state"] == "firing"}

        def import_text(text):
            status, body = db.request("POST", "/api/v1/import/prometheus", text.encode())
            assert status == 204, body

        python("push_app.py", f"127.0.0.1:{process.port}", "push", "batch")
        for i in range(3):  # the job's errors, and the cost as Node's client names it, grow
            import_text("".join(f'llm_requests_total{{job="batch",model="gpt-4o",status="error"}} {40 + 40 * i} {t}\n'
                                f'llm_cost_dollars{{job="node"}} {100 * i} {t}\n'
                                for t in [int(time.time() * 1000)]))
            time.sleep(1.1)
        deadline = time.monotonic() + 20
        while firing() != {"HighErrorRate", "HighCost"}:
            assert time.monotonic() < deadline, firing()
            time.sleep(0.3)
        assert value(db, "histogram_quantile(0.95, sum by (le) (llm_latency_seconds_bucket))") > 5
        assert values(db, "histogram_quantile(0.95, llm_latency_seconds)") == {}  # so that HighLatency never fires
        assert values(db, 'llm_cost_dollars{job="batch"}') == {}  # Python's has another name
        assert value(db, 'llm_cost_dollars_total{job="batch"}') == 12.5
        db.close()
    shutil.rmtree(folder)


PARTS = {
    "otlp_http": lambda program: otlp_from_python(program, "http", ()),
    "otlp_grpc": lambda program: otlp_from_python(
        program, "grpc", (f"--otlp.grpc-listen-address=127.0.0.1:{harness.free_port()}",)),
    "two_writers": two_writers,
    "node": otlp_from_node,
    "clients": instrumented_clients,
    "alerts": alerts,
    "pushes": pushes,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tidemark")
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    args = parser.parse_args()
    for part in args.parts:
        start = time.monotonic()
        PARTS[part](args.tidemark)
        print(f"{part}: ok, {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
