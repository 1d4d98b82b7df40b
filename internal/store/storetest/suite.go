package storetest

import "testing"

func Run(t *testing.T, f func(*testing.T) Backend) {
	t.Run("x", func(t *testing.T) { must(t, f(t), NewCase("c1", "k1")) })
}
func Agree(t *testing.T, f, g func(*testing.T) Backend) {}
