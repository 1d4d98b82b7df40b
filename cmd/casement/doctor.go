package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/store"
)

// check is one thing the doctor looked at.
type check struct {
	What string `json:"what"`
	// Result is ok, warn or bad.
	Result string `json:"result"`
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"`
}

func (c *cli) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether everything is in order, and say what to mend",
		Long: `Look at configuration, policy, owners, data folder (rights, room, what an fsync costs),
certificate, server, schema, clocks, queues, tokens, ledger and connectors. Exit code 1 if
something is bad; warnings do not fail. It writes a file of 256 KiB into the data folder and
removes it.`,
		Example: "  casement doctor\n  casement doctor -o json | jq '.[] | select(.result != \"ok\")'",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		p := c.examine(ctx)
		list := p.checks
		if err := emit(c, f, list, func(list []check) {
			for _, x := range list {
				style := map[string]string{"ok": green, "warn": yellow, "bad": red}[x.Result]
				fmt.Fprintf(c.out, "%s  %-14s %s\n", c.term.paint(style, fmt.Sprintf("%-4s", x.Result)), x.What, cleanLines(x.Detail))
				if x.Mend != "" {
					fmt.Fprintf(c.out, "      %-14s %s\n", "", c.term.paint(dim, "→ "+cleanLines(x.Mend)))
				}
			}
		}); err != nil {
			return err
		}
		bad := 0
		for _, x := range list {
			if x.Result == "bad" {
				bad++
			}
		}
		if p.folder {
			return failf(codeFolder, "", "%s to mend, the data folder first", plural(bad, "thing"))
		}
		if bad > 0 {
			return failf(codeError, "", "%s to mend", plural(bad, "thing"))
		}
		return nil
	})
	return cmd
}

// patient collects what the doctor sees.
type patient struct {
	checks []check
	// folder is true if the data folder can't be written.
	folder bool
}

func (p *patient) ok(what, format string, a ...any) { p.add(what, "ok", "", format, a...) }

func (p *patient) add(what, result, mend, format string, a ...any) {
	p.checks = append(p.checks, check{what, result, fmt.Sprintf(format, a...), mend})
}

// examine looks at one thing after the other.
func (c *cli) examine(ctx context.Context) *patient {
	p := &patient{}
	l, err := c.config()
	if err != nil {
		p.add("configuration", "bad", "casement config validate", "%v", err)
		return p
	}
	from := "defaults and environment"
	if n := len(l.Files); n > 0 {
		from = plural(n, "file")
	}
	p.ok("configuration", "valid, from %s", from)
	c.examineSecrets(ctx, p, l)
	policyVersion, ownersVersion := c.examineRules(p, l)
	c.examineFolder(p, l)
	c.examineCertificate(p, l, time.Now())
	c.examineInstall(ctx, p, policyVersion, ownersVersion)
	return p
}

// examineSecrets resolves every reference, and says which fail, never what
// they lead to.
func (c *cli) examineSecrets(ctx context.Context, p *patient, l *config.Loaded) {
	refs := map[string]config.Secret{}
	for name, s := range l.Sources {
		for i, x := range s.Secret {
			refs[fmt.Sprintf("sources.%s.secret[%d]", name, i)] = x
		}
	}
	for name, s := range l.Streams {
		for key, x := range s.Secrets() {
			refs["streams."+name+"."+key] = x
		}
	}
	for name, k := range l.Connectors {
		for key, x := range k.Secrets {
			refs["connectors."+name+".secrets."+key] = x
		}
	}
	for key, x := range map[string]config.Secret{"data.key": l.Data.Key, "database.password": l.Database.Password} {
		if !x.IsZero() {
			refs[key] = x
		}
	}
	bad := 0
	for _, key := range slices.Sorted(maps.Keys(refs)) {
		if _, err := refs[key].Resolve(ctx); err != nil {
			bad++
			p.add("secrets", "bad", "", "%s: %v", key, err)
		}
	}
	if bad == 0 && len(refs) > 0 {
		p.ok("secrets", "%s resolved", plural(len(refs), "reference"))
	}
}

