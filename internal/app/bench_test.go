package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/policy/pack"
	"github.com/casement/casement/internal/policy/policytest"
)

// BenchmarkTake is what one alert costs behind HTTP: read, judged, committed.
// Figures of the whole server come from cmd/casement-bench; this one is for
// profiles: go test ./internal/app -run xxx -bench Take -cpuprofile cpu.out
func BenchmarkTake(b *testing.B) {
	for _, kind := range []string{"distinct", "repeats", "acts"} {
		b.Run(kind, func(b *testing.B) {
			env := policytest.Environment()
			cfg := app.Config{DataDir: b.TempDir(), Listen: "127.0.0.1:0", Environment: &env}
			told := make(counter, 1<<20)
			if kind == "acts" {
				env.Channels = []string{"sink"}
				for _, f := range pack.Default() {
					switch {
					case strings.Contains(f.Name, "tests"):
						continue
					case strings.Contains(f.Name, "routes"):
						f.Data = []byte("kind: routes\nroutes:\n  - name: all\n    notify: [sink]\n")
					}
					cfg.Policy = append(cfg.Policy, f)
				}
				cfg.Authors = []string{"casement"}
				cfg.Notifiers = map[string]connector.Notifier{"sink": told}
			}
			a, err := app.New(context.Background(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := a.Stop(context.Background()); err != nil {
					b.Error(err)
				}
			}()
			if err := a.Start(context.Background()); err != nil {
				b.Fatal(err)
			}
			src := intake.Source{Name: "bench", Tenant: "default", Kind: "token"}
			take := func(i, n int) {
				if ans := a.Intake.Take(context.Background(), src, "", benchAlert(n, i)); ans.Status != http.StatusOK {
					b.Errorf("alert %d: %+v", i, ans)
				}
			}
			const known = 1000
			number := func(i int) int { return i }
			if kind == "repeats" {
				for n := range known {
					take(n, n)
				}
				number = func(i int) int { return i % known }
			}
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
						take(i, number(i))
					}
				})
			}
			wg.Wait()
			if kind == "acts" {
				for range b.N {
					<-told
				}
			}
			b.StopTimer()
		})
	}
}

// counter is told of every notice.
type counter chan struct{}

func (c counter) Notify(context.Context, connector.Notice) error {
	c <- struct{}{}
	return nil
}

func benchAlert(n, i int) []byte {
	return []byte(fmt.Sprintf(`{"SchemaVersion":"2018-10-08","Id":"arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.2/finding/%d",
"ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","ProductName":"Security Hub","Region":"eu-west-1","GeneratorId":"security-control/S3.2",
"AwsAccountId":"123456789012","Types":["Software and Configuration Checks/Industry and Regulatory Standards"],"CreatedAt":"2026-11-01T08:00:00.000Z",
"UpdatedAt":"2026-11-01T08:00:00.%03dZ","Severity":{"Label":"HIGH"},"Title":"S3 general purpose buckets should block public read access",
"Description":"%s","Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::asset-%d","Tags":{"app":"shop","Environment":"production"}}],
"Compliance":{"Status":"FAILED","SecurityControlId":"S3.2"},"Workflow":{"Status":"NEW"},"RecordState":"ACTIVE"}`, n, i%1000, strings.Repeat("bucket policy account ", 60), n))
}
