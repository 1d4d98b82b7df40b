package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/format/jsonl"
	"github.com/casement/casement/internal/intake"
)

// ingested is what became of one file.
type ingested struct {
	File string `json:"file"`
	intake.Answer
	// Cases counts the cases that were opened, and the alerts that joined one.
	Opened int `json:"opened"`
	Joined int `json:"joined"`
	Seen   int `json:"seen"`
	Failed int `json:"failed"`
	Status int `json:"status"`
}

func (c *cli) ingestCommand() *cobra.Command {
	var mappings []string
	var event string
	cmd := &cobra.Command{
		Use:   "ingest FILE...",
		Short: "Take alerts in: each becomes or joins a case",
		Long: `Take alerts in from files, or from standard input (-). What is reported as taken in is on
disk. Through a running server the loop starts at once; without one it starts when
casement serve runs. Exit code 9: some alerts were refused, 1: all were.`,
		Example: "  casement ingest alerts.json\n  casement ingest --mapping acme.yaml acme.json\n  trivy image -f json app:1 | casement ingest -",
		Args:    atLeast(1, "FILE or -"),
	}
	f := lists(cmd)
	cmd.Flags().StringArrayVar(&mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	c.scans(cmd)
	cmd.Flags().StringVar(&event, "event", "", "event `name` of the sender, e.g. of its X-GitHub-Event header")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		return c.with(ctx, true, func(k *client) error {
			list, errs := c.ingestAll(ctx, k, args, mappings, event)
			if len(list) == 0 {
				return errs[len(errs)-1]
			}
			if err := emit(c, f, list, c.showIngested); err != nil {
				return err
			}
			if len(errs) > 0 {
				return failf(codePartial, "", "%d of %s could not be taken in, or not be sent at all", len(args)-len(list), plural(len(args), "file"))
			}
			taken := false
			for _, x := range list {
				taken = taken || x.Opened+x.Joined+x.Seen > 0
			}
			if taken && !k.live {
				c.sayf("no server is running: decisions are made, actions, tickets and messages wait for casement serve")
			}
			if taken {
				c.next("casement case list")
			}
			return ingestVerdict(list)
		})
	})
	return cmd
}

// ingestAll sends file after file. One that can't be read does not stop the
// others; a server that refuses or is gone does. All errors but the last are
// reported here where nothing was taken in, else all.
func (c *cli) ingestAll(ctx context.Context, k *client, names, mappings []string, event string) (list []ingested, errs []error) {
	for _, name := range names {
		x, err := c.ingestFile(ctx, k, name, mappings, event)
		if err == nil {
			list = append(list, x)
			continue
		}
		errs = append(errs, err)
		if code := codeOf(err); code == codeRemote || code == codeInterrupt || code == codeTimeout {
			break
		}
	}
	for i, err := range errs {
		if len(list) > 0 || i < len(errs)-1 {
			c.report(err)
		}
	}
	return list, errs
}

// ingestFile sends one file. Formats that only this side can read are sent as
// our own JSON lines, large files piece by piece.
func (c *cli) ingestFile(ctx context.Context, k *client, name string, mappings []string, event string) (out ingested, err error) {
	out.File = name
	if len(mappings) > 0 || event != "" || c.asset.of.UID != "" {
		err = c.ingestConverted(ctx, k, &out, mappings, event)
		return out, err
	}
	in, err := c.open(name)
	if err != nil {
		return out, err
	}
	defer func() { err = firstOf(err, in.Close()) }()
	if in.Size() <= all.WholeSize { // the server finds the format, and keeps what it does not know
		body := make([]byte, in.Size())
		if n, err := in.ReadAt(body, 0); n < len(body) {
			return out, fileError(name, err)
		}
		if err = k.ingest(ctx, &out, body); err == nil && c.asset.of.UID == "" {
			res, _ := all.Read(body, format.Options{File: shownName(name)}) // the server judged it; here only what it names counts
			a := alerts{summary: summary{Because: map[string]int{}}}
			a.add(res)
			c.tellNameless(a)
		}
		return out, err
	}
	err = all.Pieces(in, format.Options{File: shownName(name)}, func(_ format.Reader, p *format.Piece) error {
		var one ingested
		if err := k.ingest(ctx, &one, p.Body); err != nil {
			return partly(out, err)
		}
		for i, n := range one.Refusal {
			one.Refusal[i].Where, _ = p.Place(n.Where)
		}
		out.add(one)
		return nil
	})
	return out, err
}

// add counts a piece of a file. Its single results are not kept: there may be
// millions.
func (x *ingested) add(p ingested) {
	x.Format, x.Stored = p.Format, x.Stored || p.Stored
	x.Read, x.Kept, x.Suppressed, x.Refused = x.Read+p.Read, x.Kept+p.Kept, x.Suppressed+p.Suppressed, x.Refused+p.Refused
	x.Opened, x.Joined, x.Seen, x.Failed = x.Opened+p.Opened, x.Joined+p.Joined, x.Seen+p.Seen, x.Failed+p.Failed
	x.Refusal = append(x.Refusal, p.Refusal[:max(0, min(len(p.Refusal), shownRefusals-len(x.Refusal)))]...)
	x.Status = max(x.Status, p.Status)
	if p.Error != "" {
		x.Error = p.Error
	}
	x.Later, x.Quarantine = max(x.Later, p.Later), max(x.Quarantine, p.Quarantine)
}

