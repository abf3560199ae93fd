//go:build tools

// Package helm names helm's own program, so that go.mod holds its version; conformance/run builds it.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
