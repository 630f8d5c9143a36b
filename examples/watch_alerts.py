#!/usr/bin/env python3
"""watch_alerts.py [--url http://127.0.0.1:9420] [--interval 2]

Prints a line whenever an alert becomes pending, fires or is over: what /api/v1/alerts shows, as it changes. Python's standard
library only."""
import argparse
import json
import signal
import sys
import time
import urllib.request

COLOURS = {"pending": "33", "firing": "31", "over": "32"}


def fetch(url):
    """{identity: alert} of all pending and firing alerts, or None while the server does not answer."""
    try:
        with urllib.request.urlopen(url + "/api/v1/alerts", timeout=5) as answer:
            alerts = json.load(answer)["data"]["alerts"]
    except (OSError, ValueError, KeyError):
        return None
    return {json.dumps(a["labels"], sort_keys=True): a for a in alerts}


def show(state, alert):
    labels = alert["labels"]
    which = " ".join(f"{k}={v}" for k, v in sorted(labels.items()) if k not in ("alertname", "severity"))
    word = f"{state:8}"
    if sys.stdout.isatty():
        word = f"\033[{COLOURS[state]}m{word}\033[0m"
    summary = alert["annotations"].get("summary", "")
    print(f"{time.strftime('%H:%M:%S')} alert {word} {labels['alertname']} {which}: {summary}", flush=True)


def watch(url, interval):
    known = {}
    while True:
        now = fetch(url)
        if now is not None:
            for identity, alert in now.items():
                if known.get(identity, {}).get("state") != alert["state"]:
                    show(alert["state"], alert)
            for identity in known.keys() - now.keys():
                show("over", known[identity])
            known = now
        time.sleep(interval)


def main():
    parser = argparse.ArgumentParser(description="Prints a line whenever an alert changes its state.")
    parser.add_argument("--url", default="http://127.0.0.1:9420", help="the server (default: %(default)s)")
    parser.add_argument("--interval", type=float, default=2, metavar="SECONDS",
                        help="between looks (default: %(default)s)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        watch(args.url.rstrip("/"), args.interval)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
