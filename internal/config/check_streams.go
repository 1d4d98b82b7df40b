package config

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// mostInHand bounds streams.*.in_hand: each message may have a megabyte.
const mostInHand = 4096

// streamed says that a source's messages are read from a stream.
func streamed(s Source) bool { return s.Kind == "nats" || s.Kind == "kafka" }

// checkStreams holds sources of kind nats and kafka and their streams together.
func (l *Loaded) checkStreams(d *decoder) {
	var sources []string
	for _, name := range sortedKeys(l.Sources) {
		if streamed(l.Sources[name]) {
			sources = append(sources, name)
		}
	}
	read, groups := map[string]bool{}, map[string]string{}
	for _, name := range sortedKeys(l.Streams) {
		s, key := l.Streams[name], "streams."+name
		read[s.Source] = true
		kind := l.Sources[s.Source].Kind
		if !slices.Contains(sources, s.Source) {
			mend := didYouMean(s.Source, sources)
			if _, ok := l.Sources[s.Source]; ok {
				mend = "set kind: nats or kind: kafka at the source"
			}
			d.fail(d.origins[key+".source"].issue(key+".source", mend, false, "there is no source %q of kind nats or kafka", s.Source))
			kind = "nats"
			if len(s.Topics) > 0 {
				kind = "kafka"
			}
		}
		c := streamCheck{d: d, key: key, Stream: s, kind: kind}
		c.check()
		if kind == "kafka" {
			group := cmp.Or(s.Group, "casement-"+s.Source)
			if other := groups[group]; other != "" {
				c.fail("group", "name another one: members of a group read the same topics", "%s has the group %s of streams.%s", key, group, other)
			}
			groups[group] = name
		}
	}
	for _, name := range sources {
		if !read[name] {
			at := "sources." + name + ".kind"
			d.fail(d.origins[at].issue(at, "add it under streams:, see docs/streams.md", true, "no stream carries source %s", name))
		}
	}
}

// streamCheck holds the keys of one stream together.
type streamCheck struct {
	Stream
	d         *decoder
	key, kind string
}

func (s streamCheck) fail(part, mend, format string, a ...any) {
	at, ok := s.d.origins[s.key+"."+part]
	if !ok {
		at = s.d.origins[s.key]
	}
	s.d.fail(at.issue(s.key+"."+part, mend, true, format, a...))
}

func (s streamCheck) check() {
	s.servers()
	if s.kind == "kafka" {
		s.kafka()
	} else {
		s.nats()
	}
	s.foreign()
	if s.InHand < 1 || s.InHand > mostInHand {
		s.fail("in_hand", "want 1 to 4096", "%s.in_hand is %d", s.key, s.InHand)
	}
	var ways []string
	for way, set := range map[string]bool{"credentials": !s.Credentials.IsZero(), "nkey": !s.NKey.IsZero(), "token": !s.Token.IsZero(), "user": s.User != "" || !s.Password.IsZero()} {
		if set {
			ways = append(ways, way)
		}
	}
	if slices.Sort(ways); len(ways) > 1 {
		s.fail(ways[1], "keep one", "%s names %s: the server takes one way to prove who we are", s.key, strings.Join(ways, " and "))
	}
	if (s.User == "") != s.Password.IsZero() {
		s.fail("user", "set both user and password", "%s.user is half set", s.key)
	}
	if s.Cert.IsZero() != s.Key.IsZero() {
		s.fail("cert", "set both cert and key", "%s.cert is half set", s.key)
	}
}

// foreign refuses keys that only the other kind has.
func (s streamCheck) foreign() {
	keys := []string{"topics", "group", "mechanism"}
	if s.kind == "kafka" {
		keys = []string{"stream", "consumers", "subject", "credentials", "nkey", "token"}
	}
	for _, part := range keys {
		if _, ok := s.d.origins[s.key+"."+part]; ok {
			s.fail(part, "remove it", "%s.%s: a stream of kind %s has no %s", s.key, part, s.kind, part)
		}
	}
}

