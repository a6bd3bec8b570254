// Package access says who may do what. It makes and checks API tokens, says which accounts an account may act on, and limits
// how many requests an account may make. It serves all transports alike and knows none of them.
//
// Its methods may be called from any goroutine. Those that take a context may ask the directory's bucket over NATS, and then
// wait until the answer comes or the context ends.
package access

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
)

// The errors of a request that may not be served. Each transport has one answer to each.
var (
	ErrCredentials = errors.New("invalid credentials") // the token or the API key is not good
	ErrForbidden   = errors.New("forbidden")           // the account of the token may not act on the account or realm
	ErrTooMany     = errors.New("too many requests")   // the rate limit is reached
)

// InvalidName is the error of a name that cannot be an extension's.
type InvalidName struct{ Reason string }

// Error implements error.
func (e *InvalidName) Error() string { return e.Reason }

// Config is what a Control needs.
type Config struct {
	Directory *directory.Directory
	Key       ed25519.PrivateKey // signs the tokens that this node makes
	JWKS      []byte             // the JWKS, or the public key as PEM, of another issuer whose tokens are good; nil: none
	Audience  string             // what the aud of another issuer's tokens must name; "": it is not checked
	RateLimit int                // requests a second for each account and client address; 0: no limit
	// Budget counts a request of an account, and returns an error if the account is over its budget. It must not wait. nil: there is none.
	Budget func(account string) error
}

// Control decides what a request may do.
type Control struct {
	cfg      Config // Key, JWKS, Audience and RateLimit count only in New
	trust    atomic.Pointer[trust]
	limits   *limits
	failures *failures
}

// trust is what Reload replaces.
type trust struct {
	key      ed25519.PrivateKey // signs the tokens that this node makes
	jwks     []byte
	audience string
	verifier *Verifier
}

// New makes a Control. It starts nothing. The error says what is wrong with Config.JWKS.
func New(c Config) (*Control, error) {
	v, err := NewVerifier(c.Directory, c.JWKS, c.Audience)
	control := &Control{cfg: c, limits: newLimits(c.RateLimit), failures: &failures{of: map[[32]byte]*failed{}}}
	control.trust.Store(&trust{c.Key, c.JWKS, c.Audience, v})
	return control, err
}

// Reload replaces the token key, the other issuer's keys, and the rate limit, by those of c, whose Directory is not looked at. It publishes the
// public half of a new key first, so that all nodes accept its tokens; for that it may wait for NATS. Tokens of the earlier key stay good until
// they expire. If the other issuer's keys change, all tokens are checked anew. After an error nothing has changed.
func (c *Control) Reload(ctx context.Context, by Config) (err error) {
	was := c.trust.Load()
	now := &trust{by.Key, by.JWKS, by.Audience, was.verifier}
	if !bytes.Equal(by.JWKS, was.jwks) || by.Audience != was.audience {
		if now.verifier, err = NewVerifier(c.cfg.Directory, by.JWKS, by.Audience); err != nil {
			return err
		}
	}
	if !by.Key.Equal(was.key) {
		if err := c.publish(ctx, by.Key); err != nil {
			return err
		}
	}
	c.trust.Store(now)
	c.limits.set(by.RateLimit)
	return nil
}

// Start publishes the public half of the node's key in the directory, so that all nodes accept its tokens.
func (c *Control) Start(ctx context.Context) error { return c.publish(ctx, c.trust.Load().key) }

// publish publishes the public half of a key.
func (c *Control) publish(ctx context.Context, key ed25519.PrivateKey) error {
	public := key.Public().(ed25519.PublicKey)
	if err := c.cfg.Directory.PublishKey(ctx, KeyID(public), public); err != nil {
		return fmt.Errorf("publishing the token key: %w", err)
	}
	return nil
}

// Account returns the id of the account that a token is for, and who has the token in words for people, or ErrCredentials. The token of an account that does not exist is not
// good, whoever signed it, nor is one that a node made for a user who is gone or disabled, or for an API key that the account has no more.
func (c *Control) Account(ctx context.Context, token []byte) (id, who string, err error) {
	known, err := c.trust.Load().verifier.verify(ctx, token)
	if err != nil {
		return "", "", err
	}
	switch exists, err := c.cfg.Directory.Exists(ctx, known.account); {
	case err != nil:
		return "", "", err
	case !exists:
		return "", "", ErrCredentials
	case known.key != "":
		if lives, err := c.cfg.Directory.HasAPIKey(ctx, known.account, known.key); err != nil || !lives {
			return "", "", cmp.Or(err, ErrCredentials)
		}
		return known.account, known.who, nil
	case known.owner == "":
		return known.account, known.who, nil
	}
	switch user, err := c.cfg.Directory.Get(ctx, directory.Users, known.account, known.owner); {
	case errors.Is(err, directory.ErrUnknown) || err == nil && !user.Enabled():
		return "", "", ErrCredentials
	case err != nil:
		return "", "", err
	}
	return known.account, known.who, nil
}

