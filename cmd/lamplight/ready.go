package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

type readyCommand struct {
	HTTP        string `name:"http" default:"127.0.0.1:8000" placeholder:"HOST:PORT" help:"Where the HTTP API of the node listens: its --http."`
	HTTPTLSCert string `name:"http-tls-cert" type:"existingfile" placeholder:"FILE" help:"The certificate of the node's HTTP API, when it speaks TLS: its --http-tls-cert."`
	Timeout     span   `default:"2s" help:"How long to wait for the answer."`
}

// Run implements ready. It asks /readyz of a node on this machine, and fails when the node does not serve.
func (c *readyCommand) Run(out io.Writer) error {
	if wrong := badAddress(c.HTTP); wrong != "" {
		return fmt.Errorf("%w: --http is %q: %s; it must be HOST:PORT, such as 127.0.0.1:8000", errUsage, c.HTTP, wrong)
	}
	code, text, err := askReady(c.HTTP, c.HTTPTLSCert, time.Duration(c.Timeout))
	if code == 0 {
		return err
	}
	if code != http.StatusOK {
		return errors.Join(fmt.Errorf("the node is not ready: %s", bytes.TrimSpace(text)), err)
	}
	_, err = fmt.Fprintln(out, "ready")
	return err
}

// askReady asks /readyz of the node on this machine that listens at an address. certificate is the file of its certificate; "": it speaks no TLS. code is 0
// when there was no answer.
func askReady(at, certificate string, within time.Duration) (code int, text []byte, err error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return 0, nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme, transport := "http", &http.Transport{}
	if certificate != "" {
		scheme = "https"
		if transport.TLSClientConfig, err = onlyCertificate(certificate); err != nil {
			return 0, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return 0, nil, err
	}
	a, err := (&http.Client{Transport: transport}).Do(q)
	if err != nil {
		return 0, nil, fmt.Errorf("the node does not answer: %w", err)
	}
	defer a.Body.Close()
	text, err = io.ReadAll(io.LimitReader(a.Body, 64<<10))
	return a.StatusCode, text, err
}

// onlyCertificate returns a TLS configuration that takes the server with the first certificate in a file, and no other. The name in
// the certificate does not matter: the node is asked at a local address.
func onlyCertificate(file string) (*tls.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("--http-tls-cert: %s holds no certificate in PEM format", file)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, // the check below takes its place
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || !bytes.Equal(raw[0], block.Bytes) {
				return fmt.Errorf("the server has another certificate than %s", file)
			}
			return nil
		}}, nil
}
