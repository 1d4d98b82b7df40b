// Package config turns files, environment and flags into one typed value: a
// casement.yaml (or a directory of them, deep-merged), overlaid by CASEMENT_…
// variables and by flags.
//
// It may import finding, the YAML reader and the standard library. Invariants:
// every error of every file is reported at once with file, line and column; a
// literal secret is an error and is shown nowhere; an unknown key is an error;
// the same rule names a key everywhere: server.listen, CASEMENT_SERVER_LISTEN,
// --server-listen; the order is flag, environment, file, default, and the
// origin of each value is kept.
package config

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strings"
)

// Config is everything an install can be told. The zero value of each key is
// described in its doc tag; Load fills in the defaults.
type Config struct {
	Server     Server               `yaml:"server" doc:"the address people and senders reach"`
	Data       Data                 `yaml:"data" doc:"where state is kept"`
	Database   Database             `yaml:"database" doc:"which database keeps the cases"`
	Sources    map[string]Source    `yaml:"sources" doc:"authenticated senders of alerts, by name"`
	Streams    map[string]Stream    `yaml:"streams" doc:"streams of NATS JetStream and topics of Kafka that alerts are read from, by name"`
	Connectors map[string]Connector `yaml:"connectors" doc:"doors to outside systems, by name"`
	Routes     map[string]Route     `yaml:"routes" doc:"where messages go, by the names that policy uses"`
	Policy     Policy               `yaml:"policy" doc:"the rules"`
	Owners     Owners               `yaml:"owners" doc:"who owns what"`
	Budgets    Budgets              `yaml:"budgets" doc:"ceilings over all changes of this install, on top of policy's own"`
	Intake     Intake               `yaml:"intake" doc:"limits of what senders may send"`
	Retention  Retention            `yaml:"retention" doc:"how long what is not the ledger is kept; the ledger is never pruned"`
	Log        Log                  `yaml:"log" doc:"what is logged"`
}

// Server is the listening side.
type Server struct {
	Listen  string `yaml:"listen" default:"127.0.0.1:7410" doc:"host:port to listen on"`
	BaseURL string `yaml:"base_url" doc:"address of the pages in links, e.g. https://casement.example.com; empty: http(s)://<listen>"`
	TLS     TLS    `yaml:"tls" doc:"certificate of this server"`
	// BehindProxy says that a proxy ends TLS, so that listening on other
	// addresses than loopback without a certificate is meant.
	BehindProxy bool `yaml:"behind_proxy" doc:"a proxy in front ends TLS"`
	Metrics     bool `yaml:"metrics" doc:"serve Prometheus metrics at /metrics, to loopback only"`
	// Pprof is for the time of looking: profiles show memory.
	Pprof string `yaml:"pprof" doc:"loopback host:port that serves Go profiles (/debug/pprof/); empty: none"`
}

// TLS names the PEM files of the server.
type TLS struct {
	CertFile string `yaml:"cert_file" path:"1" doc:"PEM file with the certificate chain"`
	KeyFile  string `yaml:"key_file" path:"1" doc:"PEM file with the private key"`
}

// Data is the data folder.
type Data struct {
	Dir string `yaml:"dir" path:"1" default:"casement-data" doc:"folder of database, keys and ledger; made with mode 0700"`
	Key Secret `yaml:"key" doc:"install key (64 hex digits) as a reference: nodes that share a database have the same; empty: install.key in the data folder"`
}

// Database picks the store.
type Database struct {
	URL      string `yaml:"url" doc:"postgres://user@host/database shared by several nodes, without a password, or a reference to a whole URL (env:, file:, cmd:); empty: SQLite in the data folder"`
	Password Secret `yaml:"password" doc:"password of the database as a reference; empty: PGPASSWORD or ~/.pgpass"`
	Takeover int    `yaml:"takeover" default:"25" doc:"seconds after which the work of a node that died is done by another one"`
}

