package all

import (
	"errors"
	"fmt"
	"io"

	"github.com/casement/casement/internal/format"
)

// WholeSize is the size up to which a body is read in one, in bytes.
const WholeSize = 8 << 20

// Pieces takes a body of any size apart into bodies in the same format that a
// reader can read by itself, and hands them to yield until that returns an
// error. A body of up to 8 MiB, and one that can't be taken apart, is one
// piece. The error is an *format.Error, that of the source, or yield's.
func Pieces(src format.Source, opt format.Options, yield func(format.Reader, *format.Piece) error, extra ...format.Reader) error {
	return pieces(src, opt, WholeSize, format.PieceSize, yield, extra)
}

func pieces(src format.Source, opt format.Options, small int64, size int, yield func(format.Reader, *format.Piece) error, extra []format.Reader) error {
	if src.Size() > small {
		shape, whole, err := format.ShapeOf(src, opt)
		if err != nil {
			return err
		}
		if !whole {
			return apart(src, shape, opt, size, yield, extra)
		}
	}
	body, err := wholeOf(src, opt)
	if err != nil {
		return err
	}
	r, err := Detect(body, opt, extra...)
	if err != nil {
		return err
	}
	return yield(r, &format.Piece{Body: body})
}

func wholeOf(src format.Source, opt format.Options) ([]byte, error) {
	body := make([]byte, src.Size())
	if n, err := src.ReadAt(body, 0); n < len(body) {
		return nil, fmt.Errorf("%s: %w", format.First(opt.File, "input"), errors.Join(err, io.ErrUnexpectedEOF))
	}
	return body, nil
}

func apart(src format.Source, shape format.Shape, opt format.Options, size int, yield func(format.Reader, *format.Piece) error, extra []format.Reader) error {
	r, err := Detect(shape.Sample, opt, extra...)
	if err != nil {
		return err
	}
	var places []string
	if x, ok := r.(format.Recorder); ok {
		places = x.Records()
	}
	var stop error
	err = format.Pieces(src, shape, places, opt, size, func(p *format.Piece) bool {
		stop = yield(r, p)
		return stop == nil
	})
	return errors.Join(err, stop)
}

// Each detects the format of a body of any size and reads it piece by piece.
// What each piece holds is handed to keep, with places in the whole body. The
// error is what Read says of the whole body, or keep's.
func Each(src format.Source, opt format.Options, keep func(format.Result) error, extra ...format.Reader) error {
	return each(src, opt, WholeSize, format.PieceSize, keep, extra)
}

func each(src format.Source, opt format.Options, small int64, size int, keep func(format.Result) error, extra []format.Reader) error {
	var sum format.Result
	var first error // of a piece that had no record
	fine := false   // some piece is in the format, though it may hold no record
	err := pieces(src, opt, small, size, func(r format.Reader, p *format.Piece) error {
		res, err := r.Read(p.Body, p.Options(opt))
		if res.Read == 0 && err != nil {
			if first == nil {
				first = placed(p, err)
			}
			return nil
		}
		fine = true
		res = res.Placed(p)
		sum.Format = res.Format
		sum.Read, sum.Refused = sum.Read+res.Read, sum.Refused+res.Refused
		if len(sum.Refusals) == 0 && len(res.Refusals) > 0 {
			sum.Refusals = res.Refusals[:1]
		}
		return keep(res)
	}, extra)
	switch {
	case err != nil:
		return err
	case sum.Read == 0 && !fine:
		return first
	}
	return sum.Verdict()
}

// placed names the place of an error in the whole body.
func placed(p *format.Piece, err error) error {
	var e *format.Error
	if !errors.As(err, &e) {
		return err
	}
	at := *e
	at.Where, _ = p.Place(e.Where)
	return &at
}
