package directory

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
)

// People log in with a digest of "user:password", MD5 or SHA-1, as Kazoo's clients make it. Whoever has the digest can log in, so
// it is stored as a salted hash. The request names the account and not the user. So all users of an account have the same salt,
// which is made of the account's id: then one hash finds the user. Two users of an account never have the same digest, because
// their usernames differ.

// hashRounds is the number of rounds of PBKDF2, which take about a millisecond. More would make the import of large accounts slow.
// The digests need no better guard than the SIP passwords, which the bucket holds as they are.
const hashRounds = 4096

// The methods of a login, and the fields of a user that hold the hashes of the two digests, in the same order.
var (
	loginMethods = []string{"md5", "sha"}
	loginFields  = []string{"login_md5_hash", "login_sha_hash"}
)

// nobody stands for an account that does not exist, so that the hash for it takes as long.
const nobody = "00000000000000000000000000000000"

// hashDigest returns the form in which the digest of a method is stored in an account.
func hashDigest(account, method, digest string) string {
	key, err := pbkdf2.Key(sha256.New, strings.ToLower(digest), []byte("lamplight "+method+" "+account), hashRounds, sha256.Size)
	if err != nil {
		panic(err) // only a short salt or key length is refused, in FIPS mode
	}
	return hex.EncodeToString(key)
}

// prepareLogin replaces the password of a user by the hashes. A user without a password in fields keeps the one from before, unless
// the username has changed: the digests depend on it.
func prepareLogin(account string, fields map[string]any, old *Entry) error {
	username, _ := fields["username"].(string)
	value, named := fields["password"]
	delete(fields, "password")
	password, _ := value.(string)
	forget := func() {
		for _, f := range loginFields {
			delete(fields, f)
		}
	}
	if strings.ContainsFunc(username, unicode.IsSpace) && (old == nil || old.Text("username") != username) { // an earlier release took them
		return &Invalid{"username", "must have no white space"}
	}
	switch {
	case password != "" && username == "":
		return &Invalid{"username", "is missing: a user with a password needs one"}
	case password != "":
		md5sum, sha1sum := md5.Sum([]byte(username+":"+password)), sha1.Sum([]byte(username+":"+password))
		for i, digest := range []string{hex.EncodeToString(md5sum[:]), hex.EncodeToString(sha1sum[:])} {
			fields[loginFields[i]] = hashDigest(account, loginMethods[i], digest)
		}
	case named || username == "":
		forget()
	case old != nil && old.Text(loginFields[0]) != "" && old.Text("username") != username:
		return &Invalid{"password", "must be given when the username changes"}
	}
	return nil
}

// plainName returns the name of an account as people may type it: its letters and digits, in lower case.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// phoneName returns the key of a phone number among the names of accounts.
func phoneName(number string) string { return "+" + strings.TrimPrefix(number, "+") }

// Whose names the account of somebody who logs in. The first of the fields that is not empty counts.
type Whose struct{ Phone, Realm, Name string }

// find returns the id of the account; "" when there is none, or more than one. The caller holds d.mu.
func (w Whose) find(v *view) string {
	name := plainName(w.Name)
	switch {
	case w.Phone != "":
		name = phoneName(w.Phone)
	case w.Realm != "":
		return v.realms[strings.ToLower(w.Realm)]
	}
	if len(v.named[name]) != 1 || name == "" {
		return ""
	}
	for id := range v.named[name] {
		return id
	}
	return ""
}

// LogIn returns the user who has a digest of a method ("md5" or "sha") in an account, and the account. When there is none it
// returns ErrUnknown, with the account if there is one. It does the same work and takes the same time whether the account, the
// user or the password is wrong, or nothing is: it always asks the bucket, and always hashes once.
func (d *Directory) LogIn(ctx context.Context, whose Whose, method, digest string) (account, user *Entry, err error) {
	late := d.catchUp(ctx)
	d.mu.RLock()
	id := whose.find(&d.view)
	account = d.account(id)
	d.mu.RUnlock()
	hash := hashDigest(cmp.Or(id, nobody), method, digest)
	d.mu.RLock()
	user = d.entry(Users, id, d.logins[ownName{id, hash}])
	d.mu.RUnlock()
	switch {
	case account != nil && user != nil && account.Enabled() && user.Enabled():
		return account, user, nil
	case late != nil:
		return account, nil, late
	}
	return account, nil, ErrUnknown
}
