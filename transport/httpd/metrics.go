package httpd

import (
	"cmp"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the listener counts. No label has a value that a client chooses.
type metrics struct {
	errors, refused, requests *prometheus.CounterVec
	seconds                   *prometheus.HistogramVec
}

// newMetrics makes and registers them. All processes that serve /metrics have a Server, so it also registers the release.
func newMetrics(r *prometheus.Registry, version string, connections func() float64) *metrics {
	m := &metrics{
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_http_errors_total", Help: "HTTP answers other than success, by status code."}, []string{"code"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_http_connections_refused_total",
			Help: "HTTP connections that were not accepted, by reason: bound (--max-connections, --max-connections-per-address) or error (for example no file descriptors)."}, []string{"reason"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_http_requests_total",
			Help: "HTTP requests, by the pattern of their path (other: no path of the server), verb and status code of the answer."}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "lamplight_http_request_seconds", Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
			Help: "Seconds from the head of an HTTP request until its answer was ready to be sent, or began to be streamed, by the pattern of the path and verb."}, []string{"route", "method"}),
	}
	for _, reason := range []string{"bound", "error"} {
		m.refused.WithLabelValues(reason) // from the start, so that the first one is seen as an increase
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "lamplight_build_info", Help: "1, with the release of lamplight that runs and the version of Go that built it.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()}})
	build.Set(1)
	r.MustRegister(m.errors, m.refused, m.requests, m.seconds, build,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_http_connections", Help: "HTTP connections that are open."}, connections))
	return m
}

// codeTexts are the status codes as text, so that counting an answer makes no string.
var codeTexts = func() (texts [600]string) {
	for code := range texts {
		texts[code] = strconv.Itoa(code)
	}
	return texts
}()

// answered counts a request that was answered. took is 0 for one that could not be read.
func (m *metrics) answered(q *Request, took time.Duration) {
	route, code := q.Route, q.Response.StatusCode()
	if route == "" {
		route = "other"
	}
	if code < 0 || code >= len(codeTexts) {
		code = 0
	}
	method := methodOf(q)
	m.requests.WithLabelValues(route, method, codeTexts[code]).Inc()
	if took > 0 {
		m.seconds.WithLabelValues(route, method).Observe(took.Seconds())
	}
}

// endSpan ends the span of a request that was answered.
func (q *Request) endSpan() {
	code := q.Response.StatusCode()
	q.Span.Name(methodOf(q) + " " + cmp.Or(q.Route, "other"))
	q.Span.Note("http.response.status_code", strconv.Itoa(code))
	q.Span.Note("lamplight.request_id", q.ID)
	if code >= 500 {
		q.Span.Fail("HTTP " + strconv.Itoa(code))
	}
	q.Span.End(nil)
}

// methodOf is the verb of a request, as a label: one that the server does not know is other.
func methodOf(q *Request) string {
	switch string(q.Method()) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "PUT":
		return "PUT"
	case "POST":
		return "POST"
	case "PATCH":
		return "PATCH"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	}
	return "other"
}
