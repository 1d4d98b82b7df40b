package app_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake/stream"
	"github.com/casement/casement/internal/kafkatest"
	"github.com/casement/casement/internal/need"
	"github.com/casement/casement/internal/pgtest"
)

// mayRead is what docs/streams.md gives the user: to read topic and group.
func mayRead(topic, group string) []kfake.ACL {
	return []kfake.ACL{
		{Resource: kmsg.ACLResourceTypeTopic, Name: topic, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationRead, Allow: true},
		{Resource: kmsg.ACLResourceTypeGroup, Name: group, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationRead, Allow: true},
	}
}

// admin is how the test comes in where users are asked for.
func admin() (kfake.Opt, kgo.Opt) {
	return kfake.Superuser("SCRAM-SHA-256", "admin", "admin"), kgo.SASL(scram.Auth{User: "admin", Pass: "admin"}.AsSha256Mechanism())
}

// TestKafkaKeys: a user that may only read its topics and group is all it takes;
// what is read becomes cases, what is not goes to quarantine for the source's
// owner; state and metrics tell; the source can't be spoken for by HTTP.
func TestKafkaKeys(t *testing.T) {
	super, client := admin()
	c := kafkatest.Start(t, 4, []kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(2, "more"), kfake.EnableSASL(), kfake.EnableACLs(), super,
		kfake.User("SCRAM-SHA-512", "casement", "reads-only", append(mayRead(kafkatest.Topic, "readers"), mayRead("more", "readers")...)...)}, client)
	t.Setenv("CASEMENT_TEST_KAFKA", "reads-only")
	s := streamNode(t, fmt.Sprintf(`sources: {cloud: {kind: kafka, owner: olga}}
intake: {max_body: 4000}
streams:
  main: {source: cloud, servers: [%q], topics: [%s, more], group: readers, in_hand: 16,
    user: casement, password: env:CASEMENT_TEST_KAFKA, allow: [127.0.0.1]}
`, c.Servers("kafka")[0], kafkatest.Topic))
	const n = 40
	for i := range n {
		name := fmt.Sprint("bucket-", i%10)
		r := kgo.KeyStringRecord("default/cloud/"+name, bucketAlert(name, "staging"))
		if i%2 == 0 {
			r.Topic = "more"
		}
		c.Produce(r)
	}
	for _, odd := range []string{`{"not":"an alert"}`, strings.Repeat("x", 4001)} {
		c.Produce(kgo.StringRecord(odd))
	}
	meanwhile(t, "everything committed", func() bool {
		done, all := c.Committed("readers", kafkatest.Topic, "more")
		return done == all && all == n+2
	})
	if got := s.cases(); got != 10 {
		t.Errorf("%d cases", got)
	}
	due, err := s.Store.QuarantineDue(t.Context(), time.Now().Add(48*time.Hour), 10)
	if err != nil || len(due) != 2 || due[0].Owner != "olga" || due[0].Source != "cloud" || due[0].Tenant != finding.DefaultTenant {
		t.Errorf("quarantine %+v %v", due, err)
	}
	var health app.Health
	token := map[string]string{"Authorization": "Bearer " + localToken(t, s.dir)}
	meanwhile(t, "figures of the brokers", func() bool {
		s.get(token, "/api/v1/health", &health)
		return !health.Streams[0].Consumers[0].Looked.IsZero() && health.Streams[0].Consumers[0].Waiting == 0
	})
	if st := health.Streams[0]; st.Name != "main" || st.Fault != "" || st.Server == "" || st.Consumers[0].Name != "readers" || st.Consumers[0].Fault != "" {
		t.Errorf("%+v", st)
	}
	_, _, text := s.call("GET", s.URL+"/metrics", nil, "")
	for line, want := range map[string]float64{
		`casement_stream_messages_total{outcome="stored",stream="main"}`:      n,
		`casement_stream_messages_total{outcome="quarantined",stream="main"}`: 2,
		`casement_stream_connected{stream="main"}`:                            1,
		`casement_stream_lag_messages{consumer="readers",stream="main"}`:      0,
		`casement_stream_missed_messages{consumer="readers",stream="main"}`:   0,
		`casement_intake_bodies_total{kind="kafka",status="200"}`:             n,
		`casement_intake_bodies_total{kind="kafka",status="422"}`:             2,
	} {
		if got := sample(t, text, line); got != want {
			t.Errorf("%s is %v, want %v", line, got, want)
		}
	}
	if code, _, _ := s.call("POST", s.URL+"/hooks/cloud", nil, bucketAlert("x", "staging")); code != http.StatusUnauthorized {
		t.Errorf("by HTTP: %d", code)
	}
	if log := s.log.String(); strings.Contains(log, "reads-only") {
		t.Errorf("log:\n%s", log)
	}
}