// examineRules loads policy and owners, runs the policy's tests and returns the
// versions, "" for what does not load.
func (c *cli) examineRules(p *patient, l *config.Loaded) (policyVersion, ownersVersion string) {
	var ownerFiles []catalog.File
	pk, err := c.loadPack(l.Policy.Dir)
	if err != nil {
		p.add("policy", "bad", strings.TrimSpace("casement policy check "+l.Policy.Dir), "%v", err)
	} else {
		policyVersion = pk.Version()
		for _, f := range pk.OwnerFiles() {
			ownerFiles = append(ownerFiles, catalog.File{Name: f.Name, Data: f.Data})
		}
		failed := 0
		for _, r := range policy.RunTests(pk) {
			if !r.OK() {
				failed++
			}
		}
		if failed > 0 {
			p.add("policy", "bad", strings.TrimSpace("casement policy test "+l.Policy.Dir), "%s of its tests fail", group(failed))
		} else {
			p.ok("policy", "%s: %s, its tests pass", dirName(l.Policy.Dir), plural(len(pk.RuleNames()), "rule"))
		}
	}
	files, err := c.readOwners(l.Owners.Files)
	if err != nil {
		p.add("owners", "bad", "", "%v", err)
		return policyVersion, ""
	}
	d, err := c.directory(append(files, ownerFiles...))
	if err != nil {
		p.add("owners", "bad", "", "%v", err)
		return policyVersion, ""
	}
	if len(d.Data().People) == 0 {
		p.add("owners", "warn", "write owners.yaml and name it under owners.files", "nobody is named: everything goes to the fallback team, and nothing is enforced")
	} else {
		p.ok("owners", "%s people, %s", group(len(d.Data().People)), plural(len(d.Data().Teams), "team"))
	}
	return policyVersion, d.Version()
}

// Room on the disk below which the doctor warns, and below which intake will
// soon answer 507.
const (
	lowRoom   = 2 << 30
	leastRoom = 256 << 20
)

// examineFolder looks at the data folder's rights, room and disk.
func (c *cli) examineFolder(p *patient, l *config.Loaded) {
	dir, err := c.dataDir()
	if err != nil || c.env("CASEMENT_URL") != "" {
		return // told elsewhere, or not on this machine
	}
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return // told by examineInstall
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		p.add("rights", "warn", "chmod 700 "+shellWord(dir), "others on this machine can look into %s (mode %04o)", dir, mode)
	}
	c.examineFiles(p, dir, l)
	c.examineDisk(p, dir)
	room, ok := store.Room(dir)
	switch {
	case !ok:
	case room < leastRoom:
		p.add("disk", "bad", "make room: intake answers 507 when the disk is full", "%s MiB left for %s", group(int(room>>20)), dir)
	case room < lowRoom:
		p.add("disk", "warn", "make room", "%s MiB left for %s", group(int(room>>20)), dir)
	default:
		p.ok("disk", "%s GiB left", group(int(room>>30)))
	}
}

// examineInstall looks at the data folder, the server and what waits in it.
func (c *cli) examineInstall(ctx context.Context, p *patient, policyVersion, ownersVersion string) {
	k, err := c.connect(ctx, false)
	if codeOf(err) == codeNotFound {
		p.add("data folder", "warn", "casement serve makes it", "%v", err)
		return
	}
	if err != nil {
		p.add("data folder", "bad", mendOf(err), "%v", err)
		p.folder = codeOf(err) == codeFolder
		return
	}
	defer func() {
		if err := k.close(); err != nil {
			p.add("data folder", "bad", "", "%v", err)
		}
	}()
	if k.live {
		p.ok("server", "running at %s", k.where)
	} else {
		p.add("server", "warn", "casement serve", "no server holds %s", k.where)
	}
	var h app.Health
	if err := k.call(ctx, "GET", "/api/v1/health", nil, &h); err != nil {
		p.add("data folder", "bad", "", "%v", err)
		return
	}
	p.health(h, k.live)
	p.queues(h)
	if k.live {
		p.streams(h.Streams, h.Now)
	}
	if k.live && policyVersion != "" && h.Policy != policyVersion {
		p.add("policy", "warn", "restart casement serve", "the server works by version %s, the files here are version %s", h.Policy[:min(8, len(h.Policy))], policyVersion[:8])
	}
	if k.live && ownersVersion != "" && h.Owners != ownersVersion {
		p.add("owners", "warn", "restart casement serve", "the server works by another state of the owners files")
	}
	c.examinePeople(ctx, p, k)
	c.examineTokens(ctx, p, k, time.Now())
	var rep app.LedgerReport
	switch err := k.call(ctx, "POST", "/api/v1/ledger/verify", nil, &rep); {
	case err != nil:
		p.add("ledger", "bad", "", "%v", err)
	case !rep.OK:
		p.add("ledger", "bad", "keep the folder as it is and compare it with a backup", "%s", rep.Fault)
	default:
		p.ok("ledger", "holds: %s, %s", plural(int(rep.Sequenced+rep.Unsequenced), "event"), plural(rep.Checkpoints, "signed checkpoint"))
	}
}

