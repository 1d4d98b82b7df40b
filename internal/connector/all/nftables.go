package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/nftables"
)

func nftablesKind() Kind {
	return Kind{
		Name: "nftables", Title: nftables.Describe("nftables").Title,
		Params: []Setting{
			{Name: "namespace", Type: Text, Doc: "network namespace (ip netns) whose filter is changed; our own if not set"},
			{Name: "probe_namespace", Type: Text, Doc: "network namespace that packets are sent from; our own if not set"},
			{Name: "family", Type: Text, Doc: "family of the table, inet if not set"},
			{Name: "table", Type: Text, Doc: "table with the set and the rule that drops its elements, casement if not set"},
			{Name: "set", Type: Text, Doc: "set of blocked IPv4 addresses with flag timeout, quarantine if not set"},
			{Name: "set6", Type: Text, Doc: "the same for IPv6 addresses"},
			{Name: "block_for", Type: Duration, Doc: "life of a block where the playbook names none, 24h if not set"},
			{Name: "port", Type: Text, Doc: "where the probe knocks at the host, where the playbook names none"},
			{Name: "reference", Type: Text, Doc: "address:port behind the same way that must answer, or no answer proves nothing"},
			{Name: "wait", Type: Duration, Doc: "how long the probe waits for an answer, 3s if not set"},
		},
		Example: `connectors:
  nftables:
    params: {namespace: edge, port: "443", reference: "10.20.0.1:443"}
    allow: [10.20.0.0/16]
`,
		Spec: nftables.Describe,
		build: func(r *reader) (connector.Connector, error) {
			return nftables.New(nftables.Config{Name: r.entry.Name, Namespace: r.text("namespace"), ProbeNamespace: r.text("probe_namespace"),
				Family: r.text("family"), Table: r.text("table"), Set: r.text("set"), Set6: r.text("set6"), Timeout: r.duration("block_for"),
				Port: r.text("port"), Reference: r.text("reference"), Wait: r.duration("wait"), Place: r.text("place"), Network: r.http.Network})
		},
	}
}
