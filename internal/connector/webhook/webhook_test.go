package webhook_test

import (
	"testing"

	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
)

// TestReceiver starts a receiver for each run of the suite, whose requests have
// the same keys in all of them.
func TestReceiver(t *testing.T) {
	connectortest.Run(t, func(t testing.TB) connectortest.Bench { return targets.StartReceiver(t).Bench(t) })
}
