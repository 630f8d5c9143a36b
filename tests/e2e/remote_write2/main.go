// A sender of remote write 2.0 built on client_golang's own client: sends one good request and one that is good in
// parts, and prints what the client made of the answers as JSON.
//
//	remote_write2 URL TIME_MS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
)

// outcome is what the client says of a request.
type outcome struct {
	Samples, Histograms, Exemplars int
	Error                          string
}

// request builds one series after another.
type request struct {
	symbols writev2.SymbolsTable
	series  []*writev2.TimeSeries
}

func newRequest() *request {
	return &request{symbols: writev2.NewSymbolTable()}
}

func (r *request) add(ts *writev2.TimeSeries, labels ...string) {
	ts.LabelsRefs = r.symbols.SymbolizeLabels(labels, nil)
	r.series = append(r.series, ts)
}

func (r *request) metadata(kind writev2.Metadata_MetricType, help, unit string) *writev2.Metadata {
	return &writev2.Metadata{Type: kind, HelpRef: r.symbols.Symbolize(help), UnitRef: r.symbols.Symbolize(unit)}
}

func (r *request) exemplar(v float64, t int64, labels ...string) *writev2.Exemplar {
	return &writev2.Exemplar{LabelsRefs: r.symbols.SymbolizeLabels(labels, nil), Value: v, Timestamp: t}
}

func (r *request) send(api *remote.API) outcome {
	msg := &writev2.Request{Symbols: r.symbols.Symbols(), Timeseries: r.series}
	stats, err := api.Write(context.Background(), remote.WriteV2MessageType, msg)
	out := outcome{Samples: stats.Samples, Histograms: stats.Histograms, Exemplars: stats.Exemplars}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

func histogram(t int64, count uint64) *writev2.Histogram {
	return &writev2.Histogram{
		Count:          &writev2.Histogram_CountInt{CountInt: count},
		Sum:            1.5,
		Schema:         3,
		ZeroThreshold:  1e-128,
		ZeroCount:      &writev2.Histogram_ZeroCountInt{ZeroCountInt: 1},
		PositiveSpans:  []*writev2.BucketSpan{{Offset: -2, Length: 2}, {Offset: 3, Length: 1}},
		PositiveDeltas: []int64{2, 1, -1},
		NegativeSpans:  []*writev2.BucketSpan{{Offset: 0, Length: 1}},
		NegativeDeltas: []int64{4},
		Timestamp:      t,
	}
}

func custom(t int64) *writev2.Histogram {
	return &writev2.Histogram{
		Count:          &writev2.Histogram_CountFloat{CountFloat: 3},
		Sum:            7,
		Schema:         -53,
		ZeroCount:      &writev2.Histogram_ZeroCountFloat{},
		PositiveSpans:  []*writev2.BucketSpan{{Offset: 0, Length: 2}},
		PositiveCounts: []float64{1, 2},
		CustomValues:   []float64{0.5, 1},
		Timestamp:      t,
	}
}

func good(t int64) *request {
	r := newRequest()
	r.add(&writev2.TimeSeries{
		Samples:  []*writev2.Sample{{Value: 5, Timestamp: t - 15000}, {Value: 7, Timestamp: t}},
		Metadata: r.metadata(writev2.Metadata_METRIC_TYPE_COUNTER, "Requests seen.", ""),
	}, "__name__", "rw2_requests_total", "model", "small")
	r.add(&writev2.TimeSeries{
		Histograms: []*writev2.Histogram{histogram(t, 12)},
		Exemplars:  []*writev2.Exemplar{r.exemplar(0.9, t, "trace_id", "4bf92f3577b34da6")},
		Metadata:   r.metadata(writev2.Metadata_METRIC_TYPE_HISTOGRAM, "Latency.", "seconds"),
	}, "__name__", "rw2_latency_seconds", "model", "small")
	r.add(&writev2.TimeSeries{Histograms: []*writev2.Histogram{custom(t)}}, "__name__", "rw2_custom")
	r.add(&writev2.TimeSeries{ // alone, as Prometheus sends them
		Exemplars: []*writev2.Exemplar{r.exemplar(1, t, "trace_id", "00f067aa0ba902b7")},
	}, "__name__", "rw2_requests_total", "model", "small")
	return r
}

func partly(t int64) *request {
	r := newRequest()
	r.add(&writev2.TimeSeries{Samples: []*writev2.Sample{{Value: 1, Timestamp: t}}}, "__name__", "rw2_kept")
	r.add(&writev2.TimeSeries{Samples: []*writev2.Sample{{Value: 1, Timestamp: t + 3600000}}}, "__name__", "rw2_future")
	r.add(&writev2.TimeSeries{Histograms: []*writev2.Histogram{histogram(t, 99)}}, "__name__", "rw2_odd")
	return r
}

func main() {
	t, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		panic(err)
	}
	api, err := remote.NewAPI(os.Args[1])
	if err != nil {
		panic(err)
	}
	out, err := json.Marshal([]outcome{good(t).send(api), partly(t).send(api)})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(out))
}
