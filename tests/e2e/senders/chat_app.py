"""chat_app.py openai|openlit CHAT_URL OTLP_ENDPOINT

Talks to a chat-completion server with OpenAI's client, instrumented: two answers, one of them streamed, then the errors 429
and 500."""
import os
import sys

library, chat_url, endpoint = sys.argv[1:]
os.environ.update({"OTEL_TRACES_EXPORTER": "none", "OTEL_SERVICE_NAME": "chat", "TRACELOOP_TRACE_CONTENT": "false"})
import openai

if library == "openai":
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor
    from opentelemetry.metrics import set_meter_provider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint + "/v1/metrics"),
                                                            export_interval_millis=3600000)])
    set_meter_provider(provider)
    OpenAIInstrumentor().instrument(meter_provider=provider)
else:
    import openlit
    from opentelemetry.metrics import get_meter_provider
    openlit.init(otlp_endpoint=endpoint, application_name="chat", environment="test", disable_batch=True,
                 capture_message_content=False, pricing_json=chat_url + "/prices.json")
    provider = get_meter_provider()

client = openai.OpenAI(base_url=chat_url + "/v1", api_key="none", max_retries=0)
ask = {"messages": [{"role": "user", "content": "Hello"}]}
print(client.chat.completions.create(model="gpt-4o", **ask).usage.total_tokens)
for chunk in client.chat.completions.create(model="gpt-4o", stream=True, stream_options={"include_usage": True}, **ask):
    pass
for model in ("fails-429", "fails-500"):
    try:
        client.chat.completions.create(model=model, **ask)
        sys.exit(f"{model} was answered")
    except openai.APIStatusError as error:
        print(error.status_code)
if not provider.force_flush():
    sys.exit("the exporter did not deliver")
