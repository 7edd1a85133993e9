//go:build tools

// Package tools pins helm in this module's go.mod.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
