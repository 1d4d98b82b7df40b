package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// killTarget is the outside system. It keeps one state per asset and counts
// what reaches it. A path says what it promises: /act remembers webhook ids
// (once: key), /lookup/act repeats blindly but can be asked for a key, and
// /none/act repeats blindly and can't be asked.
type killTarget struct {
	mu       sync.Mutex
	seen     map[string]bool // keys that had their effect
	open     map[string]bool // assets that were changed back, by asset
	closed   map[string]int  // effective changes by asset
	undone   map[string]int
	arrivals map[string]int // raw requests to change, by asset
	byKey    map[string]int // raw requests by key
	notices  map[string]int // raw notices by key
}

func newKillTarget() *killTarget {
	return &killTarget{seen: map[string]bool{}, open: map[string]bool{}, closed: map[string]int{}, undone: map[string]int{},
		arrivals: map[string]int{}, byKey: map[string]int{}, notices: map[string]int{}}
}

// raw is the number of requests to change an asset.
func (k *killTarget) raw(asset string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.arrivals[asset]
}

// isOpen: the risky state exists.
func (k *killTarget) isOpen(asset string) bool { return k.closed[asset] == 0 || k.open[asset] }

func (k *killTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	asset := r.URL.Query().Get("asset")
	switch r.URL.Path {
	case "/state":
		state := "closed"
		if k.isOpen(asset) {
			state = "open"
		}
		fmt.Fprintf(w, `{"state":%q}`, state)
	case "/act":
		k.webhook(w, r)
	case "/notice":
		k.notices[r.URL.Query().Get("key")]++
	case "/look":
		fmt.Fprintf(w, `{"found":%v}`, k.seen[r.URL.Query().Get("key")])
	case "/undo":
		k.undone[asset]++
		k.open[asset] = true
	case "/lookup/act", "/none/act": // no memory that would save it
		key := r.URL.Query().Get("key")
		k.arrivals[asset]++
		k.byKey[key]++
		k.seen[key] = true
		k.closed[asset]++
		k.open[asset] = false
	default:
		http.NotFound(w, r)
	}
}

// webhook is the receiver that remembers ids.
func (k *killTarget) webhook(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Data struct {
			Asset struct {
				UID string `json:"uid"`
			} `json:"asset"`
		} `json:"data"`
	}
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(b, &body)
	}
	uid, id := body.Data.Asset.UID, r.Header.Get("Webhook-Id")
	if err != nil || uid == "" || id == "" {
		http.Error(w, "no asset", http.StatusBadRequest)
		return
	}
	k.arrivals[uid]++
	k.byKey[id]++
	if !k.seen[id] {
		k.seen[id] = true
		k.closed[uid]++
	}
}

// killDoor is a connector to the target whose promise is lookup or none.
type killDoor struct {
	once remedy.Once
	base string
}

// lookingDoor can be asked for a key; killDoor alone can't.
type lookingDoor struct{ killDoor }

func (d killDoor) name() string { return string(d.once) }

func (d killDoor) Spec() connector.Spec {
	return connector.Spec{Name: d.name(), Title: "test target", Actions: []connector.ActionSpec{{Verb: "close", Description: "closes", Once: d.once, Reversibility: 1, Undoable: true, Probe: "state", Continuity: "works"}},
		Probes: []connector.ProbeSpec{{Verb: "state", Description: "the state", Grade: remedy.P2}, {Verb: "works", Description: "still works", Grade: remedy.P2}}}
}

// get asks the target; an error may mean that it was reached all the same.
func (d killDoor) get(ctx context.Context, path string, q url.Values) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.base+path+"?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("target: %s", resp.Status)
	}
	return string(b), err
}

func (d killDoor) Plan(ctx context.Context, _ string, r connector.Request) (remedy.Plan, error) {
	state, err := d.get(ctx, "/state", url.Values{"asset": {r.Asset.UID}})
	return remedy.Plan{Text: "close " + r.Asset.UID, BeforeDigest: connector.Digest(state), LastModifier: "mallory"}, err
}

