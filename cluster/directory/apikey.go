package directory

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"maps"
	"time"
)

// The fields of an account that hold its API keys. The key before is good until a time, so that the clients of an account can be given the
// new key one after the other.
const (
	keyHash     = "api_key_hash"
	oldKeyHash  = "api_key_old_hash"
	oldKeyUntil = "api_key_old_until" // RFC 3339
	keyGrace    = "api_key_grace"     // a time.Duration, of SetAPIKey; it is never stored
	MaxKeyGrace = 7 * 24 * time.Hour  // the longest time for which the key before stays good
	keyIDDigits = 16                  // digits of a hash that name the key in the tokens that were made with it
)

// HashKey returns the form in which an API key is stored: its SHA-256 in hexadecimal.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// APIKeyID returns the name of an API key in the tokens that are made with it. It does not give the key away.
func APIKeyID(key string) string { return HashKey(key)[:keyIDDigits] }

// OldKeyUntil returns until when the API key before the present one is good; the zero time: it is not.
func (e *Entry) OldKeyUntil(now time.Time) time.Time {
	until, err := time.Parse(time.RFC3339, e.Text(oldKeyUntil))
	if err != nil || e.Text(oldKeyHash) == "" || !now.Before(until) {
		return time.Time{}
	}
	return until
}

// HasAPIKey says whether an account has an API key.
func (e *Entry) HasAPIKey() bool { return e.Text(keyHash) != "" }

// SameAPIKey says whether two states of an account have the same API keys.
func (e *Entry) SameAPIKey(as *Entry) bool {
	return e.Text(keyHash) == as.Text(keyHash) && e.Text(oldKeyHash) == as.Text(oldKeyHash) && e.Text(oldKeyUntil) == as.Text(oldKeyUntil)
}

// hasKey says whether an API key with a hash, or with a hash that begins so, is good for an account.
func (e *Entry) hasKey(hash string, now time.Time) bool {
	same := func(has string) bool {
		return len(has) >= len(hash) && subtle.ConstantTimeCompare([]byte(has[:len(hash)]), []byte(hash)) == 1
	}
	return hash != "" && (same(e.Text(keyHash)) || same(e.Text(oldKeyHash)) && !e.OldKeyUntil(now).IsZero())
}

// setKey puts the hash of a new API key into the fields of an account, or with "" removes the keys. grace is how long the key before stays
// good.
func setKey(fields map[string]any, old *Entry, hash string, grace time.Duration) {
	delete(fields, oldKeyHash)
	delete(fields, oldKeyUntil)
	if hash == "" {
		delete(fields, keyHash)
		return
	}
	fields[keyHash] = hash
	if old != nil && grace > 0 && old.Text(keyHash) != "" {
		fields[oldKeyHash], fields[oldKeyUntil] = old.Text(keyHash), time.Now().Add(grace).UTC().Format(time.RFC3339)
	}
}

// SetAPIKey gives an account another API key, or none if the key is "", and blocks until that is durable. The key before stays good for
// grace; without a new key it does not. The error is ErrConflict when e is not the newest state of the account, or another account has the key.
func (d *Directory) SetAPIKey(ctx context.Context, e *Entry, key string, grace time.Duration) (*Entry, error) {
	fields := maps.Clone(e.Fields)
	fields["api_key"], fields[keyGrace] = key, grace // an empty one removes it
	return d.Put(ctx, e.ID, Accounts, e.ID, e.ID, fields, e)
}

// AccountByAPIKey returns the account that has an API key. Before it returns ErrUnknown it asks the bucket, and may block
// for that.
func (d *Directory) AccountByAPIKey(ctx context.Context, key string) (*Entry, error) {
	if key == "" || len(key) > maxName {
		return nil, ErrUnknown
	}
	h := HashKey(key)
	return find(ctx, d, func() (*Entry, bool) {
		e := d.account(d.apiKeys[h])
		return e, e != nil && e.hasKey(h, time.Now())
	})
}

// HasAPIKey says whether an account still has the API key with an APIKeyID. Before it says no it asks the bucket, and may block for that.
func (d *Directory) HasAPIKey(ctx context.Context, account, id string) (bool, error) {
	has := func() (bool, bool) {
		e := d.account(account)
		ok := e != nil && len(id) == keyIDDigits && e.hasKey(id, time.Now())
		return ok, ok
	}
	d.mu.RLock()
	ok, _ := has()
	d.mu.RUnlock()
	if ok {
		return true, nil
	}
	ok, err := find(ctx, d, has)
	if errors.Is(err, ErrUnknown) {
		err = nil
	}
	return ok, err
}
