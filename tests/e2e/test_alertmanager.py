#!/usr/bin/env python3
"""test_alertmanager.py TIDEMARK [--late SECONDS]

A rule fires and must reach Debian's Alertmanager, which starts late: with the right labels, annotations and times. Then
Tidemark is killed with SIGKILL and started again: nobody may be told that the alert is over. Then the cause goes away: the
resolution must arrive."""
import argparse
import datetime
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
      - record: job:llm_errors:max
        expr: max by (job) (llm_errors)
      - alert: TooManyErrors
        expr: job:llm_errors:max > 0.5
        for: 2s
        labels:
          severity: page
          team: '{{ $labels.job }}-team'
        annotations:
          summary: 'Error ratio of {{ $labels.job }} is {{ $value | humanizePercentage }}'
          odd: '{{ printf "%d" $value }}'
"""


class Receiver:
    """The webhook that Alertmanager calls: remembers (status, alert) in order."""

    def __init__(self):
        self.heard, self.lock = [], threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.heard += [(a["status"], a) for a in body["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def all(self, status):
        with self.lock:
            return [a for s, a in self.heard if s == status]


def alertmanager(work, port, receiver):
    config = work / "alertmanager.yml"
    config.write_text(json.dumps({  # JSON is YAML
        "route": {"receiver": "hook", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"},
        "receivers": [{"name": "hook", "webhook_configs": [{"url": f"http://127.0.0.1:{receiver.port}/"}]}],
    }))
    command = [harness.peer("prometheus-alertmanager", "prometheus-alertmanager"), f"--config.file={config}",
               f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
               f"--storage.path={work / 'alertmanager'}"]
    return harness.Process("alertmanager", harness.with_share(
        "prometheus-alertmanager", "/usr/share/prometheus/alertmanager/default.tmpl", command), port)


class Pusher(threading.Thread):
    """Sends the current error ratio four times a second; a server that is away is tried again."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.value, self.stopped = port, 0.75, threading.Event()

    def run(self):
        client = harness.Http(self.port)
        while not self.stopped.wait(0.25):
            series = [({"__name__": "llm_errors", "job": "gateway", "instance": i}, [(int(time.time() * 1000), self.value)])
                      for i in ("a", "b")]
            try:
                status, text = client.request("POST", "/api/v1/write", harness.write_request(series), harness.WRITE_HEADERS)
                assert status in (204, 503), (status, text)  # 503: it is starting
            except (OSError, harness.http.client.HTTPException):
                client.close()


def until(what, check, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {timeout_s} s")


def active(client):
    """Our alert as Alertmanager sees it, or None."""
    status, body = client.request("GET", "/api/v2/alerts?active=true")
    assert status == 200, (status, body)
    found = [a for a in json.loads(body) if a["labels"]["alertname"] == "TooManyErrors"]
    assert len(found) <= 1, found
    return found[0] if found else None


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def check_first(alert, ours):
    assert alert["labels"] == {"alertname": "TooManyErrors", "job": "gateway", "severity": "page",
                               "team": "gateway-team"}, alert["labels"]
    assert alert["annotations"] == {"summary": "Error ratio of gateway is 75%", "odd": "%!d(float64=0.75)"}, alert["annotations"]
    state = json.loads(ours.request("GET", "/api/v1/alerts")[1])["data"]["alerts"]
    assert len(state) == 1 and state[0]["state"] == "firing", state
    waited = seconds(alert["startsAt"]) - seconds(state[0]["activeAt"])
    assert 2 <= waited < 10, f"fired {waited} s after it became active, for is 2 s"
    assert "/graph?g0.expr=job%3Allm_errors%3Amax+%3E+0.5" in alert["generatorURL"], alert["generatorURL"]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    ap.add_argument("tidemark")
    ap.add_argument("--late", type=float, default=10, help="how long Alertmanager is away at first")
    args = ap.parse_args()
    harness.peer("prometheus-alertmanager", "prometheus-alertmanager")
    work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-alert-"))
    rules = work / "rules.yml"
    rules.write_text(RULES)
    receiver, am_port = Receiver(), harness.free_port()
    listener = alertmanager(work, am_port, receiver)
    server = harness.tidemark(args.tidemark, work / "tidemark", f"--rules={rules}", f"--alertmanager=http://127.0.0.1:{am_port}")
    pusher = Pusher(server.port)
    try:
        server.start()
        pusher.start()
        time.sleep(args.late)
        listener.start()
        am, ours = harness.Http(am_port), harness.Http(server.port)
        first = until("the alert reaches an Alertmanager that was late", lambda: active(am))
        check_first(first, ours)
        until("the webhook hears of it", lambda: receiver.all("firing"))

        server.kill()
        time.sleep(2)
        ours.close()
        server.start()
        for _ in range(80):
            alert = active(am)
            assert alert, "Alertmanager lost the alert after the restart"
            assert alert["startsAt"] == first["startsAt"], f"a new alert: {alert['startsAt']}, was {first['startsAt']}"
            time.sleep(0.1)
        assert not receiver.all("resolved"), f"a false resolution: {receiver.all('resolved')}"
        state = ours.query('ALERTS{alertname="TooManyErrors"}')["result"]
        assert [s["metric"]["alertstate"] for s in state] == ["firing"], state

        pusher.value = 0.1
        resolved = until("the resolution arrives", lambda: receiver.all("resolved"))
        assert resolved[0]["labels"] == first["labels"], resolved[0]
        assert seconds(resolved[0]["startsAt"]) == seconds(first["startsAt"]), resolved[0]
        assert active(am) is None
        until("the series of the alert ends", lambda: not ours.query('ALERTS{alertname="TooManyErrors"}')["result"])
        firing = ours.query('count_over_time(ALERTS{alertstate="firing"}[10m])')["result"]
        assert firing and float(firing[0]["value"][1]) > 3, firing
    finally:
        pusher.stopped.set()
        server.stop()
        listener.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("passed: fired, was heard late, survived kill -9, resolved")


if __name__ == "__main__":
    sys.exit(main())
