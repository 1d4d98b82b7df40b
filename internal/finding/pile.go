package finding

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// pilePlain is how many findings a Pile keeps as they are, pileParts into how
// many parts it divides more than that.
const (
	pilePlain = 4_000
	pileParts = 128
)

// Pile holds many findings in little memory: beyond the first 4,000 they are
// kept compressed, in parts by exposure key, and only one part at a time is
// taken out. The zero value is empty.
type Pile struct {
	n     int
	plain []Piled
	parts []*pilePart
}

// Piled is a finding and its number in the order of Add, from 0.
type Piled struct {
	N       int     `json:"n"`
	Finding Finding `json:"f"`
}

type pilePart struct {
	packed bytes.Buffer
	raw    []byte // not packed yet
}

// pileBlock is how much of a part is compressed at a time, in bytes.
const pileBlock = 64 << 10

// Len is the number of findings.
func (p *Pile) Len() int { return p.n }

// Add puts a finding on the pile.
func (p *Pile) Add(f Finding) error {
	one := Piled{p.n, f}
	p.n++
	if p.parts == nil && len(p.plain) < pilePlain {
		p.plain = append(p.plain, one)
		return nil
	}
	if p.parts == nil {
		p.parts = make([]*pilePart, pileParts)
		for i := range p.parts {
			p.parts[i] = &pilePart{}
		}
		plain := p.plain
		p.plain = nil
		for _, x := range plain {
			if err := p.pack(x); err != nil {
				return err
			}
		}
	}
	return p.pack(one)
}

func (p *Pile) pack(x Piled) error {
	part := p.parts[partOf(ExposureKey(x.Finding).String())]
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("finding %s: %w", x.Finding.UID, err)
	}
	part.raw = append(append(part.raw, b...), '\n')
	if len(part.raw) >= pileBlock {
		return part.press()
	}
	return nil
}

// partOf spreads keys evenly: a key is the text of a hash.
func partOf(key string) int {
	n := 0
	for _, c := range []byte(key) {
		n = (n*31 + int(c)) % 65521
	}
	return n % pileParts
}

func (p *pilePart) press() error {
	w, err := flate.NewWriter(&p.packed, flate.BestSpeed)
	if err != nil {
		return err
	}
	_, err = w.Write(p.raw)
	p.raw = p.raw[:0]
	return errors.Join(err, w.Close())
}

// Each hands out all findings, part by part: those of one exposure key are in
// one part, in the order they were added.
func (p *Pile) Each(do func(part []Piled)) error {
	if p.parts == nil {
		do(p.plain)
		return nil
	}
	for _, part := range p.parts {
		list, err := part.read()
		if err != nil {
			return err
		}
		if len(list) > 0 {
			do(list)
		}
	}
	return nil
}

func (p *pilePart) read() ([]Piled, error) {
	var list []Piled
	take := func(r io.Reader) error {
		for d := json.NewDecoder(r); ; {
			var x Piled
			if err := d.Decode(&x); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fmt.Errorf("a piled finding: %w", err)
			}
			list = append(list, x)
		}
	}
	// A flate stream ends by itself; bytes.Reader makes the next begin there.
	for packed := bytes.NewReader(p.packed.Bytes()); packed.Len() > 0; {
		if err := take(flate.NewReader(packed)); err != nil {
			return nil, err
		}
	}
	return list, take(bytes.NewReader(p.raw))
}
