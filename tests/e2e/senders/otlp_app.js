// otlp_app.js proto|json URL ROUNDS -- an application with OpenTelemetry's SDK for Node; temporality and compression come from
// OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE and OTEL_EXPORTER_OTLP_COMPRESSION.
const { MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const [format, url, rounds] = process.argv.slice(2);
const { OTLPMetricExporter } = require(`@opentelemetry/exporter-metrics-otlp-${format === 'json' ? 'http' : 'proto'}`);

async function main() {
  const reader = new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter({ url }), exportIntervalMillis: 3600000 });
  const provider = new MeterProvider({ readers: [reader], resource: resourceFromAttributes({ 'service.name': `node-${format}` }) });
  const meter = provider.getMeter('app');
  const requests = meter.createCounter('llm.requests', { description: 'Requests' });
  const latency = meter.createHistogram('llm.latency', { unit: 's', advice: { explicitBucketBoundaries: [0.5, 1, 5] } });
  const temperature = meter.createObservableGauge('gpu.temperature', { unit: 'Cel' });
  temperature.addCallback(result => result.observe(61.5, { gpu: 0, ok: true }));
  for (let i = 0; i < Number(rounds); i++) {
    requests.add(2, { 'gen_ai.request.model': 'gpt-4o', list: ['a', 'b'] });
    latency.record(0.7, { 'gen_ai.request.model': 'gpt-4o' });
    await provider.forceFlush();
  }
  await provider.shutdown();
}
main().catch(error => { console.error(error); process.exit(1); });
