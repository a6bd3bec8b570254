package rest

import "strings"

// patterns are the paths of the API as openapi.yaml has them. Metrics name the path of a request so: what a client wrote may be anything.
var patterns = [...]string{
	"/v2/api_auth", "/v2/user_auth", "/v2/about", "/v2/switches", "/v2/cluster", "/v2/accounts",
	"/v2/accounts/{account_id}", "/v2/accounts/{account_id}/api_key", "/v2/accounts/{account_id}/children",
	"/v2/accounts/{account_id}/descendants", "/v2/accounts/{account_id}/parents", "/v2/accounts/{account_id}/tree",
	"/v2/accounts/{account_id}/devices", "/v2/accounts/{account_id}/devices/status", "/v2/accounts/{account_id}/devices/{device_id}",
	"/v2/accounts/{account_id}/devices/{device_id}/presence",
	"/v2/accounts/{account_id}/users", "/v2/accounts/{account_id}/users/{user_id}", "/v2/accounts/{account_id}/users/{user_id}/devices",
	"/v2/accounts/{account_id}/users/{user_id}/presence",
	"/v2/accounts/{account_id}/presence", "/v2/accounts/{account_id}/presence/{extension}", "/v2/accounts/{account_id}/presence/events", "/v2/accounts/{account_id}/presence/report-{report_id}",
}

// branch is a segment of the patterns, with those that may follow it.
type branch struct {
	named   map[string]*branch
	any     *branch // the segment is a parameter
	pattern string  // that ends here; "": none does
}

// patternTree is the patterns by the segments behind /v2.
var patternTree = func() *branch {
	root := &branch{named: map[string]*branch{}}
	for _, p := range patterns {
		at := root
		for segment := range strings.SplitSeq(strings.TrimPrefix(p, "/v2/"), "/") {
			if segment[0] == '{' {
				if at.any == nil {
					at.any = &branch{named: map[string]*branch{}}
				}
				at = at.any
				continue
			}
			if at.named[segment] == nil {
				at.named[segment] = &branch{named: map[string]*branch{}}
			}
			at = at.named[segment]
		}
		at.pattern = p
	}
	return root
}()

// patternOf returns the pattern of a path, given its segments behind /v2 or /v1; "": there is none.
func patternOf(segments []string) string {
	at := patternTree
	for _, s := range segments {
		next := at.named[s]
		if _, ok := reportID(s); ok {
			next = at.named[reportPrefix+"{report_id}"]
		}
		if next == nil {
			next = at.any
		}
		if next == nil {
			return ""
		}
		at = next
	}
	return at.pattern
}
