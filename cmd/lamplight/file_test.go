package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A flag that the configuration file names without a value is wrong usage, and does not get a value such as <nil>.
func TestFileWithoutValue(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"node:\n", "token-key: ~\n", "serve:\n  jwks:\n"} {
		file := filepath.Join(t.TempDir(), "lamplight.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, "without a value", "check-config", "--config", file)
	}
}
