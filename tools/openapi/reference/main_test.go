package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// docs/http-reference.md is what openapi.yaml makes, and has every operation and schema.
func TestReferenceIsUpToDate(t *testing.T) {
	want, err := reference("../../../transport/rest/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/http-reference.md")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/http-reference.md is out of date: run make docs (%v)", err)
	}
	if operations := strings.Count(string(want), "The operation is called"); operations < 45 {
		t.Errorf("the page has only %d operations", operations)
	}
	if strings.Contains(string(want), "<nil>") || strings.Contains(string(want), "%!") {
		t.Error("the page has holes")
	}
}
