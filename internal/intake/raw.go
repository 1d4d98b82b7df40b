package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/record"
)

// Packer makes raw records ready to be kept, and opens them again: redacted
// records are compressed, then sealed. Their hash is of the redacted record, so
// that equal ones are kept once and whoever reads one can check it.
type Packer struct {
	seal Sealer
	enc  *zstd.Encoder
	dec  *zstd.Decoder
}

// maxRecord bounds a record that is opened, in bytes; intake bodies are smaller.
const maxRecord = 1 << 30

// NewPacker returns a packer that seals with seal.
func NewPacker(seal Sealer) (*Packer, error) {
	// Records are small: the fastest level and a small window cost a tenth of the
	// size of the default ones, and less memory per core.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRecord))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &Packer{seal, enc, dec}, nil
}

// Pack compresses and seals a redacted record.
func (p *Packer) Pack(redacted []byte) (record.Raw, error) {
	sum := sha256.Sum256(redacted)
	body, err := p.seal.Seal(p.enc.EncodeAll(redacted, nil))
	return record.Raw{Hash: hex.EncodeToString(sum[:]), Size: len(redacted), Body: body}, err
}

// Unpack opens a record and checks it against its hash.
func (p *Packer) Unpack(r record.Raw) ([]byte, error) {
	packed, err := p.seal.Open(r.Body)
	if err != nil {
		return nil, err
	}
	b, err := p.dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("raw record %s: %w", r.Hash, err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != r.Hash {
		return nil, fmt.Errorf("raw record %s is not what its hash says: it was changed", r.Hash)
	}
	return b, nil
}

// origin is a body that findings were read from.
type origin struct {
	body    []byte
	opt     format.Options
	secrets []string
	places  []string
	records [][]byte // of places, once one was asked for
}

// record returns the redacted record of the finding at an index of the body,
// nil if the reader does not say where it stands.
func (o *origin) record(i int) []byte {
	if o.records == nil {
		o.records = format.Records(o.body, o.places, o.opt, o.secrets)
	}
	return o.records[i]
}

// received is the findings of a request, each with where it comes from.
type received struct {
	findings []finding.Finding
	from     []*origin
	at       []int // the index in its body
}

// add takes over the findings of a body that was read with opt.
func (r *received) add(src Source, body []byte, opt format.Options, res format.Result) {
	o := &origin{body: body, opt: opt, secrets: all.SecretPaths(res.Format), places: res.Places}
	if src.Mapping != nil && src.Mapping.Name() == res.Format {
		o.secrets = src.mappedSecrets()
	}
	r.findings = append(r.findings, res.Findings...)
	for i := range res.Findings {
		r.from, r.at = append(r.from, o), append(r.at, i)
	}
}

// raws returns the raw records of the findings from an index on, for the engine.
func (in *Intake) raws(r *received, from int) engine.Raws {
	return func(i int) (record.Raw, error) {
		b := r.from[from+i].record(r.at[from+i])
		if b == nil {
			return record.Raw{}, nil
		}
		return in.Pack.Pack(b)
	}
}
