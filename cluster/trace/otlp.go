package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// exportTime is how long one try to send spans to the collector may take.
const exportTime = 5 * time.Second

// exporter sends spans to a collector as OTLP in JSON over HTTP. OpenTelemetry's own exporter for HTTP links gRPC, which would make the
// program larger by a third.
type exporter struct {
	url    string
	about  []keyValue // of this node
	client http.Client
	log    *slog.Logger
}

func newExporter(c Config) *exporter {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = c.TLS
	return &exporter{url: strings.TrimSuffix(c.Collector, "/") + "/v1/traces", client: http.Client{Transport: transport}, log: c.Log,
		about: []keyValue{text("service.name", "lamplight"), text("service.instance.id", c.Node), text("service.version", c.Version)}}
}

// The parts of an ExportTraceServiceRequest (OTLP 1.0, JSON) that this package uses.
type (
	keyValue struct {
		Key   string `json:"key"`
		Value struct {
			String string `json:"stringValue"`
		} `json:"value"`
	}
	attributes struct {
		Attributes []keyValue `json:"attributes"`
	}
	status struct {
		Code    int    `json:"code,omitempty"` // 2: an error
		Message string `json:"message,omitempty"`
	}
	span struct {
		Trace      string     `json:"traceId"`
		ID         string     `json:"spanId"`
		Parent     string     `json:"parentSpanId,omitempty"`
		Name       string     `json:"name"`
		Kind       int        `json:"kind"`
		Begin      string     `json:"startTimeUnixNano"`
		End        string     `json:"endTimeUnixNano"`
		Attributes []keyValue `json:"attributes,omitempty"`
		Status     status     `json:"status"`
	}
	scope struct {
		Scope struct {
			Name string `json:"name"`
		} `json:"scope"`
		Spans []span `json:"spans"`
	}
	resource struct {
		Resource attributes `json:"resource"`
		Scopes   []scope    `json:"scopeSpans"`
	}
	request struct {
		Resources []resource `json:"resourceSpans"`
	}
)

func text(key, value string) (a keyValue) {
	a.Key, a.Value.String = key, value
	return a
}

// ExportSpans sends spans, once. Those that the collector does not take are lost: a trace helps to understand a node, and must not
// hold it up.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	r := resource{Resource: attributes{e.about}, Scopes: make([]scope, 1)}
	r.Scopes[0].Scope.Name = "lamplight"
	for _, s := range spans {
		r.Scopes[0].Spans = append(r.Scopes[0].Spans, convert(s))
	}
	err := e.post(ctx, request{[]resource{r}})
	if err != nil {
		e.log.Warn("the collector of traces did not take spans, and they are lost; see whether it runs and --traces names it", "collector", e.url, "spans", len(spans), "err", err)
	}
	return nil // the batcher would log the error once more, in its own form
}

func (e *exporter) post(ctx context.Context, r request) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	answer, err := e.client.Do(q)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection is used again
	if answer.StatusCode >= 300 {
		err = fmt.Errorf("it answers %s", answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}

func convert(s sdk.ReadOnlySpan) span {
	c := s.SpanContext()
	nanos := func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
	out := span{Trace: c.TraceID().String(), ID: c.SpanID().String(), Name: s.Name(), Kind: int(s.SpanKind()), Begin: nanos(s.StartTime()), End: nanos(s.EndTime())}
	if p := s.Parent(); p.HasSpanID() {
		out.Parent = p.SpanID().String()
	}
	if st := s.Status(); st.Code == codes.Error {
		out.Status = status{2, st.Description}
	}
	for _, a := range s.Attributes() {
		out.Attributes = append(out.Attributes, text(string(a.Key), a.Value.Emit()))
	}
	return out
}

// Shutdown closes the connections to the collector.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}
