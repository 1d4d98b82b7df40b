// Package house holds the test that keeps the rooms of the house apart: which
// package may import which, what pure packages may not touch, and where
// goroutines may start. It has no code of its own; the map is in house_test.go
// and is drawn in ARCHITECTURE.md.
package house
