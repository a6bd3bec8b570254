// Package trace records where the time of a request goes, as OpenTelemetry traces: at the edge that took the request, on the way to the
// node that owns the extension, and there. It is off unless the node was given a collector (--traces). A nil Tracer records nothing, and
// so does every span that it makes.
//
// All functions may be called from any goroutine.
package trace

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"lamplight/cluster/loglimit"
)

// Parent names the span that asks for some work, in the form of package wire: the 16 bytes of the trace and the 8 bytes of the span. "":
// the work belongs to no trace, and nothing is recorded.
type Parent = string

// askedRate is how many requests a second are traced because their callers want it. Past that Config.Share says which are.
const askedRate = 100

const parentSize = 16 + 8

// Config is what a Tracer needs.
type Config struct {
	Collector string  // the URL of a collector that speaks OTLP over HTTP, such as http://127.0.0.1:4318
	Share     float64 // of the requests without a traceparent: how many of them are recorded, 0 to 1
	Node      string
	Version   string
	TLS       *tls.Config
	Log       *slog.Logger
}

// Tracer records spans and sends them to a collector in the background. While the collector does not take them, at most 2,048 wait, and
// more are dropped.
type Tracer struct {
	provider *sdk.TracerProvider
	asked    *rate.Limiter // of the requests whose callers want a trace: strangers can ask for it too
	tracer   otel.Tracer
}

// New makes a Tracer, and starts what sends its spans.
func New(c Config) *Tracer {
	c.Log = loglimit.Limit(c.Log).With("part", "traces")
	// A caller that traces its request wants the whole trace, so its decision counts. The bounds hold for all the same.
	limits := sdk.SpanLimits{AttributeValueLengthLimit: 256, AttributeCountLimit: 16, EventCountLimit: 1, LinkCountLimit: 1, AttributePerEventCountLimit: 1, AttributePerLinkCountLimit: 1}
	p := sdk.NewTracerProvider(sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.Share))), sdk.WithRawSpanLimits(limits),
		sdk.WithBatcher(newExporter(c), sdk.WithBatchTimeout(time.Second), sdk.WithExportTimeout(exportTime)))
	return &Tracer{provider: p, asked: rate.NewLimiter(askedRate, askedRate), tracer: p.Tracer("lamplight")}
}

// Stop sends what waits and ends the Tracer.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Span is a piece of work whose time is recorded. The zero Span records nothing.
type Span struct{ span otel.Span }

// Kind says on which side of a message the work is.
type Kind = otel.SpanKind

// The kinds of spans, in OpenTelemetry's words.
const (
	Server   = otel.SpanKindServer   // it answers a request that came from outside this node
	Client   = otel.SpanKindClient   // it waits for the answer of another node
	Consumer = otel.SpanKindConsumer // it takes a message for which nobody may wait
)

var w3c propagation.TraceContext

// header is a carrier of one header.
type header string

func (h header) Get(key string) string {
	if key == "traceparent" {
		return string(h)
	}
	return ""
}
func (header) Set(string, string) {}
func (header) Keys() []string     { return nil }

// Begin begins the first span of a request in this installation. traceparent is the header of that name (W3C Trace Context) that came
// with the request, or "".
func (t *Tracer) Begin(kind Kind, name, traceparent string) Span {
	if t == nil {
		return Span{}
	}
	ctx := context.Background()
	if traceparent != "" && t.asked.Allow() {
		ctx = w3c.Extract(ctx, header(traceparent))
	}
	return t.begin(ctx, kind, name)
}

// Under begins a span of work for which another span asks.
func (t *Tracer) Under(parent Parent, kind Kind, name string) Span {
	if t == nil || len(parent) != parentSize {
		return Span{}
	}
	c := otel.SpanContextConfig{TraceFlags: otel.FlagsSampled, Remote: true}
	copy(c.TraceID[:], parent)
	copy(c.SpanID[:], parent[len(c.TraceID):])
	return t.begin(otel.ContextWithRemoteSpanContext(context.Background(), otel.NewSpanContext(c)), kind, name)
}

func (t *Tracer) begin(ctx context.Context, kind Kind, name string) Span {
	_, s := t.tracer.Start(ctx, name, otel.WithSpanKind(kind))
	if !s.IsRecording() {
		return Span{}
	}
	return Span{s}
}

// Parent names the span, for what it asks others to do.
func (s Span) Parent() Parent {
	if s.span == nil {
		return ""
	}
	c := s.span.SpanContext()
	trace, span := c.TraceID(), c.SpanID()
	return string(append(trace[:], span[:]...))
}

// Name gives the span its name, when that was not known at its beginning.
func (s Span) Name(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Note adds a fact to the span.
func (s Span) Note(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Fail says that the work failed, and why.
func (s Span) Fail(why string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, why)
	}
}

// End ends the span. With an error the work failed.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.Fail(err.Error())
	}
	s.span.End()
}
