package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors/presence"
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

// PresenceIDs returns the users of the extensions that the presence_id of a phone's device and of its owner name, in lower case, as the view
// knows them. realm, in lower case, and username are those of Password. "": there is none, or it is of another realm.
func (d *Directory) PresenceIDs(realm, username string) (users [2]string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	account := d.realms[realm]
	for _, id := range d.phones[ownName{account, strings.ToLower(username)}] {
		e := d.entry(Devices, account, id)
		if e == nil || e.Field("enabled") == false {
			continue
		}
		for i, of := range [2]*Entry{e, d.entry(Users, account, e.Text("owner_id"))} {
			if of == nil || users[i] != "" {
				continue
			}
			if a, err := presence.ParseName(of.Text("presence_id"), realm); err == nil && a.Realm == realm {
				users[i] = a.User
			}
		}
	}
	return users
}