// Allow counts a request of an account from an address. Past the rate limit it returns ErrTooMany, and past the account's budget another
// error. It does not wait.
func (c *Control) Allow(account string, from net.IP) error {
	if !c.limits.allow(account, from, time.Now()) {
		return ErrTooMany
	}
	if c.cfg.Budget != nil {
		return c.cfg.Budget(account)
	}
	return nil
}

// LogIn returns the account that has an API key, and a new token for it. For a key that no account has it returns
// ErrCredentials.
func (c *Control) LogIn(ctx context.Context, from net.IP, apiKey string) (e *directory.Entry, token string, err error) {
	names := []failureName{addressName(from)}
	if !c.failures.begin(names, time.Now()) {
		return nil, "", ErrTooMany
	}
	e, err = c.cfg.Directory.AccountByAPIKey(ctx, apiKey)
	if errors.Is(err, directory.ErrUnknown) {
		return nil, "", ErrCredentials
	}
	c.failures.undo(names)
	if err == nil {
		token, err = sign(c.trust.Load().key, claims{AccountID: e.ID, APIKey: true, KeyID: directory.APIKeyID(apiKey)}, TokenLife)
	}
	return e, token, err
}

// LogInUser returns the user of an account who has credentials of a method ("md5" or "sha"), the account, and a new token for the
// user. from is the client's address. For credentials that nobody has it returns ErrCredentials, and after too many of those ErrTooMany,
// also for good ones. It takes the same time whatever is wrong.
func (c *Control) LogInUser(ctx context.Context, from net.IP, whose directory.Whose, method, credentials string) (account, user *directory.Entry, token string, err error) {
	names := failureNames(from, whose, method, credentials)
	if !c.failures.begin(names, time.Now()) {
		return nil, nil, "", ErrTooMany
	}
	account, user, err = c.cfg.Directory.LogIn(ctx, whose, method, credentials)
	owner := user
	if owner == nil {
		owner = &directory.Entry{} // the token is made all the same, because that takes time
	}
	token, signed := sign(c.trust.Load().key, claims{AccountID: owner.Account, OwnerID: owner.ID}, TokenLife)
	switch {
	case errors.Is(err, directory.ErrUnknown):
		return nil, nil, "", ErrCredentials
	case err == nil:
		err = signed
	}
	c.failures.undo(names)
	return account, user, token, err
}

// MayActOn says whether the account of a token may act on another account. It may act on itself and on all accounts below it.
// MayActOn knows what this node has heard, and does not wait.
func (c *Control) MayActOn(account, other string) bool { return c.cfg.Directory.InTree(account, other) }

// Target returns the account with an id. It returns ErrForbidden if the account of the token may not act on it, and
// directory.ErrUnknown if there is none.
func (c *Control) Target(ctx context.Context, account, id string) (*directory.Entry, error) {
	e, err := c.cfg.Directory.Get(ctx, directory.Accounts, id, id)
	if err != nil {
		return nil, err
	}
	if !c.MayActOn(account, id) {
		return nil, ErrForbidden
	}
	return e, nil
}

// Extension reads the name of an extension in a request about the account e. The name is a user of e's realm, or user@realm. The
// account of the token must be allowed to act on the account that has that realm, else Extension returns ErrForbidden. For a
// name that cannot be an extension's it returns an *InvalidName.
func (c *Control) Extension(ctx context.Context, account string, e *directory.Entry, name string) (actors.Address, error) {
	to, err := presence.ParseName(name, e.Realm())
	if err != nil {
		return to, &InvalidName{fmt.Sprintf("The name %v. Name one extension; the whole account is reset at …/presence", err)}
	}
	if to.Realm != e.Realm() {
		holder, err := c.cfg.Directory.FindRealm(ctx, to.Realm)
		if err != nil && !errors.Is(err, directory.ErrUnknown) {
			return to, err
		}
		if err != nil || !c.MayActOn(account, holder) {
			return to, ErrForbidden
		}
	}
	return to, nil
}
