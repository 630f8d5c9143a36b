// push_app.js URL push|pushAdd|delete JOB -- a batch job with prom-client.
const client = require('prom-client');
const [url, what, jobName] = process.argv.slice(2);

async function main() {
  const registry = new client.Registry();
  const gateway = new client.Pushgateway(url, {}, registry);
  const cost = new client.Counter({ name: 'llm_cost_dollars', help: 'Cost', labelNames: ['model'], registers: [registry] });
  const latency = new client.Histogram({ name: 'llm_latency_seconds', help: 'Latency', buckets: [1, 5], registers: [registry] });
  cost.inc({ model: 'gpt-4o' }, 2.5);
  latency.observe(3);
  const { resp } = await gateway[what]({ jobName, groupings: { part: 'a' } });
  console.log(resp.statusCode);
}
main().catch(error => { console.error(error.message); process.exit(1); });
