package access

import (
	"crypto/sha256"
	"net"
	"strings"
	"sync"
	"time"

	"lamplight/cluster/directory"
)

// How many logins may fail in failureTime. A login names the account and not the user: its credentials are a digest. So the same
// credentials in one account stand for one user. Guesses at an account from many addresses have a bound of their own. It is higher,
// because whoever makes so many locks the account's users out.
const (
	maxFailures        = 10  // of one address, and of the same credentials in one account
	maxAccountFailures = 100 // of one account
	failureTime        = time.Minute
	maxFailureNames    = 100_000 // names that are remembered; past that, any of them are forgotten
)

// failures counts logins that failed, by address, account and credentials. It may be used from any goroutine.
type failures struct {
	mu sync.Mutex
	of map[[32]byte]*failed // by the SHA-256 of a name; at most maxFailureNames
}

// failed is how many logins of a name have failed since its first failure, which is at most failureTime ago.
type failed struct {
	count int
	since time.Time
}

// failureName is one name under which failures are counted, and how many it may have.
type failureName struct {
	sum  [32]byte
	most int
}

// failureNames returns the names of a user's login: the address of the client, the account, and the credentials in the account.
func failureNames(from net.IP, whose directory.Whose, method, credentials string) []failureName {
	account := strings.ToLower(whose.Phone + "\x00" + whose.Realm + "\x00" + whose.Name)
	return []failureName{addressName(from), newFailureName(maxAccountFailures, "account", account),
		newFailureName(maxFailures, "credentials", account, method, strings.ToLower(credentials))}
}

// addressName returns the name of a client's address, of which IPv6 has the first 64 bits.
func addressName(from net.IP) failureName {
	if from.To4() == nil {
		from = from.Mask(net.CIDRMask(64, 128))
	}
	return newFailureName(maxFailures, "address", from.String())
}

func newFailureName(most int, parts ...string) failureName {
	return failureName{sha256.Sum256([]byte(strings.Join(parts, "\x00"))), most}
}

// begin counts a login as a failure, until the caller says that it is none, and says whether it may be tried. When one of its names
// has failed too often it is not counted. Logins that are under way count too, so that many at once are not more than one by one.
func (f *failures) begin(names []failureName, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range names {
		if x := f.of[n.sum]; x != nil && now.Sub(x.since) < failureTime && x.count >= n.most {
			return false
		}
	}
	for _, n := range names {
		x := f.of[n.sum]
		if x == nil || now.Sub(x.since) >= failureTime {
			f.makeRoom(now)
			x = &failed{since: now}
			f.of[n.sum] = x
		}
		x.count++
	}
	return true
}

// makeRoom sees to it that there is room for one more name. It forgets the names whose time is over, and if that is not enough a tenth of
// the others, whichever they are: to refuse a new name would lock out whoever comes after a flood. The caller holds f.mu.
func (f *failures) makeRoom(now time.Time) {
	if len(f.of) < maxFailureNames {
		return
	}
	for sum, x := range f.of {
		if now.Sub(x.since) >= failureTime {
			delete(f.of, sum)
		}
	}
	for sum := range f.of {
		if len(f.of) <= maxFailureNames/10*9 {
			return
		}
		delete(f.of, sum)
	}
}

// undo takes back what begin counted: the login did not fail.
func (f *failures) undo(names []failureName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range names {
		if x := f.of[n.sum]; x != nil && x.count > 0 {
			x.count--
		}
	}
}
