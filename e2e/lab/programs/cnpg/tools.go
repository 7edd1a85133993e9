//go:build tools

// Package tools pins CloudNativePG's manager in this module's go.mod.
package tools

import _ "github.com/cloudnative-pg/cloudnative-pg/cmd/manager"
