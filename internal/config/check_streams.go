package config

import (
	"net/url"
	"slices"
	"strings"
)

// mostInHand bounds streams.*.in_hand: each message may have a megabyte.
const mostInHand = 4096

// checkStreams holds sources of kind nats and their streams together.
func (l *Loaded) checkStreams(d *decoder) {
	var sources []string
	for _, name := range sortedKeys(l.Sources) {
		if l.Sources[name].Kind == "nats" {
			sources = append(sources, name)
		}
	}
	read := map[string]bool{}
	for _, name := range sortedKeys(l.Streams) {
		s, key := l.Streams[name], "streams."+name
		read[s.Source] = true
		if !slices.Contains(sources, s.Source) {
			mend := didYouMean(s.Source, sources)
			if _, ok := l.Sources[s.Source]; ok {
				mend = "set kind: nats at the source"
			}
			d.fail(d.origins[key+".source"].issue(key+".source", mend, false, "there is no source %q of kind nats", s.Source))
		}
		l.checkStream(d, key, s)
	}
	for _, name := range sources {
		if !read[name] {
			at := "sources." + name + ".kind"
			d.fail(d.origins[at].issue(at, "add it under streams:, see docs/streams.md", true, "no stream carries source %s", name))
		}
	}
}

func (l *Loaded) checkStream(d *decoder, key string, s Stream) {
	fail := func(part, mend, format string, a ...any) {
		at, ok := d.origins[key+"."+part]
		if !ok {
			at = d.origins[key]
		}
		d.fail(at.issue(key+"."+part, mend, true, format, a...))
	}
	if len(s.Servers) == 0 {
		fail("servers", "name at least one, e.g. [tls://nats.example.com:4222]", "%s.servers is missing", key)
	}
	plain, outside := 0, false
	for i, text := range s.Servers {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "tls" && u.Scheme != "nats" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			fail("servers", "want tls://host:4222 or nats://host:4222, without user and password", "%s.servers[%d] is no address of a NATS server", key, i)
			continue
		}
		if u.Scheme == "nats" {
			plain++
			outside = outside || !loopback(u.Hostname())
		}
	}
	if plain > 0 && plain < len(s.Servers) {
		fail("servers", "name all by tls://", "%s.servers are partly without TLS", key)
	}
	if outside && (!s.Token.IsZero() || !s.Password.IsZero()) {
		fail("servers", "name them by tls://, or use credentials or nkey, which are never sent", "%s: token and password would go in clear", key)
	}
	if len(s.Consumers) == 0 {
		fail("consumers", "name at least one durable pull consumer, docs/streams.md shows how to make it", "%s.consumers is missing", key)
	}
	for i, c := range append([]string{s.Stream}, s.Consumers...) {
		part := "stream"
		if i > 0 {
			part = "consumers"
		}
		if c == "" && i == 0 {
			continue // told as missing
		}
		if c == "" || strings.ContainsAny(c, " .*>/\\\t\r\n") {
			fail(part, "", "%s.%s: %q is no name of a %s", key, part, c, strings.TrimSuffix(part, "s"))
		} else if i > 0 && slices.Contains(s.Consumers[:i-1], c) {
			fail(part, "", "%s.%s: %q is named twice", key, part, c)
		}
	}
	if words := strings.Split(s.Subject, "."); s.Subject != "" && (slices.Contains(words, "") || strings.ContainsAny(s.Subject, " \t\r\n") || slices.Contains(words[:len(words)-1], ">")) {
		fail("subject", "want words between dots, e.g. casement.default.scanner.>", "%s.subject is no subject of NATS", key)
	}
	if s.InHand < 1 || s.InHand > mostInHand {
		fail("in_hand", "want 1 to 4096", "%s.in_hand is %d", key, s.InHand)
	}
	var ways []string
	for way, set := range map[string]bool{"credentials": !s.Credentials.IsZero(), "nkey": !s.NKey.IsZero(), "token": !s.Token.IsZero(), "user": s.User != "" || !s.Password.IsZero()} {
		if set {
			ways = append(ways, way)
		}
	}
	if slices.Sort(ways); len(ways) > 1 {
		fail(ways[1], "keep one", "%s names %s: the server takes one way to prove who we are", key, strings.Join(ways, " and "))
	}
	if (s.User == "") != s.Password.IsZero() {
		fail("user", "set both user and password", "%s.user is half set", key)
	}
	if s.Cert.IsZero() != s.Key.IsZero() {
		fail("cert", "set both cert and key", "%s.cert is half set", key)
	}
	if plain > 0 && (!s.CA.IsZero() || !s.Cert.IsZero()) {
		fail("servers", "name them by tls://", "%s has certificates, but its servers are called without TLS", key)
	}
}