// examinePeople looks whether anybody can sign in and decide.
func (c *cli) examinePeople(ctx context.Context, p *patient, k *client) {
	var out struct {
		Users []account `json:"users"`
	}
	if err := k.call(ctx, "GET", "/api/v1/users", nil, &out); err != nil {
		if codeOf(err) != codeAuth { // a token that may not look
			p.add("users", "bad", "", "%v", err)
		}
		return
	}
	deciders := 0
	for _, u := range out.Users {
		if !u.Disabled && (slices.Contains(u.Roles, "approver") || slices.Contains(u.Roles, "admin")) {
			deciders++
		}
	}
	switch {
	case len(out.Users) == 0:
		p.add("users", "warn", "open the link that casement serve prints, or casement user add NAME --roles admin", "nobody can sign in, so nobody can approve")
	case deciders == 0:
		p.add("users", "warn", "casement user roles NAME approver", "%s, none of them approver or admin: nobody can approve", plural(len(out.Users), "user"))
	default:
		p.ok("users", "%s, %s may approve", plural(len(out.Users), "user"), group(deciders))
	}
}

// health judges the figures of an install.
func (p *patient) health(h app.Health, live bool) {
	cases := 0
	for _, n := range h.Cases {
		cases += n
	}
	p.ok("data folder", "%s, database of %s bytes", plural(cases, "case"), group(int(h.Store.DatabaseBytes)))
	if live && len(h.Connectors) == 0 {
		p.add("connectors", "warn", "name them under connectors: in the configuration", "none is set up: nothing can be changed or probed")
	} else if live {
		p.ok("connectors", "%s", strings.Join(h.Connectors, ", "))
	}
	p.ok("raw records", "%s", rawWords(h.Raw.Records, h.Raw.Size, h.Raw.Stored))
	if h.RawSize > 0 && h.Raw.Stored > h.RawSize+h.RawSize/10 {
		p.add("raw records", "warn", "raise retention.raw_size, or make room on the disk", "they take more than retention.raw_size (%s): open cases and changes keep theirs", bytesWord(h.RawSize))
	}
	if len(h.Paused) > 0 {
		p.add("kill switch", "warn", "casement resume", "thrown for %s", strings.Join(h.Paused, ", "))
	}
	if h.Quarantined > 0 {
		p.add("quarantine", "warn", "casement quarantine list", "%s", pluralVerb(h.Quarantined, "body could not be read and waits for a person", "bodies could not be read and wait for a person"))
	}
	if h.Dead.N > 0 {
		p.add("dead letters", "warn", "casement deadletter list", "%s, the oldest since %s; tried again every hour", plural(h.Dead.N, "dead letter"), h.Dead.Oldest.UTC().Format("2006-01-02 15:04 UTC"))
	}
	const oldTail = 60
	if live && h.TailAge > oldTail {
		p.add("ledger tail", "warn", "look into the server's log", "%s not in the tree for %d s", plural(h.Unsequenced, "event"), h.TailAge)
	}
}
