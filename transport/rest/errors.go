package rest

import (
	"errors"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/reports"
	"lamplight/transport/access"
	"lamplight/transport/appendjson"
	"lamplight/transport/httpd"
	"lamplight/transport/live"
)

var (
	errCredentials = httpd.Failure{Code: 401, Message: "invalid_credentials", Data: `{"message":"invalid credentials"}`}
	errForbidden   = httpd.Failure{Code: 403, Message: "forbidden", Data: `{"message":"forbidden"}`}
	errAction      = httpd.Invalid("action", "Field must be set to a valid action")
	errState       = httpd.Invalid("state", "Field must be set to a valid state")
)

// quoted returns s as a JSON string.
func quoted(s string) string { return string(appendjson.String(nil, s)) }

// failureOf is the table from errors to answers. An error that the table does not have, such as presence.ErrTooNew, is answered
// 503 with its text.
func failureOf(err error) error {
	var f httpd.Failure
	var wrong *directory.Invalid
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, access.ErrCredentials):
		return errCredentials
	case errors.Is(err, access.ErrForbidden):
		return errForbidden
	case errors.Is(err, directory.ErrUnknown), errors.Is(err, reports.ErrUnknown):
		return httpd.Unknown("")
	case errors.Is(err, directory.ErrForbidden):
		return errForbidden
	case errors.As(err, &wrong):
		return httpd.Invalid(wrong.Field, "Field "+wrong.Reason)
	case errors.Is(err, presence.ErrInvalid):
		return httpd.Invalid("data", err.Error())
	case errors.Is(err, directory.ErrConflict):
		return httpd.Failure{Code: 409, Message: "datastore_conflict", Data: `{"message":` + quoted(err.Error()) + `}`}
	case errors.Is(err, access.ErrTooMany), errors.Is(err, presence.ErrOverBudget), errors.Is(err, actors.ErrBusy), errors.Is(err, directory.ErrBusy), errors.Is(err, presence.ErrTooManyWatchers), errors.Is(err, presence.ErrTooManyCalls), errors.Is(err, presence.ErrTooManyTombstones), errors.Is(err, live.ErrTooMany):
		return httpd.ErrTooMany
	}
	return httpd.Failure{Code: 503, Message: "datastore_unreachable", Data: `{"message":` + quoted(err.Error()) + `}`}
}