// servers are all of the kind, and either all by TLS or none.
func (s streamCheck) servers() {
	port := map[string]string{"nats": "4222", "kafka": "9093"}[s.kind]
	if len(s.Servers) == 0 {
		s.fail("servers", "name at least one, e.g. [tls://"+s.kind+".example.com:"+port+"]", "%s.servers is missing", s.key)
	}
	plain, outside := 0, false
	for i, text := range s.Servers {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "tls" && u.Scheme != s.kind || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || s.kind == "kafka" && u.Port() == "" {
			s.fail("servers", "want tls://host:"+port+" or "+s.kind+"://host:"+map[string]string{"nats": port, "kafka": "9092"}[s.kind]+", without user and password", "%s.servers[%d] is no address of a %s server", s.key, i, map[string]string{"nats": "NATS", "kafka": "Kafka"}[s.kind])
			continue
		}
		if u.Scheme != "tls" {
			plain++
			outside = outside || !loopback(u.Hostname())
		}
	}
	if plain > 0 && plain < len(s.Servers) {
		s.fail("servers", "name all by tls://", "%s.servers are partly without TLS", s.key)
	}
	if outside && s.kind == "nats" && (!s.Token.IsZero() || !s.Password.IsZero()) {
		s.fail("servers", "name them by tls://, or use credentials or nkey, which are never sent", "%s: token and password would go in clear", s.key)
	}
	if outside && s.kind == "kafka" && s.Mechanism == "plain" {
		s.fail("servers", "name them by tls://, or use scram-sha-512, which never sends the password", "%s: the password would go in clear", s.key)
	}
	if plain > 0 && (!s.CA.IsZero() || !s.Cert.IsZero()) {
		s.fail("servers", "name them by tls://", "%s has certificates, but its servers are called without TLS", s.key)
	}
}

// kafka checks what streams of that kind have alone.
func (s streamCheck) kafka() {
	if len(s.Topics) == 0 {
		s.fail("topics", "name at least one, docs/streams.md shows how to make it", "%s.topics is missing", s.key)
	}
	for i, t := range s.Topics {
		// As Kafka's Topic.validate has it.
		if t == "" || t == "." || t == ".." || len(t) > 249 || strings.ContainsFunc(t, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
		}) {
			s.fail("topics", "want letters, digits, dots, _ and -", "%s.topics: %q is no name of a topic", s.key, t)
		} else if slices.Contains(s.Topics[:i], t) {
			s.fail("topics", "", "%s.topics: %q is named twice", s.key, t)
		}
	}
}

// nats checks what streams of that kind have alone.
func (s streamCheck) nats() {
	if s.Stream.Stream == "" {
		s.fail("stream", "", "%s.stream is missing: name of the JetStream stream", s.key)
	}
	if len(s.Consumers) == 0 {
		s.fail("consumers", "name at least one durable pull consumer, docs/streams.md shows how to make it", "%s.consumers is missing", s.key)
	}
	for i, c := range append([]string{s.Stream.Stream}, s.Consumers...) {
		part := "stream"
		if i > 0 {
			part = "consumers"
		}
		if c == "" && i == 0 {
			continue // told as missing
		}
		if c == "" || strings.ContainsAny(c, " .*>/\\\t\r\n") {
			s.fail(part, "", "%s.%s: %q is no name of a %s", s.key, part, c, strings.TrimSuffix(part, "s"))
		} else if i > 0 && slices.Contains(s.Consumers[:i-1], c) {
			s.fail(part, "", "%s.%s: %q is named twice", s.key, part, c)
		}
	}
	if words := strings.Split(s.Subject, "."); s.Subject != "" && (slices.Contains(words, "") || strings.ContainsAny(s.Subject, " \t\r\n") || slices.Contains(words[:len(words)-1], ">")) {
		s.fail("subject", "want words between dots, e.g. casement.default.scanner.>", "%s.subject is no subject of NATS", s.key)
	}
}