// partly says of a failure in the middle of a file what is taken in already.
func partly(x ingested, err error) error {
	if x.Read == 0 {
		return err
	}
	return failf(codeOf(err), "send the file again: what is known already is only counted", "%s of %s are taken in, then: %w", plural(x.Read, "record"), x.File, err)
}

// batch is how many findings are sent at a time.
const batch = 500

// ingestConverted reads a file here and sends its findings as JSON lines.
func (c *cli) ingestConverted(ctx context.Context, k *client, out *ingested, mappings []string, event string) error {
	var list []finding.Finding
	send := func() error {
		body, err := linesOf(list)
		if err != nil || len(list) == 0 {
			return err
		}
		var one ingested
		if err := k.ingest(ctx, &one, body); err != nil {
			return partly(*out, err)
		}
		out.add(one)
		list = list[:0]
		return nil
	}
	a, err := c.readEach(ctx, []string{out.File}, mappings, event, func(f finding.Finding) error {
		if list = append(list, f); len(list) < batch {
			return nil
		}
		return send()
	})
	if err = firstOf(err, send()); err != nil {
		return err
	}
	for _, word := range a.summary.Formats {
		out.Format = word
	}
	if err := c.tell(a); err != nil && a.summary.Kept == 0 {
		return err
	}
	out.Read, out.Suppressed, out.Refused = a.summary.Read, a.summary.Suppressed, out.Refused+a.summary.Refused
	return nil
}

// ingest sends one body and counts what became of it.
func (k *client) ingest(ctx context.Context, out *ingested, body []byte) error {
	resp, err := k.post(ctx, "/api/v1/alerts", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out.Answer); err != nil {
		return failf(codeRemote, "", "the answer of %s can't be read: %w", k.where, err)
	}
	out.Status = resp.StatusCode
	for _, r := range out.Results {
		switch {
		case r.Error != "":
			out.Failed++
		case r.Placement == correlate.Open:
			out.Opened++
		case r.Placement == correlate.Sighting:
			out.Seen++
		default:
			out.Joined++
		}
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return failf(codeAuth, "casement token create --roles source", "%s", out.Error)
	case http.StatusRequestEntityTooLarge:
		return failf(codeError, "split the file", "%s", out.Error)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInsufficientStorage, http.StatusInternalServerError:
		return failf(codeRemote, "send it again", "%s", out.Error)
	}
	return nil
}

// post sends a body and returns the answer whatever its status.
func (k *client) post(ctx context.Context, path string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", k.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("Authorization", "Bearer "+k.token)
	resp, err := k.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, failf(codeRemote, "casement doctor", "%s does not answer", k.where)
	}
	return resp, nil
}

// linesOf writes findings as our own JSON lines.
func linesOf(list []finding.Finding) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, f := range list {
		if err := e.Encode(jsonl.LineOf(f)); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// handIn sends findings that were read here, and returns the cases by uid.
func (k *client) handIn(ctx context.Context, list []finding.Finding) (map[string]string, error) {
	body, err := linesOf(list)
	if err != nil {
		return nil, err
	}
	resp, err := k.post(ctx, "/api/v1/alerts", body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out intake.Answer
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, failf(codeRemote, "", "the answer of %s can't be read: %w", k.where, err)
	}
	if out.Error != "" {
		return nil, failf(codeRemote, "", "%s: %s", k.where, out.Error)
	}
	cases := map[string]string{}
	for i, r := range out.Results {
		if i < len(list) {
			cases[list[i].UID] = r.CaseID
		}
		cases[r.UID] = r.CaseID
	}
	return cases, nil
}

func (c *cli) showIngested(list []ingested) {
	for _, x := range list {
		fmt.Fprintf(c.out, "%s: %s read", clean(x.File), group(x.Read))
		if x.Format != "" {
			fmt.Fprintf(c.out, " (%s)", x.Format)
		}
		fmt.Fprintf(c.out, ", %s opened, %s joined, %s seen before", plural(x.Opened, "case"), group(x.Joined), group(x.Seen))
		if x.Suppressed > 0 {
			fmt.Fprintf(c.out, ", %s no findings by their source's own word", group(x.Suppressed))
		}
		fmt.Fprintln(c.out)
		for i, n := range x.Refusal {
			if i == shownRefusals {
				break
			}
			fmt.Fprintf(c.err, "%s %s: %s\n", c.talk.paint(yellow, "refused:"), clean(n.Where), clean(n.Reason))
		}
		if n := x.Refused - shownRefusals; n > 0 {
			fmt.Fprintf(c.err, "  … %s more refused\n", group(n))
		}
		if x.Later != 0 {
			fmt.Fprintf(c.err, "stored as body %d; it is worked on later: %s\n", x.Later, clean(x.Error))
		}
		if x.Quarantine != 0 {
			why := " with what was refused"
			if x.Error != "" {
				why = ": " + clean(x.Error)
			}
			fmt.Fprintf(c.err, "%s body %d waits for a person%s\n", c.talk.paint(yellow, "quarantined:"), x.Quarantine, why)
			c.next(fmt.Sprintf("casement quarantine show %d", x.Quarantine))
		}
	}
}

func ingestVerdict(list []ingested) error {
	good, bad := 0, 0
	for _, x := range list {
		good += x.Opened + x.Joined + x.Seen + x.Suppressed
		bad += x.Refused + x.Failed
		if x.Status >= 400 {
			bad++
		}
		if x.Later != 0 {
			good++
		}
	}
	switch {
	case bad == 0:
		return nil
	case good == 0:
		return failf(codeError, "casement parse FILE shows why", "nothing could be read")
	}
	return silent(codePartial)
}
