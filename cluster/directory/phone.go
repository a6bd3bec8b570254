package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// EdgeSecret returns the secret that all SIP edges of the installation share. The first node that asks makes it. It may block on NATS.
func (d *Directory) EdgeSecret(ctx context.Context) (secret []byte, err error) {
	const key = secrets + ".edge"
	err = d.untilReady(ctx, func(ctx context.Context) error {
		e, err := d.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			fresh := make([]byte, 32)
			_, _ = rand.Read(fresh)
			if _, err = d.kv.Create(ctx, key, fresh); err == nil || errors.Is(err, jetstream.ErrKeyExists) {
				e, err = d.kv.Get(ctx, key)
			}
		}
		if err == nil {
			secret = e.Value()
		}
		return err
	})
	return secret, err
}

// Password returns the password with which a phone authenticates as a user of a realm (in lower case), as the view knows it. realmKnown
// says that an account has the realm; ok that it has a device of this sip.username with a password.
func (d *Directory) Password(realm, username string) (password string, realmKnown, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	account, realmKnown := d.realms[realm]
	if !realmKnown || username == "" {
		return "", realmKnown, false
	}
	for _, id := range d.phones[ownName{account, strings.ToLower(username)}] {
		e := d.entry(Devices, account, id)
		if e == nil || e.Field("enabled") == false {
			continue
		}
		if own := e.Text("sip.realm"); own != "" && !strings.EqualFold(own, realm) {
			continue
		}
		if password = e.Text("sip.password"); password != "" {
			return password, true, true
		}
	}
	return "", true, false
}