// ConnString returns the URL to connect with. It may hold a password: show it
// nowhere. It is "" for SQLite.
func (d Database) ConnString(ctx context.Context) (string, error) {
	text := d.URL
	if text == "" {
		return "", nil
	}
	if notReference(text) == "" {
		ref, err := NewSecret(text, "")
		if err == nil {
			text, err = ref.Resolve(ctx)
		}
		if err != nil {
			return "", err
		}
	}
	u, err := url.Parse(text)
	if err != nil || !postgresURL(u) {
		return "", errors.New("want postgres://user@host/database")
	}
	if !d.Password.IsZero() {
		pass, err := d.Password.Resolve(ctx)
		if err != nil {
			return "", err
		}
		u.User = url.UserPassword(u.User.Username(), pass)
	}
	return u.String(), nil
}

func postgresURL(u *url.URL) bool { return u.Scheme == "postgres" || u.Scheme == "postgresql" }

// Source is one sender of alerts.
type Source struct {
	Kind    string  `yaml:"kind" req:"1" enum:"github standard-webhooks token nats kafka" doc:"how the sender proves itself: github (X-Hub-Signature-256), standard-webhooks, token (a bearer token made with casement token create --name and the source's name), or nats or kafka (its messages are read from a stream, see streams)"`
	Secret  Secrets `yaml:"secret" doc:"signing secret as a reference, or a list of them, newest first, to rotate"`
	Mapping string  `yaml:"mapping" path:"1" doc:"mapping file for a format Casement has no reader for"`
	Owner   string  `yaml:"owner" doc:"who a body that can't be read waits for"`
}

// Stream is where the alerts of a source of kind nats or kafka are read from. The
// operator makes stream and consumers, or topics: docs/streams.md.
type Stream struct {
	Source      string   `yaml:"source" req:"1" doc:"name of the source of kind nats or kafka whose alerts it carries"`
	Servers     []string `yaml:"servers" doc:"servers of the cluster, tls://host:4222 (nats) or tls://host:9093 (kafka) each; nats:// and kafka:// are without TLS"`
	Stream      string   `yaml:"stream" doc:"nats: name of the JetStream stream"`
	Consumers   []string `yaml:"consumers" doc:"nats: its durable pull consumers, read at the same time; nodes share them"`
	Subject     string   `yaml:"subject" doc:"nats: subject that all messages must have, with wildcards; empty: casement.default.<source>.>"`
	Topics      []string `yaml:"topics" doc:"kafka: topics that are read; all their records are the source's"`
	Group       string   `yaml:"group" doc:"kafka: consumer group that all nodes are members of; empty: casement-<source>"`
	InHand      int      `yaml:"in_hand" default:"256" doc:"most messages of a consumer in hand: fetched and not answered yet"`
	Credentials Secret   `yaml:"credentials" doc:"nats: creds file of a user, as a reference"`
	NKey        Secret   `yaml:"nkey" doc:"nats: seed of an nkey, as a reference"`
	Token       Secret   `yaml:"token" doc:"nats: token, as a reference; by TLS only"`
	User        string   `yaml:"user" doc:"user name, with password"`
	Password    Secret   `yaml:"password" doc:"password of user, as a reference; with nats, or by plain, by TLS only"`
	Mechanism   string   `yaml:"mechanism" enum:"scram-sha-512 scram-sha-256 plain" default:"scram-sha-512" doc:"kafka: SASL mechanism by which user is proven"`
	CA          Secret   `yaml:"ca" doc:"PEM certificates of the authority that signed the servers', as a reference; empty: the system's"`
	Cert        Secret   `yaml:"cert" doc:"our PEM certificate, where the servers ask for one, as a reference"`
	Key         Secret   `yaml:"key" doc:"its PEM private key, as a reference"`
	Allow       []string `yaml:"allow" doc:"inner addresses it may reach, as for connectors"`
}

