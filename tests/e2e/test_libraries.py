#!/usr/bin/env python3
"""test_libraries.py TIDEMARK

Client libraries read from Tidemark: prometheus-api-client of PyPI and prometheus-query of npm, unpacked under
build/peers/clients by scripts/setup --test. What they return must be what was written."""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import harness

CLIENTS = harness.ROOT / "build" / "peers" / "clients"

PYTHON = """
import datetime, json, sys
from prometheus_api_client import PrometheusConnect
url, now = sys.argv[1], datetime.datetime.fromtimestamp(int(sys.argv[2]))
p = PrometheusConnect(url=url, disable_ssl=True)
start = now - datetime.timedelta(minutes=5)
print(json.dumps({
    "connection": p.check_prometheus_connection(),
    "metrics": sorted(p.all_metrics()),
    "labels": p.get_label_names(),
    "values": p.get_label_values("model"),
    "now": p.get_current_metric_value("llm_requests_total", {"model": "a"}, {"time": int(sys.argv[2])}),
    "range": p.get_metric_range_data("llm_requests_total", {"model": "a"}, start_time=start, end_time=now),
    "step": p.custom_query_range("sum(llm_requests_total)", start, now, "60"),
    "metadata": p.get_metric_metadata("llm_requests_total"),
    "targets": p.get_targets(), "pools": p.get_scrape_pools(),
}))
try:
    p.custom_query("sum(")
except Exception as e:
    print(type(e).__name__)
"""

NODE = """
const {PrometheusDriver} = require(process.argv[3]);
const prom = new PrometheusDriver({endpoint: process.argv[2], baseURL: '/api/v1'});
const now = Number(process.argv[4]) * 1000;
(async () => {
  const instant = await prom.instantQuery('sum by (model) (llm_requests_total)', now);
  const range = await prom.rangeQuery('llm_requests_total{model="a"}', now - 300000, now, 60);
  const series = await prom.series('llm_requests_total', now - 300000, now);
  const labels = await prom.labelNames([], now - 300000, now);
  const values = await prom.labelValues('model', [], now - 300000, now);
  const rules = await prom.rules(), alerts = await prom.alerts(), targets = await prom.targets();
  let error = null;
  try { await prom.instantQuery('sum('); } catch (e) { error = require('util').inspect(e, {depth: 6}); }
  console.log(JSON.stringify({
    instant: instant.result.map(r => [r.metric.labels, r.value.value]), range: range.result[0].values.length,
    series: series.length, labels, values, rules, alerts, targets: targets.activeTargets, error}));
})();
"""


def write(client, now_s):
    for model, factor in (("a", 1), ("b", 2)):
        points = [((now_s - 15 * i) * 1000, float(factor * (1000 - i))) for i in range(40, -1, -1)]
        body = harness.write_request([({"__name__": "llm_requests_total", "model": model}, points)])
        assert client.request("POST", "/api/v1/write", body, harness.WRITE_HEADERS)[0] == 204
    metadata = harness.llm_service.snappy_block(harness.llm_service.field_bytes(
        3, b"\x08\x01" + harness.llm_service.field_bytes(2, b"llm_requests_total")
        + harness.llm_service.field_bytes(4, b"Requests.")))
    assert client.request("POST", "/api/v1/write", metadata, harness.WRITE_HEADERS)[0] == 204


def run(command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    if done.returncode != 0:
        return None, [f"{command[0]}: {done.returncode}\n{done.stdout}{done.stderr}"]
    return done.stdout, []


def different(name, got, want):
    return [] if got == want else [f"{name}: {got}, want {want}"]


def check_python(url, now_s):
    output, failures = run([sys.executable, "-c", PYTHON, url, str(now_s)],
                           {"PYTHONPATH": str(CLIENTS / "python"), "PATH": "/usr/bin:/bin", "TZ": time.tzname[0]})
    if failures:
        return failures
    text, error = output.strip().split("\n")
    got = json.loads(text)
    failures += different("python: connection", got["connection"], True)
    failures += different("python: metrics", got["metrics"], ["llm_requests_total"])
    failures += different("python: labels", got["labels"], ["__name__", "model"])
    failures += different("python: values", got["values"], ["a", "b"])
    failures += different("python: now", [s["value"] for s in got["now"]], [[now_s, "1000"]])
    failures += different("python: range", [len(s["values"]) for s in got["range"]], [20])
    failures += different("python: steps", [len(s["values"]) for s in got["step"]], [6])
    failures += different("python: metadata", got["metadata"],
                          [{"metric_name": "llm_requests_total", "type": "counter", "help": "Requests.", "unit": ""}])
    failures += different("python: error", error, "PrometheusApiClientException")
    return failures


def check_node(url, now_s):
    node = shutil.which("node")
    package = CLIENTS / "npm" / "node_modules" / "prometheus-query"
    if not node or not package.exists():
        print("node or prometheus-query is not here: left out")
        return []
    output, failures = run([node, "-e", NODE, "-", url, str(package), str(now_s)])
    if failures:
        return failures
    got = json.loads(output)
    failures += different("node: instant", got["instant"], [[{"model": "a"}, 1000], [{"model": "b"}, 2000]])
    failures += different("node: range", got["range"], 6)
    failures += different("node: series", got["series"], 2)
    failures += different("node: labels", got["labels"], ["__name__", "model"])
    failures += different("node: values", got["values"], ["a", "b"])
    failures += different("node: rules, alerts, targets", [got["rules"], got["alerts"], got["targets"]], [[], [], []])
    if "parse error" not in (got["error"] or ""):
        failures.append(f"node: error {got['error']}")
    return failures


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    args = ap.parse_args()
    if not (CLIENTS / "python" / "prometheus_api_client").exists():
        harness.skip("prometheus-api-client is not here; scripts/setup --test brings it")
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-e2e-"))
    server = harness.tidemark(args.tidemark, work / "data")
    now_s = int(time.time())
    try:
        write(harness.Http(server.start().port), now_s)
        url = f"http://127.0.0.1:{server.port}"
        failures = check_python(url, now_s) + check_node(url, now_s)
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(failures) or "passed: prometheus-api-client and prometheus-query")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