// TestKafkaCredentials: each way to prove who we are, with TLS both ways; what
// is wrong is told at once, or in the state, and no secret is.
func TestKafkaCredentials(t *testing.T) {
	cert, key, pool := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	read := func(file string) string { return string(must(os.ReadFile(file))(t)) }
	for name, value := range map[string]string{"CA": read(cert), "KEY": read(key), "PASSWORD": "pass-of-kafka", "WRONG": "wrong-of-kafka"} {
		t.Setenv("CASEMENT_KAFKA_"+name, value)
	}
	clear, secure := "clear", "secure"
	start := func(t *testing.T, how string, users bool) *kafkatest.Cluster {
		var opts []kfake.Opt
		var clients []kgo.Opt
		if how == secure {
			opts = append(opts, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}))
			clients = append(clients, kgo.DialTLSConfig(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}))
		}
		if users {
			super, client := admin()
			opts = append(opts, kfake.EnableSASL(), kfake.EnableACLs(), super, kfake.User("SCRAM-SHA-512", "us", "pass-of-kafka", mayRead(kafkatest.Topic, "casement-cloud")...),
				kfake.User("SCRAM-SHA-256", "us256", "pass-of-kafka", mayRead(kafkatest.Topic, "casement-cloud")...), kfake.User("PLAIN", "usplain", "pass-of-kafka", mayRead(kafkatest.Topic, "casement-cloud")...),
				kfake.User("SCRAM-SHA-512", "nogroup", "pass-of-kafka", mayRead(kafkatest.Topic, "other")...), kfake.User("SCRAM-SHA-512", "notopic", "pass-of-kafka", mayRead("other", "casement-cloud")...))
			clients = append(clients, client)
		}
		return kafkatest.Start(t, 2, opts, clients...)
	}
	ours := ", ca: env:CASEMENT_KAFKA_CA, cert: env:CASEMENT_KAFKA_CA, key: env:CASEMENT_KAFKA_KEY"
	for name, x := range map[string]struct {
		how          string
		users        bool
		scheme, keys string
		fault        string
	}{
		"certificate":        {secure, false, "tls", "topics: [alerts]" + ours, ""},
		"scram by tls":       {secure, true, "tls", "topics: [alerts], user: us, password: env:CASEMENT_KAFKA_PASSWORD" + ours, ""},
		"scram 256":          {clear, true, "kafka", "topics: [alerts], mechanism: scram-sha-256, user: us256, password: env:CASEMENT_KAFKA_PASSWORD", ""},
		"plain by tls":       {secure, true, "tls", "topics: [alerts], mechanism: plain, user: usplain, password: env:CASEMENT_KAFKA_PASSWORD" + ours, ""},
		"wrong password":     {clear, true, "kafka", "topics: [alerts], user: us, password: env:CASEMENT_KAFKA_WRONG", "refuses the user"},
		"wrong plain":        {secure, true, "tls", "topics: [alerts], mechanism: plain, user: usplain, password: env:CASEMENT_KAFKA_WRONG" + ours, "refuses the user"},
		"no user":            {clear, true, "kafka", "topics: [alerts]", "user and password"},
		"no such topic":      {clear, false, "kafka", "topics: [nowhere]", "topic nowhere: there is no such topic"},
		"may not read topic": {clear, true, "kafka", "topics: [alerts], user: notopic, password: env:CASEMENT_KAFKA_PASSWORD", "topic alerts: the user may not read the topic"},
		"may not read group": {clear, true, "kafka", "topics: [alerts], user: nogroup, password: env:CASEMENT_KAFKA_PASSWORD", "may not read by the group"},
		"unknown authority":  {secure, false, "tls", "topics: [alerts], cert: env:CASEMENT_KAFKA_CA, key: env:CASEMENT_KAFKA_KEY", "the stream's ca"},
		"no tls there":       {clear, false, "tls", "topics: [alerts], ca: env:CASEMENT_KAFKA_CA", "speaks no TLS"},
		"tls there":          {secure, false, "kafka", "topics: [alerts]", "wants TLS"},
		"inner address":      {clear, false, "kafka", "topics: [alerts], allow: [10.0.0.0/8]", "not in the stream's allow list"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, x.how, x.users)
			keys := x.keys
			if !strings.Contains(keys, "allow") {
				keys += ", allow: [127.0.0.1]"
			}
			s := streamNode(t, fmt.Sprintf("sources: {cloud: {kind: kafka}}\nstreams:\n  main: {source: cloud, servers: [%q], %s}\n", c.Servers(x.scheme)[0], keys))
			token := map[string]string{"Authorization": "Bearer " + localToken(t, s.dir)}
			var st stream.State
			if x.fault == "" {
				c.Produce(kgo.KeyStringRecord("k", bucketAlert("b", "staging")))
				meanwhile(t, "the alert", func() bool { return s.cases() == 1 })
			}
			defer func() {
				if t.Failed() {
					t.Logf("%+v", st)
				}
			}()
			meanwhile(t, "a connection, or why there is none: "+x.fault, func() bool {
				var h app.Health
				s.get(token, "/api/v1/health", &h)
				st = h.Streams[0]
				return x.fault == "" && st.Server != "" && st.Fault == "" || x.fault != "" && strings.Contains(st.Fault+" "+st.Consumers[0].Fault, x.fault)
			})
			if log := s.log.String() + fmt.Sprint(st); strings.Contains(log, "-of-kafka") {
				t.Errorf("a secret is told:\n%s", log)
			}
		})
	}
	_, err = app.Setup(t.Context(), loaded(t, `sources: {cloud: {kind: kafka}}
streams:
  a: {source: cloud, servers: ["tls://n:9093"], topics: [t], group: a, ca: env:CASEMENT_KAFKA_WRONG}
  b: {source: cloud, servers: ["tls://n:9093"], topics: [t], group: b, allow: ["a b"]}
  c: {source: cloud, servers: ["tls://n:9093"], topics: [t], group: c, user: u, password: env:CASEMENT_KAFKA_MISSING}
`))
	for _, want := range []string{"streams.a.ca leads to no certificate", `allow[0] "a b"`, "CASEMENT_KAFKA_MISSING is not set"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wrong-of-kafka") {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// TestKafkaKill kills the process between the store's commit and that of the
// offset, and before both, while it reads: nothing is lost, and what comes again
// opens nothing.
func TestKafkaKill(t *testing.T) {
	c := kafkatest.Start(t, 8, nil)
	const group = "casement-scanner"
	killReading(t, c.Servers("kafka")[0], func(n int) {
		c.Produce(kgo.KeyStringRecord(fmt.Sprint("default/scanner/", n), killAlert(n)))
	}, func(n int) bool {
		done, all := c.Committed(group)
		return done == n && all == n
	}, func() int { return c.Ahead(group) })
}

// TestKafkaNodes: three nodes on one PostgreSQL in one group. While records come
// one node is killed and replaced, another stopped and replaced, so that
// partitions go from one to the other: everything that was sent is taken in and
// committed, and every finding has one case.
func TestKafkaNodes(t *testing.T) {
	if !need.Full() {
		need.Missing(t, "the run with three nodes that read a topic takes a minute; CASEMENT_FULL=1 (make test-full) runs it")
	}
	const distinct, messages, group = 200, 2000, "casement-scanner"
	c := kafkatest.Start(t, 12, nil)
	database := pgtest.Start(t).Database(t)
	srv := serveTarget(t, newKillTarget())
	nodes := []*node{}
	start := func() *node { return startNode(t, t.TempDir(), srv, database, c.Servers("kafka")) }
	for range 3 {
		nodes = append(nodes, start())
	}
	sent := 0
	send := func(n int) {
		var rs []*kgo.Record
		for range n {
			rs = append(rs, kgo.KeyStringRecord(fmt.Sprint("default/scanner/f", sent%distinct), killAlert(sent%distinct)))
			sent++
		}
		c.Produce(rs...)
	}
	past := func(n int) func() bool {
		return func() bool {
			done, _ := c.Committed(group)
			return done >= n
		}
	}
	send(messages / 4)
	meanwhile(t, "the first records", past(messages/8))
	send(messages / 4)
	nodes[0].kill()
	send(messages / 4)
	nodes[0] = start()
	meanwhile(t, "half of them", past(messages/2))
	send(messages / 4)
	_ = nodes[1].in.Close() // it stops, and leaves the group
	<-nodes[1].dead
	nodes[1] = start()
	meanwhile(t, "all of them", past(messages))
	again := c.Ahead(group)
	for _, n := range nodes {
		n.kill()
	}
	lost, cases := storedIn(t, database, distinct)
	t.Logf("%d records of %d findings acknowledged by the brokers, 3 nodes, 1 killed, 1 stopped, both replaced; lost findings %d; cases %d (doubled %d); %d records ahead at the end",
		sent, distinct, lost, cases, cases-(distinct-lost), again)
	if lost != 0 || cases != distinct {
		t.Errorf("lost %d, cases %d of %d findings", lost, cases, distinct)
	}
}
