package s3_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/connector/s3"
	"github.com/casement/casement/internal/remedy"
)

func TestVersitygw(t *testing.T) {
	connectortest.Run(t, func(t testing.TB) connectortest.Bench { return targets.StartGateway(t) }, connectortest.Without(s3.VerbBlockPublic))
}

// TestBlockNotOffered: versitygw has no public access block.
func TestBlockNotOffered(t *testing.T) {
	b := targets.StartGateway(t)
	d := connector.Stack(b.Connector(), connector.Options{})
	r := b.Request("")
	r.CaseID, r.Key = connectortest.CaseID, "k"
	_, err := d.Plan(t.Context(), s3.VerbBlockPublic, r)
	if connector.KindOf(err) != connector.KindRefused || !strings.Contains(err.Error(), "does not offer") {
		t.Errorf("block-public-access at a server without it: %v", err)
	}
}

func TestBucketGone(t *testing.T) {
	g := targets.StartGateway(t)
	d := connector.Stack(g.Connector(), connector.Options{})
	r := g.Request("")
	r.CaseID = connectortest.CaseID
	ctx, b := t.Context(), aws.String("customer-files")
	for _, key := range []string{"invoices/2026 + 1.txt", "readme.txt"} {
		if _, err := g.Root.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: b, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	if o, err := d.Probe(ctx, s3.VerbAnonymousGet, r); err != nil || o.Result != remedy.Inconclusive {
		t.Errorf("empty bucket: %+v %v", o, err)
	}
	if _, err := g.Root.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: b}); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Probe(ctx, s3.VerbAnonymousGet, r); err != nil || o.Result != remedy.Gone {
		t.Errorf("deleted bucket: %+v %v", o, err)
	}
	r.Params = map[string]string{"object": "readme.txt"}
	if o, err := d.Probe(ctx, s3.VerbAnonymousGet, r); err != nil || o.Result != remedy.Gone {
		t.Errorf("deleted bucket, object named: %+v %v", o, err)
	}
}
