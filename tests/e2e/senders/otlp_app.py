"""otlp_app.py http|grpc ENDPOINT cumulative|delta ROUNDS [ATTRIBUTE=VALUE...]

An LLM application as it would be written with the OpenTelemetry SDK: every round makes the same requests and sends them.
Attributes are those of the resource. ROUND_SECONDS in the environment: how long a round takes."""
import os
import sys
import time

from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

protocol, endpoint, temporality, rounds, *attributes = sys.argv[1:]
if protocol == "http":
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    options = {"endpoint": endpoint, "compression": Compression.Gzip}
else:
    from grpc import Compression
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    options = {"endpoint": endpoint, "insecure": True, "compression": Compression.Gzip}
wanted = AggregationTemporality.DELTA if temporality == "delta" else AggregationTemporality.CUMULATIVE
exporter = OTLPMetricExporter(preferred_temporality={Counter: wanted, Histogram: wanted}, **options)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3600000)
provider = MeterProvider([reader], resource=Resource.create(dict(a.split("=", 1) for a in attributes)), views=[
    View(instrument_name="llm_latency", aggregation=ExplicitBucketHistogramAggregation((0.5, 1, 2.5, 5, 10))),
    View(instrument_name="llm_tokens", aggregation=ExponentialBucketHistogramAggregation()),
])
meter = provider.get_meter("app", "1.0")
requests = meter.create_counter("llm_requests", description="Requests to models")
cost = meter.create_counter("llm_cost_dollars")
latency = meter.create_histogram("llm_latency", unit="s")
tokens = meter.create_histogram("llm_tokens")
active = meter.create_up_down_counter("llm_active_requests")

for _ in range(int(rounds)):
    active.add(1)
    for status, seconds in (("ok", 0.4), ("ok", 3), ("error", 30)):
        requests.add(1, {"gen_ai.request.model": "gpt-4o", "status": status})
        latency.record(seconds, {"gen_ai.request.model": "gpt-4o"})
        tokens.record(100)
    cost.add(0.25, {"gen_ai.request.model": "gpt-4o"})
    if not provider.force_flush():
        sys.exit("the exporter did not deliver")
    time.sleep(float(os.environ.get("ROUND_SECONDS", 0)))
provider.shutdown()