func (d killDoor) Act(ctx context.Context, _ string, r connector.Request) (connector.Outcome, error) {
	_, err := d.get(ctx, "/"+d.name()+"/act", url.Values{"asset": {r.Asset.UID}, "key": {r.Key}})
	return connector.Outcome{UndoHandle: r.Asset.UID, Ref: r.Key}, err
}

func (d killDoor) Undo(ctx context.Context, _ string, r connector.Request) (connector.Outcome, error) {
	_, err := d.get(ctx, "/undo", url.Values{"asset": {r.UndoHandle}})
	return connector.Outcome{}, err
}

// Probe of works says broken for every asset whose number ends in 7: its
// change undoes itself.
func (d killDoor) Probe(ctx context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	o := remedy.Observation{Result: remedy.NotExposed, Grade: remedy.P2, Place: "casement"}
	if verb == "works" {
		if strings.HasSuffix(r.Asset.UID, "7") {
			o.Result, o.Detail = remedy.Exposed, "502 since the change"
		}
		return o, nil
	}
	state, err := d.get(ctx, "/state", url.Values{"asset": {r.Asset.UID}})
	switch {
	case err != nil:
		o.Result = remedy.Inconclusive
	case strings.Contains(state, "open"):
		o.Result = remedy.Exposed
	}
	return o, nil
}

func (d lookingDoor) Look(ctx context.Context, _ string, r connector.Request) (connector.Outcome, bool, error) {
	b, err := d.get(ctx, "/look", url.Values{"key": {r.Key}})
	return connector.Outcome{UndoHandle: r.Asset.UID, Ref: r.Key}, strings.Contains(b, "true"), err
}

// killNotifier delivers notices to the target.
type killNotifier struct{ killDoor }

func (n killNotifier) Notify(ctx context.Context, x connector.Notice) error {
	_, err := n.get(ctx, "/notice", url.Values{"key": {x.Key}})
	return err
}

// killAlert is an alert of one of the three kinds of target, by its number.
func killAlert(asset int) string {
	class := killClasses()[asset%3]
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"source":"kill","native_id":"f%d","title":"%d is open","class":%q,"severity":"high","confidence":90,`+
		`"asset":{"uid":"bucket-%d","type":"bucket","provider":"sim","environment":"staging","customer_facing":"no","tags":{"owner":"olga"}},`+
		`"exposure":{"internet_facing":"yes","blast":1}}`, asset, asset, class, asset)
	return b.String()
}

// killClasses are the classes for the targets that promise lookup, key, none.
func killClasses() []string {
	return []string{"network.world-open", "storage.public", "identity.key-exposed"}
}

const killPolicy = `kind: playbooks
playbooks:
  - name: by-key
    description: Tells a target that remembers keys.
    probe: webhook/state
    grade: P2
    fix:
      - {name: close, do: webhook/call, auth: enforce, settle: 0s, tries: 3, interval: 1s}
  - name: by-lookup
    description: Tells a target that can be asked for keys; the change is watched.
    probe: lookup/state
    grade: P2
    fix:
      - {name: close, do: lookup/close, auth: enforce, settle: 0s, tries: 3, interval: 1s, watch: 1s, watch_every: 1s}
  - name: by-none
    description: Tells a target that knows nothing of keys.
    probe: none/state
    grade: P2
    fix:
      - {name: close, do: none/close, auth: enforce, settle: 1s, tries: 3, interval: 1s}
---
kind: rules
mode: enforce
rules:
  - {name: key, when: class == "storage.public", class: K2, playbook: by-key, ticket: true, why: Anyone can read it.}
  - {name: lookup, when: class == "network.world-open", class: K2, playbook: by-lookup, ticket: true, why: Anyone can reach it.}
  - {name: none, when: class == "identity.key-exposed", class: K2, playbook: by-none, ticket: true, why: Anyone can use it.}
---
kind: routes
routes:
  - name: all
    notify: [chat]
    tickets:
      - {system: tracker, template: plain, project: kill}
---
kind: templates
templates:
  - {name: plain, title: "${title}", body: "${why}"}
`

const killOwners = `people:
  - {id: olga, team: storage}
  - {id: anna, team: storage}
teams:
  - {id: storage, lead: anna, members: [olga, anna]}
fallback: storage
operations_lead: anna
`
