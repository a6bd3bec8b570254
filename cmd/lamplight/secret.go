package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// checkSecret refuses a file with a secret that every user of the machine can read or write. flag names the file. No file is in
// order: it will be made, or is reported where it is read.
func checkSecret(flag, path string) error {
	if path == "" {
		return nil
	}
	i, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	if i.Mode().IsRegular() && i.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s: every user of this machine can use %s (mode %#o); it holds a secret: chmod o= %s", flag, path, i.Mode().Perm(), path)
	}
	return nil
}
