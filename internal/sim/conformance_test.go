package sim_test

import (
	"testing"

	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/sim/simtest"
)

func TestS3(t *testing.T)            { connectortest.Run(t, simtest.S3) }
func TestWebhook(t *testing.T)       { connectortest.Run(t, simtest.Webhook) }
func TestOAuth(t *testing.T)         { connectortest.Run(t, simtest.OAuth(false)) }
func TestOAuthResource(t *testing.T) { connectortest.Run(t, simtest.OAuth(true)) }