// Secrets returns the references that are set, by key.
func (s Stream) Secrets() map[string]Secret {
	out := map[string]Secret{"credentials": s.Credentials, "nkey": s.NKey, "token": s.Token, "password": s.Password, "ca": s.CA, "cert": s.Cert, "key": s.Key}
	maps.DeleteFunc(out, func(_ string, x Secret) bool { return x.IsZero() })
	return out
}

// Connector is one door; Params stay raw for the connector to decode.
type Connector struct {
	Kind    string            `yaml:"kind" doc:"which connector; empty: the entry's own name"`
	Params  map[string]any    `yaml:"params" doc:"settings of the connector, see casement connectors"`
	Secrets map[string]Secret `yaml:"secrets" doc:"credentials as references"`
	Allow   []string          `yaml:"allow" doc:"inner addresses it may reach: ranges (10.0.0.0/8), addresses, hosts or host:port; public ones need no entry"`
}

// Route leads messages to a connector.
type Route struct {
	Connector string            `yaml:"connector" req:"1" doc:"name of the connector that delivers"`
	Params    map[string]string `yaml:"params" doc:"facts added to each message of this route, for the receiver: {channel: security}"`
}

// Policy is where the rules are.
type Policy struct {
	Dir string `yaml:"dir" path:"1" doc:"policy directory; empty: the pack that ships with Casement"`
	// KEV is read anew with the policy. Without it "known exploited" is unknown,
	// which counts as the worst: every vulnerability gets the terms of a listed one.
	KEV string `yaml:"kev" path:"1" doc:"copy of CISA's known exploited vulnerabilities (JSON); without it each vulnerability is judged as if it were listed"`
}

// Owners lists the ownership files.
type Owners struct {
	Files []string `yaml:"files" path:"named" doc:"owners.yaml, Backstage catalog-info.yaml and CODEOWNERS files (owner/repo=path for the latter)"`
}

// Budgets bound all changes together; 0 is no bound.
type Budgets struct {
	ChangesPerHour int `yaml:"changes_per_hour" doc:"most changes to outside systems in an hour; 0: no bound"`
	ChangesPerDay  int `yaml:"changes_per_day" doc:"most changes to outside systems in a day; 0: no bound"`
}

// Intake bounds what comes in; 0 is the shipped bound.
type Intake struct {
	MaxBody    int `yaml:"max_body" default:"33554432" doc:"largest body of a request, in bytes"`
	Quarantine int `yaml:"quarantine" default:"268435456" doc:"room for bodies that can't be read, per tenant, in bytes"`
	Inflight   int `yaml:"inflight" default:"512" doc:"most requests at once; more are answered 503"`
}

// Retention bounds what is kept beside the ledger; 0 is no bound.
type Retention struct {
	// RawDays and RawSize bind settled cases in which nothing was changed: what
	// an open case rests on, and what justified a change, stays.
	RawDays        int `yaml:"raw_days" default:"90" doc:"days a raw record stays after its cases were settled; 0: for ever"`
	RawSize        int `yaml:"raw_size" default:"10737418240" doc:"room for raw records as stored, in bytes; beyond it those of settled cases go early, oldest first; 0: no bound"`
	QuarantineDays int `yaml:"quarantine_days" doc:"days after which a body that can't be read is dropped, told in the ledger; 0: it waits until a person decides"`
}

// Log is the server's log on stderr.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug info warn error" doc:"least level that is written"`
	Format string `yaml:"format" default:"text" enum:"text json" doc:"text for people, json for machines"`
}

// KindOf returns the connector's kind: its own word, or the name of the entry.
func (c Config) KindOf(name string) string {
	if k := c.Connectors[name].Kind; k != "" {
		return k
	}
	return name
}

// URL returns the base of all links: server.base_url, or the listening address.
func (c Config) URL() string {
	if c.Server.BaseURL != "" {
		return strings.TrimSuffix(c.Server.BaseURL, "/")
	}
	if c.Server.TLS.CertFile != "" {
		return "https://" + c.Server.Listen
	}
	return "http://" + c.Server.Listen
}
