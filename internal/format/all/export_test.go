package all

import "github.com/casement/casement/internal/format"

// EachOf is Each with other sizes.
func EachOf(src format.Source, opt format.Options, small int64, size int, keep func(format.Result) error, extra ...format.Reader) error {
	return each(src, opt, small, size, keep, extra)
}
