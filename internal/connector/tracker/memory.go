package tracker

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Memory is a Store for tests and simulation; the zero value is empty.
type Memory struct {
	mu      sync.Mutex
	byKey   map[string]int64
	tickets []Ticket
	said    map[int64][]string
	once    map[string]bool
}

// Create implements Store.
func (m *Memory) Create(_ context.Context, key string, t Ticket) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil {
		m.byKey, m.said, m.once = map[string]int64{}, map[int64][]string{}, map[string]bool{}
	}
	if id, ok := m.byKey[key]; ok {
		return id, nil
	}
	t.ID = int64(len(m.tickets) + 1)
	m.tickets = append(m.tickets, t)
	m.byKey[key] = t.ID
	return t.ID, nil
}

// with calls f on a ticket, under the lock.
func (m *Memory) with(id int64, f func(*Ticket)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > int64(len(m.tickets)) {
		return ErrNotFound
	}
	f(&m.tickets[id-1])
	return nil
}

// Comment implements Store.
func (m *Memory) Comment(_ context.Context, id int64, key, text string, _ time.Time) error {
	return m.with(id, func(*Ticket) {
		if k := strconv.FormatInt(id, 10) + "/" + key; !m.once[k] {
			m.once[k] = true
			m.said[id] = append(m.said[id], text)
		}
	})
}

// Status implements Store.
func (m *Memory) Status(_ context.Context, id int64) (word string, err error) {
	err = m.with(id, func(t *Ticket) { word = t.Status })
	return word, err
}

// SetStatus implements Store.
func (m *Memory) SetStatus(_ context.Context, id int64, status string, _ time.Time) error {
	return m.with(id, func(t *Ticket) { t.Status = status })
}

// Tickets returns all tickets, oldest first.
func (m *Memory) Tickets() []Ticket {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tickets)
}

// Comments returns the comments of a ticket, oldest first.
func (m *Memory) Comments(id int64) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.said[id])
}
