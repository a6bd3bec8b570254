package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"lamplight/transport/access"
)

type tokenCommand struct {
	Account  accountID `required:"" placeholder:"ID" help:"The account that the token is for: 32 hexadecimal characters in lower case."`
	TTL      span      `name:"ttl" default:"1h" help:"How long the token is good."`
	Data     string    `default:"./lamplight-data" placeholder:"DIR" help:"The data directory of the node whose key signs the token."`
	TokenKey string    `placeholder:"FILE" help:"The Ed25519 key (PEM) that signs the token (default: token.pem in the data directory)."`
}

// Run implements token. It prints only the token, so that a shell can use the output.
func (c *tokenCommand) Run(out io.Writer) error {
	path := c.TokenKey
	if path == "" {
		path = filepath.Join(c.Data, "token.pem")
	}
	data, err := os.ReadFile(path)
	if c.TokenKey != "" {
		err = named(err)
	}
	if err != nil {
		return fmt.Errorf("%w; start `lamplight serve` once, which makes the key, or give --data or --token-key", err)
	}
	key, err := access.ParseKey(data)
	if err != nil {
		return err
	}
	token, err := access.Sign(key, string(c.Account), time.Duration(c.TTL))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, token)
	return err
}
