package minio_test

import (
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/connector/minio"
	"github.com/casement/casement/internal/remedy"
)

func TestMinIO(t *testing.T) {
	m := targets.StartMinIO(t)
	connectortest.Run(t, func(t testing.TB) connectortest.Bench { return m.Bench(t) })
	t.Run("a key nobody knows is off", func(t *testing.T) {
		d := connector.Stack(m.Bench(t).Connector(), connector.Options{Attempts: 1})
		r := connector.Request{CaseID: connectortest.CaseID, Now: connectortest.Now(), Params: map[string]string{"key": "NOBODYHASTHISKEY"}}
		if o, err := d.Probe(t.Context(), minio.VerbBogus, r); err != nil || o.Result != remedy.NotExposed {
			t.Errorf("unknown key: %+v %v", o, err)
		}
		if _, err := d.Plan(t.Context(), minio.VerbDisable, r); connector.KindOf(err) != connector.KindRefused || err == nil {
			t.Errorf("plan for an unknown key: %v", err)
		}
	})
	t.Run("the connector does not lock itself out", func(t *testing.T) {
		d := connector.Stack(m.Bench(t).Connector(), connector.Options{Attempts: 1})
		r := connector.Request{CaseID: connectortest.CaseID, Now: connectortest.Now(), Params: map[string]string{"key": "casement"}}
		if _, err := d.Plan(t.Context(), minio.VerbDisable, r); err == nil || !strings.Contains(err.Error(), "own") {
			t.Errorf("plan for its own key: %v", err)
		}
	})
}
