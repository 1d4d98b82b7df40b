package s3_test

import (
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/connector/s3"
	"github.com/casement/casement/internal/remedy"
)

func TestCeph(t *testing.T) {
	c := targets.StartCeph(t)
	// A bucket is open here by its object's ACL, which remove-public-access leaves.
	connectortest.Run(t, func(t testing.TB) connectortest.Bench { return c.Bucket(t) }, connectortest.Without(s3.VerbRemovePublic))
	t.Run("the block is half of what it says", func(t *testing.T) { testHalfBlock(t, c.Bucket(t)) })
}

// testHalfBlock: this gateway stores all four settings. It goes on serving a
// bucket that a policy opened, and refuses every upload. The act is done as asked;
// the probe does not take it for the end of the exposure.
func testHalfBlock(t *testing.T, b *targets.CephBench) {
	b.OpenByPolicy()
	d := connector.Stack(b.Connector(), connector.Options{})
	r := b.Request("")
	r.CaseID, r.Key, r.Now = connectortest.CaseID, "k", connectortest.Now()
	p, err := d.Plan(t.Context(), s3.VerbBlockPublic, r)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = connector.Seal(p, "s3", s3.VerbBlockPublic, r, r.Now)
	if err := b.Upload(); err != nil {
		t.Fatalf("an upload before the act: %v", err)
	}
	if _, err := d.Act(t.Context(), s3.VerbBlockPublic, r); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Probe(t.Context(), s3.VerbAnonymousGet, r); err != nil || o.Result != remedy.Exposed {
		t.Errorf("a bucket opened by its policy: %+v, %v", o, err)
	}
	if err := b.Upload(); err == nil {
		t.Error("this gateway takes uploads under the block: docs/controls.md says that it does not")
	}
}
