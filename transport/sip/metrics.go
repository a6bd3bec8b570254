package sip

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/transport/sip/message"
)

// metrics are the edge's counters. None has a label that outside parties choose.
type metrics struct {
	requests      [message.Bye + 1]prometheus.Counter
	answers       [message.Bye + 1]*codes              // to requests, by method
	replies       *codes                               // to NOTIFYs
	seconds       [message.Bye + 1]prometheus.Observer // of requests that an owner answered, by method
	refused       *prometheus.CounterVec
	malformed     prometheus.Counter
	repeated      prometheus.Counter
	stray         prometheus.Counter
	sent          prometheus.Counter
	retransmitted prometheus.Counter
	overtaken     prometheus.Counter
	replaced      prometheus.Counter
	unreachable   prometheus.Counter
	large         prometheus.Counter
	latency       prometheus.Histogram
}

// codes counts by status code.
type codes struct {
	vec *prometheus.CounterVec
	mu  sync.RWMutex
	by  map[int]prometheus.Counter
}

// count counts one. A code that is no status code counts as 0.
func (c *codes) count(code int) {
	if code < 100 || code > 699 {
		code = 0
	}
	c.mu.RLock()
	one := c.by[code]
	c.mu.RUnlock()
	if one == nil {
		one = c.vec.WithLabelValues(strconv.Itoa(code))
		c.mu.Lock()
		c.by[code] = one
		c.mu.Unlock()
	}
	one.Inc()
}

func newMetrics(r prometheus.Registerer, s *Server) *metrics {
	m := &metrics{}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_sip_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_sip_" + name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	requests := vec("requests_total", "SIP requests that came, by method; other is any method that the edge does not know.", "method")
	answers := vec("answers_total", "Answers to SIP requests, by method of the request and status code.", "method", "code")
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "lamplight_sip_request_seconds", Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
		Help: "Seconds from a SUBSCRIBE or PUBLISH until its owner had answered and the edge answered the phone, by method. What the edge answers itself is left out."}, []string{"method"})
	r.MustRegister(seconds)
	for _, of := range []message.Method{message.Subscribe, message.Publish} {
		m.seconds[of] = seconds.WithLabelValues(of.String())
	}
	for i := range m.requests {
		name := message.Method(i).String()
		if name == "" {
			name = "other"
		}
		m.requests[i] = requests.WithLabelValues(name)
		m.answers[i] = &codes{vec: answers.MustCurryWith(prometheus.Labels{"method": name}), by: map[int]prometheus.Counter{}}
	}
	m.replies = &codes{vec: vec("notify_answers_total", "Answers to NOTIFYs, by status code: 408 also when none came, 430 when the connection was gone.", "code"), by: map[int]prometheus.Counter{}}
	m.refused = vec("refused_total", "What was refused at a bound, by the bound.", "bound")
	m.malformed = counter("malformed_total", "Messages that could not be read.")
	m.repeated = counter("repeated_total", "Copies of requests that were answered like the first.")
	m.stray = counter("stray_answers_total", "Answers that belong to no NOTIFY that is under way.")
	m.sent = counter("notifies_total", "NOTIFYs sent, with those that were sent again.")
	m.retransmitted = counter("notifies_retransmitted_total", "NOTIFYs sent again because no answer came.")
	m.overtaken = counter("notifies_overtaken_total", "NOTIFYs that were dropped because the watcher had been told something newer.")
	m.replaced = counter("notifies_replaced_total", "NOTIFYs that waited and were replaced by a newer one.")
	m.unreachable = counter("notifies_unreachable_total", "NOTIFYs that could not be sent because the way to the phone is gone.")
	m.large = counter("notifies_large_total", "NOTIFYs of more than 1300 bytes on UDP, which may be fragmented.")
	m.latency = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "lamplight_sip_notify_seconds", Help: "Time from a NOTIFY to the phone's answer.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 17)})
	r.MustRegister(m.latency)
	for t := range transports {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_sip_connections", Help: "Connections that are open, by transport.",
			ConstLabels: prometheus.Labels{"transport": t.String()}}, func() float64 { return float64(s.flows.count()[t]) }))
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_sip_waiting", Help: "Requests that the owners have not answered."},
		func() float64 { return float64(s.waiting.Load()) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_sip_notifies_in_flight", Help: "NOTIFYs that phones have not answered."},
		func() (n float64) {
			for _, one := range s.senders {
				one.mu.Lock()
				n += float64(one.flying)
				one.mu.Unlock()
			}
			return n
		}))
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "lamplight_sip_datagrams_dropped_total",
		Help: "Datagrams that the kernel dropped because the edge did not read them in time."}, func() float64 { return float64(s.dropped()) }))
	return m
}

// dropped returns the number of datagrams that the kernel dropped at the edge's sockets. Linux alone says.
func (s *Server) dropped() (n uint64) {
	for _, file := range []string{"/proc/self/net/udp", "/proc/self/net/udp6"} {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 13 {
				continue
			}
			for _, l := range s.sockets {
				if strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", l.local.Port())) {
					drops, _ := strconv.ParseUint(fields[12], 10, 64)
					n += drops
				}
			}
		}
		_ = f.Close()
	}
	return n
}
