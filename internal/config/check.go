package config

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// check holds what one key alone can't tell. A key that could not be read is
// not judged again.
func (l *Loaded) check(d *decoder) {
	read := len(d.issues)
	defer func() {
		kept := d.issues[:read:read]
		for _, i := range d.issues[read:] {
			if !reported(kept[:read], i.Key) {
				kept = append(kept, i)
			}
		}
		d.issues = kept
	}()
	l.checkServer(d)
	l.checkDatabase(d)
	for _, name := range sortedKeys(l.Sources) {
		s, key := l.Sources[name], "sources."+name
		signs := s.Kind == "github" || s.Kind == "standard-webhooks"
		if signs && len(s.Secret) == 0 {
			d.fail(d.origins[key].secretIssue(key+".secret", "add secret: env:NAME", "source %s has no secret to check signatures with", name))
		}
		if s.Kind == "token" && len(s.Secret) > 0 {
			d.fail(d.origins[key+".secret"].secretIssue(key+".secret", "remove it; make a token with casement token create", "source %s proves itself by a token of ours, not by a secret", name))
		}
		if streamed(s) && len(s.Secret) > 0 {
			d.fail(d.origins[key+".secret"].secretIssue(key+".secret", "remove it; credentials belong under streams", "source %s is known by the stream it comes from, not by a secret", name))
		}
		l.readable(d, key+".mapping", s.Mapping)
	}
	l.checkStreams(d)
	names := sortedKeys(l.Connectors)
	for _, name := range sortedKeys(l.Routes) {
		r, key := l.Routes[name], "routes."+name+".connector"
		if _, ok := l.Connectors[r.Connector]; !ok {
			d.fail(d.origins[key].issue(key, didYouMean(r.Connector, names), false, "there is no connector %q", r.Connector))
		}
	}
	if dir := l.Policy.Dir; dir != "" {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			d.fail(d.origins["policy.dir"].issue("policy.dir", "name a directory with policy files", false, "%s is not a directory that can be read", dir))
		}
	}
	l.readable(d, "policy.kev", l.Policy.KEV)
}

// reported says whether one of the issues is about the key or a part around it.
func reported(issues Issues, key string) bool {
	for _, i := range issues {
		if i.Key != "" && (i.Key == key || strings.HasPrefix(key, i.Key+".") || strings.HasPrefix(i.Key, key+".")) {
			return true
		}
	}
	return false
}

func (l *Loaded) checkServer(d *decoder) {
	s := l.Server
	host, port, err := net.SplitHostPort(s.Listen)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || n < 0 || n > 65535 {
		d.fail(d.origins["server.listen"].issue("server.listen", "want host:port, e.g. 127.0.0.1:7410", false, "server.listen is %q", s.Listen))
		return
	}
	tls := s.TLS.CertFile != ""
	if tls != (s.TLS.KeyFile != "") {
		d.fail(d.origins["server.tls"].issue("server.tls", "set both cert_file and key_file", true, "server.tls is half set"))
	}
	l.readable(d, "server.tls.cert_file", s.TLS.CertFile)
	l.readable(d, "server.tls.key_file", s.TLS.KeyFile)
	if !loopback(host) && !tls && !s.BehindProxy {
		d.fail(d.origins["server.listen"].issue("server.listen", "set server.tls, or server.behind_proxy: true if a proxy ends TLS",
			false, "server.listen %s is reachable from outside without TLS, so passwords and tokens would go in clear", s.Listen))
	}
	if s.Pprof != "" {
		host, _, err := net.SplitHostPort(s.Pprof)
		if err != nil || !loopback(host) {
			d.fail(d.origins["server.pprof"].issue("server.pprof", "want a loopback address, e.g. 127.0.0.1:6060: profiles show what is in memory",
				false, "server.pprof is %q", s.Pprof))
		}
	}
	if s.BaseURL != "" {
		u, err := url.Parse(s.BaseURL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			d.fail(d.origins["server.base_url"].issue("server.base_url", "want https://host", false, "server.base_url is no address of pages"))
		}
	}
}

// checkDatabase refuses a password where files, process lists and logs show it.
func (l *Loaded) checkDatabase(d *decoder) {
	const key = "database.url"
	fail := func(mend, what string) {
		d.fail(d.origins[key].issue(key, mend, true, "%s", what))
	}
	if s := l.Database.Takeover; s < 1 || s > 3600 {
		d.fail(d.origins["database.takeover"].issue("database.takeover", "want 1 to 3600 seconds", false, "database.takeover is %d", s))
	}
	text := l.Database.URL
	if text == "" {
		if !l.Database.Password.IsZero() {
			d.fail(d.origins["database.password"].secretIssue("database.password", "name the database by database.url", "there is a password, but no database"))
		}
		return
	}
	if notReference(text) == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || !postgresURL(u) || u.Host == "" && u.Query().Get("host") == "" {
		fail("want postgres://user@host/database, or a reference env:NAME, file:PATH to one", "database.url is no address of a PostgreSQL database")
		return
	}
	if u.Query().Has("password") {
		fail("leave it out and name it by database.password (env:NAME, file:PATH), PGPASSWORD or ~/.pgpass", "database.url holds a literal secret")
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func (l *Loaded) readable(d *decoder, key, path string) {
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		d.fail(d.origins[key].issue(key, "", false, "%s: %v", key, err))
		return
	}
	_ = f.Close() // nothing was written
}
