// Package access says who may do what: it makes and checks tokens, knows the tree of accounts, and bounds how often an
// account may ask. It answers for every transport alike and knows none of them. Its methods may be called from any
// goroutine; those with a context may ask NATS.
package access

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/cluster/subject"
)

// Errors. Every transport has one answer to each.
var (
	ErrCredentials = errors.New("invalid credentials")
	ErrForbidden   = errors.New("forbidden")
	ErrTooMany     = errors.New("too many requests")
)

// InvalidName is the error of a name that can be no extension.
type InvalidName struct{ Reason string }

func (e *InvalidName) Error() string { return e.Reason }

// Config is what a Control needs.
type Config struct {
	Directory *directory.Directory
	Key       ed25519.PrivateKey // signs this node's tokens
	JWKS      []byte             // a JWKS or PEM public key of another issuer; nil: none
	TokenLife time.Duration
	RateLimit int // requests a second for each account and client address; 0: no limit
}

// Control decides what a request may do.
type Control struct {
	cfg      Config
	verifier *Verifier
	limits   *limits
}

// New makes a Control that has not started.
func New(c Config) (*Control, error) {
	v, err := NewVerifier(c.Directory, c.JWKS)
	return &Control{cfg: c, verifier: v, limits: newLimits(c.RateLimit)}, err
}

// Start publishes the public half of the node's key in the directory, so that all nodes take its tokens.
func (c *Control) Start(ctx context.Context) error {
	public := c.cfg.Key.Public().(ed25519.PublicKey)
	if err := c.cfg.Directory.PublishKey(ctx, KeyID(public), public); err != nil {
		return fmt.Errorf("publishing the token key: %w", err)
	}
	return nil
}

// Account is the account that a token speaks for, or ErrCredentials.
func (c *Control) Account(ctx context.Context, token []byte) (string, error) {
	return c.verifier.Account(ctx, token)
}

// Allow counts a request of an account from an address, and returns ErrTooMany past the limit.
func (c *Control) Allow(account string, from net.IP) error {
	if !c.limits.allow(account, from, time.Now()) {
		return ErrTooMany
	}
	return nil
}

// LogIn gives the account with an API key, and a token for it. A key that no account has is ErrCredentials.
func (c *Control) LogIn(ctx context.Context, apiKey string) (e *directory.Entry, token string, err error) {
	e, err = c.cfg.Directory.AccountByAPIKey(ctx, apiKey)
	if errors.Is(err, directory.ErrUnknown) {
		return nil, "", ErrCredentials
	}
	if err == nil {
		token, err = Sign(c.cfg.Key, e.ID, c.cfg.TokenLife)
	}
	return e, token, err
}

// MayActOn says whether the account of a token may act on another: on itself and on all of its descendants.
func (c *Control) MayActOn(account, other string) bool { return c.cfg.Directory.InTree(account, other) }

// Target is an account by its id, if the account of the token may act on it; ErrForbidden if not.
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

// Extension reads the name of an extension of the account e: a user of its realm, or a full user@realm whose realm the
// account of the token may act on; ErrForbidden for other realms, an *InvalidName for what can be no extension.
func (c *Control) Extension(ctx context.Context, account string, e *directory.Entry, name string) (actors.Address, error) {
	to := actors.Address{Realm: e.Realm(), User: strings.ToLower(name)}
	if i := strings.LastIndexByte(to.User, '@'); i >= 0 {
		to.User, to.Realm = to.User[:i], to.User[i+1:]
		holder, err := c.cfg.Directory.FindRealm(ctx, to.Realm)
		if err != nil && !errors.Is(err, directory.ErrUnknown) {
			return to, err
		}
		if err != nil || !c.MayActOn(account, holder) {
			return to, ErrForbidden
		}
	}
	switch {
	case to.User == "" || to.User == "*":
		return to, &InvalidName{"Name one extension; the whole account is reset at …/presence"}
	case len(to.User) > subject.MaxName || !utf8.ValidString(name) || strings.ContainsFunc(to.User, unicode.IsControl):
		return to, &InvalidName{"An extension has at most 256 bytes, in UTF-8, and no control characters"}
	}
	return to, nil
}
