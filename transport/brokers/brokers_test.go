package brokers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"
)

// A broker refuses for good when it has never let the program in, and has refused it for some time without another error between.
func TestRefusals(t *testing.T) {
	refused := func(code int) error { return fmt.Errorf("the broker: %w", &amqp091.Error{Code: code}) }
	for _, code := range []int{amqp091.AccessRefused, amqp091.NotAllowed, amqp091.PreconditionFailed} {
		var r Refusals
		for range 2 {
			if r.ForGood(refused(code), time.Hour) {
				t.Errorf("%d: for good at once", code)
			}
		}
		r.since = r.since.Add(-time.Hour)
		if !r.ForGood(refused(code), time.Hour) {
			t.Errorf("%d: not for good after an hour", code)
		}
		if r.ForGood(errors.New("no route"), time.Hour) || r.ForGood(refused(amqp091.ConnectionForced), 0) || r.ForGood(refused(code), time.Hour) {
			t.Errorf("%d: what came before another error counts", code)
		}
		r.Worked()
		if r.since = r.since.Add(-time.Hour); r.ForGood(refused(code), time.Hour) {
			t.Errorf("%d: for good after it has worked", code)
		}
	}
}
