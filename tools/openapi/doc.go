// Package openapi tests that transport/rest/openapi.yaml is good for a generated client: a client is generated, its requests work with
// a running node, and all answers and examples fit the schemas. The client is not kept: `make client-check` makes it anew. This is a
// module of its own, so that the generator adds nothing to the product's.
package openapi

//go:generate mkdir -p client
//go:generate go tool oapi-codegen -config config.yaml -o client/client.gen.go ../../transport/rest/openapi.yaml
