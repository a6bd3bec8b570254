// Package helm checks the chart in deploy/helm/lamplight with helm's own libraries: make chart-check. It is a module of its own, so that
// they add nothing to the product's, nor to make test: the first run compiles them, which takes minutes. The whole of helm would take
// several times as long.
package helm
