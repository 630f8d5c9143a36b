#!/usr/bin/env python3
"""test_victoria.py TIDEMARK

vmagent scrapes a page and writes to Tidemark: every value it saw must arrive, in spite of its trying zstd first. vmalert
evaluates rules against Tidemark's query API and writes what they record, and its alerts' states, back to it."""
import argparse
import http.server
import json
import pathlib
import shutil
import sys
import tempfile
import threading
import time

import harness

RULES = """
groups:
  - name: e2e
    interval: 1s
    rules:
      - record: job:llm_errors:sum
        expr: sum by (job) (llm_errors)
      - alert: TooManyErrors
        expr: job:llm_errors:sum > 1
        labels: {severity: page}
"""
PAGE = "# TYPE llm_errors gauge\nllm_errors{model=\"a\"} 2\nllm_errors{model=\"b\\\"q\"} 1.5\nllm_up_seconds_total %d\n"


def serve():
    scrapes = [0]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            scrapes[0] += 1
            body = (PAGE % scrapes[0]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):  # an Alertmanager that takes everything
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], scrapes


def vmagent(work, page_port, server):
    (work / "scrape.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "llm", "static_configs": [{"targets": [f"127.0.0.1:{page_port}"]}]}]}))
    port = harness.free_port()
    return harness.Process("vmagent", [
        harness.peer("victoria-metrics", "vmagent"), f"-promscrape.config={work / 'scrape.yml'}",
        f"-remoteWrite.url=http://127.0.0.1:{server.port}/api/v1/write", f"-remoteWrite.tmpDataPath={work / 'queue'}",
        "-remoteWrite.flushInterval=500ms", f"-httpListenAddr=127.0.0.1:{port}"], port, "/health")


def vmalert(work, page_port, server):
    (work / "rules.yml").write_text(RULES)
    port, url = harness.free_port(), f"http://127.0.0.1:{server.port}"
    return harness.Process("vmalert", [
        harness.peer("victoria-metrics", "vmalert"), f"-rule={work / 'rules.yml'}", f"-datasource.url={url}",
        f"-remoteWrite.url={url}", f"-remoteRead.url={url}", f"-notifier.url=http://127.0.0.1:{page_port}", "-evaluationInterval=1s",
        "-remoteWrite.flushInterval=500ms", f"-httpListenAddr=127.0.0.1:{port}"], port, "/health")


def wait_for(client, query, wanted, timeout_s=60):
    """Until the query gives the wanted values by labels; a text when it does not."""
    deadline = time.monotonic() + timeout_s
    while True:
        got = {json.dumps(s["metric"], sort_keys=True): float(s["value"][1]) for s in client.query(query)["result"]}
        if got == wanted:
            return []
        if time.monotonic() > deadline:
            return [f"{query}: {got}, want {wanted}"]
        time.sleep(0.2)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    args = ap.parse_args()
    harness.peer("victoria-metrics", "vmagent")
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-e2e-"))
    server = harness.tidemark(args.tidemark, work / "data")
    page_port, scrapes = serve()
    agent, alert = vmagent(work, page_port, server), vmalert(work, page_port, server)
    try:
        client = harness.Http(server.start().port)
        agent.start()
        failures = wait_for(client, "sum by (model) (llm_errors)", {'{"model": "a"}': 2, '{"model": "b\\"q"}': 1.5})
        alert.start()
        failures += wait_for(client, "job:llm_errors:sum",
                             {'{"__name__": "job:llm_errors:sum", "job": "llm"}': 3.5})
        failures += wait_for(client, 'sum by (alertname, severity, alertstate) (ALERTS{alertstate="firing"})',
                             {'{"alertname": "TooManyErrors", "alertstate": "firing", "severity": "page"}': 1})
        agent.stop()  # sends what it still has
        values = [int(float(v)) for _, v in client.query("llm_up_seconds_total[5m]")["result"][0]["values"]
                  if v != "NaN"]
        if values != list(range(1, scrapes[0] + 1)):
            failures.append(f"vmagent scraped {scrapes[0]} times, and {values} arrived")
    finally:
        for process in (alert, agent, server):
            process.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(failures) or f"passed: {scrapes[0]} scrapes of vmagent, a rule and an alert of vmalert")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
