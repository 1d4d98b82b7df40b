package ledger

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// Auditor checks a whole ledger in one pass: every chain, the tree over all of
// them, and signed checkpoints that were kept elsewhere. Feed it the sequenced
// records in tree order, then the unsequenced ones, then call Finish. After the
// first fault every call returns it again. It is not safe for concurrent use.
//
// It needs memory for one hash per stream and the edge of the tree.
type Auditor struct {
	checkpoints []Checkpoint // by size, those not reached yet
	chains      map[string]link
	edge        []subtree
	size        int64
	held        map[Hash]bool // digests of the checkpoints that were compared
	sequenced   bool          // false once an unsequenced record came
	fault       error
}

// subtree is a full binary tree at the right edge.
type subtree struct {
	level int
	hash  tlog.Hash
}

// NewAuditor returns an Auditor that holds the ledger against checkpoints, which
// the caller has opened with the keys it trusts. They are of one origin, or of
// the epochs of one install: the first checkpoint of a later epoch names one of
// an earlier epoch that is here as well, because its tree begins with that one's.
func NewAuditor(checkpoints ...Checkpoint) (*Auditor, error) {
	cs := slices.Clone(checkpoints)
	slices.SortStableFunc(cs, func(a, b Checkpoint) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), a.At.Compare(b.At))
	})
	digests := make(map[Hash]string, len(cs))
	linked := map[string]bool{}
	for i, c := range cs {
		digests[c.Digest()] = c.Origin
		if i == 0 {
			linked[c.Origin] = true
		}
		if from, ok := digests[c.Follows]; ok && from != c.Origin {
			linked[c.Origin] = true
		}
		if !linked[c.Origin] {
			return nil, fmt.Errorf("checkpoints of %q and of %q belong to different trees: audit one at a time", cs[0].Origin, c.Origin)
		}
	}
	a := &Auditor{checkpoints: cs, chains: make(map[string]link), held: make(map[Hash]bool), sequenced: true}
	a.compare()
	return a, nil
}

// Continue returns an Auditor that goes on where a is, held against the
// checkpoints that are known now. a is not used any more; nil is one that looked
// at nothing. Where a passed the size of a checkpoint that it did not know, the
// Auditor begins anew: look at its Size.
func (a *Auditor) Continue(checkpoints ...Checkpoint) (*Auditor, error) {
	b, err := NewAuditor(checkpoints...)
	if err != nil || a == nil || !a.sequenced {
		return b, err
	}
	left := b.checkpoints
	for len(left) > 0 && left[0].Size <= a.size {
		if !a.held[left[0].Digest()] {
			return b, nil
		}
		left = left[1:]
	}
	a.checkpoints = left
	return a, nil
}

// Add checks the record at an index of the tree.
func (a *Auditor) Add(index int64, r Record) error {
	switch {
	case a.fault != nil:
		return a.fault
	case !a.sequenced:
		return a.fail(&Fault{Kind: Reordered, Tenant: r.Tenant, Stream: r.Stream, Seq: r.Seq, Index: index, Detail: "a sequenced record comes after unsequenced ones"})
	case index > a.size:
		return a.fail(&Fault{Kind: Deleted, Index: a.size, Detail: fmt.Sprintf("it is missing: index %d comes next", index)})
	case index < a.size:
		return a.fail(&Fault{Kind: Inserted, Tenant: r.Tenant, Stream: r.Stream, Seq: r.Seq, Index: index, Detail: "this position was already taken"})
	}
	if err := a.chain(index, r); err != nil {
		return err
	}
	top := subtree{0, leaf(r.Hash)}
	for n := len(a.edge); n > 0 && a.edge[n-1].level == top.level; n-- {
		top = subtree{top.level + 1, tlog.NodeHash(a.edge[n-1].hash, top.hash)}
		a.edge = a.edge[:n-1]
	}
	a.edge = append(a.edge, top)
	a.size++
	a.compare()
	return a.fault
}

// AddUnsequenced checks a record that is committed but not yet in the tree.
func (a *Auditor) AddUnsequenced(r Record) error {
	if a.fault != nil {
		return a.fault
	}
	a.sequenced = false
	return a.chain(-1, r)
}

// Finish reports what only the end shows: records a checkpoint vouches for that
// are gone. It returns nil, or the first fault of the whole ledger.
func (a *Auditor) Finish() error {
	if a.fault == nil && len(a.checkpoints) > 0 {
		newest := a.checkpoints[len(a.checkpoints)-1]
		return a.fail(&Fault{Kind: Truncated, Index: a.size,
			Detail: fmt.Sprintf("%d records were signed on %s, only %d are here", newest.Size, stamp(newest.At), a.size)})
	}
	return a.fault
}

// Size returns the number of sequenced records so far.
func (a *Auditor) Size() int64 { return a.size }

// Streams returns the number of streams so far.
func (a *Auditor) Streams() int { return len(a.chains) }

// Root returns the root over the sequenced records so far.
func (a *Auditor) Root() Hash {
	if len(a.edge) == 0 {
		return sha256.Sum256(nil)
	}
	root := a.edge[len(a.edge)-1].hash
	for i := len(a.edge) - 2; i >= 0; i-- {
		root = tlog.NodeHash(a.edge[i].hash, root)
	}
	return Hash(root)
}

// End returns number and hash of the last record of a stream so far; 0 if there
// is none.
func (a *Auditor) End(tenant, stream string) (seq uint64, hash Hash) {
	end := a.chains[chainKey(tenant, stream)]
	return end.seq, end.hash
}

// chainKey names a stream. The length keeps the names "a/b" + "c" and "a" + "b/c"
// apart.
func chainKey(tenant, stream string) string {
	return strconv.Itoa(len(tenant)) + "/" + tenant + "/" + stream
}

// chain checks a record against the chain of its stream.
func (a *Auditor) chain(index int64, r Record) error {
	key := chainKey(r.Tenant, r.Stream)
	if f := a.chains[key].step(r); f != nil {
		f.Index = index
		return a.fail(f)
	}
	a.chains[key] = link{r.Seq, r.Hash}
	return nil
}

// compare holds the tree against the checkpoints of its present size.
func (a *Auditor) compare() {
	for len(a.checkpoints) > 0 && a.checkpoints[0].Size == a.size {
		c := a.checkpoints[0]
		a.checkpoints = a.checkpoints[1:]
		a.held[c.Digest()] = true
		if a.Root() != c.Root && a.fault == nil {
			a.fault = &Fault{Kind: Forked, Index: a.size - 1,
				Detail: fmt.Sprintf("the first %d records are not those signed on %s: some were rewritten, or this is another history", c.Size, stamp(c.At))}
		}
	}
}

func (a *Auditor) fail(f *Fault) error {
	a.fault = f
	return f
}
