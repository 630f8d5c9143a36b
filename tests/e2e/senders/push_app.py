"""push_app.py HOST:PORT push|pushadd|delete JOB [LABEL=VALUE...] -- a batch job with Prometheus' Python client."""
import sys

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, delete_from_gateway, push_to_gateway
from prometheus_client import pushadd_to_gateway

gateway, what, job, *labels = sys.argv[1:]
key = dict(l.split("=", 1) for l in labels)
registry = CollectorRegistry()
if what == "pushadd":  # another family: the rest of the group stays
    Gauge("job_last_success_unixtime", "When it succeeded last", registry=registry).set(1.7e9)
    pushadd_to_gateway(gateway, job=job, registry=registry, grouping_key=key)
elif what == "push":
    requests = Counter("llm_requests_total", "Requests", ["model", "status"], registry=registry)
    requests.labels("gpt-4o", "ok").inc(90)
    requests.labels("gpt-4o", "error").inc(40)
    latency = Histogram("llm_latency_seconds", "Latency", ["model"], registry=registry)
    for seconds in (0.3, 2, 9.75):
        latency.labels("gpt-4o").observe(seconds)
    Counter("llm_cost_dollars", "Cost", ["model"], registry=registry).labels("gpt-4o").inc(12.5)
    Gauge("llm_active_requests", "Running", registry=registry).set(3)
    push_to_gateway(gateway, job=job, registry=registry, grouping_key=key)
else:
    delete_from_gateway(gateway, job=job, grouping_key=key)
