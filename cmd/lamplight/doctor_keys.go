package main

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	leastRSA   = 2048                // bits of an RSA key
	renewFrom  = 30 * 24 * time.Hour // before its end a certificate is to be renewed
	leastBytes = 8                   // different bytes in a gossip key; a random one has about 30
)

// checkKeys looks at the files with secrets and certificates. That they can be read and fit together is a check of serve.
func (d *doctor) checkKeys() {
	for _, f := range []struct{ flag, path string }{
		{"--gossip-key", d.GossipKey}, {"--token-key", d.tokenKeyPath()}, {"--http-tls-key", d.HTTPTLSKey}, {"--sip-tls-key", d.Key},
		{"--nats-tls-key", d.NatsTLS.Key}, {"--creds", d.Creds}, {"--esl-password-file", d.PasswordFile},
	} {
		i, err := os.Stat(f.path)
		if f.path == "" || os.IsNotExist(err) {
			continue // a token key is made; serve refuses the rest
		}
		switch secret := checkSecret(f.flag, f.path); {
		case secret != nil:
			d.note("keys", wrong, "chmod o= "+f.path, "every user of this machine can use %s %s", f.flag, f.path)
		case err != nil:
			d.note("keys", wrong, "see that the user of the node may read it", "%s: %v", f.flag, err)
		default:
			d.note("keys", fine, "", "%s %s is only for its owner and group (mode %#o)", f.flag, f.path, i.Mode().Perm())
		}
	}
	d.findings = append(d.findings, configFindings(d.file)...)
	if k := d.config.GossipKey; k != nil && different(k) < leastBytes {
		d.note("keys", wrong, "make one with: (umask 077; head -c 32 /dev/urandom > gossip.key)", "the gossip key holds only %d different bytes, so it is not random", different(k))
	}
	now := time.Now()
	for _, f := range []struct{ flag, path string }{
		{"--http-tls-cert", d.HTTPTLSCert}, {"--sip-tls-cert", d.Cert}, {"--sip-tls-ca", d.CA}, {"--nats-tls-cert", d.NatsTLS.Cert}, {"--nats-tls-ca", d.NatsTLS.CA},
	} {
		if f.path != "" {
			d.findings = append(d.findings, certificateFindings(f.flag, f.path, now)...)
		}
	}
}

// password matches a URL that holds one.
var password = regexp.MustCompile(`://[^/@:,\s]*:[^/@,\s]+@`)

// configFindings looks whether a configuration file holds a URL with a password, and who can use the file. "" is no file.
func configFindings(path string) []finding {
	text, err := os.ReadFile(path)
	if path == "" || err != nil { // without it the command line was refused
		return nil
	}
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil || !holdsPassword(&doc) {
		return nil
	}
	if checkSecret("--config", path) != nil {
		return []finding{{"keys", warning, fmt.Sprintf("every user of this machine can use --config %s, and a URL in it has a password", path), "chmod o= " + path + ", and see that the user of the node may read it"}}
	}
	return []finding{{"keys", fine, fmt.Sprintf("--config %s has a URL with a password, and is only for its owner and group", path), ""}}
}

// holdsPassword says whether a value of a configuration file is a URL with a password. Comments are no values.
func holdsPassword(n *yaml.Node) bool {
	return password.MatchString(n.Value) || slices.ContainsFunc(n.Content, holdsPassword)
}

// different returns how many different bytes a key has.
func different(key []byte) int {
	seen := map[byte]bool{}
	for _, b := range key {
		seen[b] = true
	}
	return len(seen)
}

// certificateFindings looks at each certificate in a file.
func certificateFindings(flag, path string, now time.Time) (found []finding) {
	text, err := os.ReadFile(path)
	if err != nil {
		return []finding{{"keys", wrong, fmt.Sprintf("%s: %v", flag, err), "see that the user of the node may read it"}}
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			found = append(found, finding{"keys", wrong, fmt.Sprintf("%s %s: %v", flag, path, err), "give a certificate in PEM format"})
			continue
		}
		found = append(found, certificateFinding(flag+" "+path, c, now))
	}
	if len(found) == 0 {
		found = []finding{{"keys", wrong, fmt.Sprintf("%s %s holds no certificate", flag, path), "give a certificate in PEM format"}}
	}
	return found
}

// certificateFinding looks at the times and the key of a certificate. where says where it is from.
func certificateFinding(where string, c *x509.Certificate, now time.Time) finding {
	what := fmt.Sprintf("%s: the certificate of %s", where, c.Subject)
	weak := ""
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < leastRSA {
			weak = fmt.Sprintf("an RSA key of %d bits", key.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 256 {
			weak = fmt.Sprintf("a key of %d bits", key.Curve.Params().BitSize)
		}
	}
	const do = "renew it; a node takes the new files over on SIGHUP (systemctl reload lamplight)"
	end := c.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case now.After(c.NotAfter):
		return finding{"keys", wrong, fmt.Sprintf("%s ended at %s", what, end), do}
	case now.Before(c.NotBefore):
		return finding{"keys", wrong, fmt.Sprintf("%s is good only from %s", what, c.NotBefore.UTC().Format(time.RFC3339)), "see that the clock of this machine is right"}
	case weak != "":
		return finding{"keys", wrong, fmt.Sprintf("%s has %s", what, weak), fmt.Sprintf("make one with an RSA key of %d bits at least, P-256 or Ed25519", leastRSA)}
	case c.NotAfter.Sub(now) < renewFrom:
		return finding{"keys", warning, fmt.Sprintf("%s ends at %s", what, end), do}
	}
	return finding{"keys", fine, fmt.Sprintf("%s is good until %s", what, end), ""}
}
