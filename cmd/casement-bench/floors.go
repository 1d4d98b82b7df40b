package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The floors are the least a server of this kind can do, written in the same
// language with the same library, and measured in the same sitting: what the
// product does beyond them is its cost.
//
//	/wal       append the body to a log, share one fsync, answer
//	/typedwal  the same with the identity fields decoded
//	/decode    decode the body (or JSON lines) to typed fields, answer
//	/walrelay  log, shared fsync, answer, then POST to the sink
//
// runFloors serves them until the process is killed. It prints its address.
func runFloors(dir, sink string) error {
	f, err := os.OpenFile(filepath.Join(dir, "floor.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	log := &sharedLog{f: f}
	relay := newRelay(sink)
	mux := http.NewServeMux()
	handle := func(path string, f func(body []byte) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				err = f(body)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{\"stored\":true}\n")
		})
	}
	handle("/wal", log.append)
	handle("/typedwal", func(b []byte) error {
		if err := identities(b); err != nil {
			return err
		}
		return log.append(b)
	})
	handle("/decode", decodeAll)
	handle("/walrelay", func(b []byte) error {
		if err := log.append(b); err != nil {
			return err
		}
		relay.queue <- b
		return nil
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return http.Serve(ln, mux)
}

// sharedLog is a log in which everybody who waits shares one fsync: the first
// who comes writes for all who queued meanwhile.
type sharedLog struct {
	f  *os.File
	mu sync.Mutex
	// queue waits for the next write; leading says that somebody writes.
	queue   []*entry
	leading bool
}

type entry struct {
	body []byte
	done chan error // nil error and closed: on disk
	lead chan struct{}
}

func (l *sharedLog) append(body []byte) error {
	e := &entry{body: body, done: make(chan error, 1), lead: make(chan struct{}, 1)}
	l.mu.Lock()
	l.queue = append(l.queue, e)
	if l.leading {
		l.mu.Unlock()
		select {
		case err := <-e.done:
			return err
		case <-e.lead:
		}
	} else {
		l.leading = true
		l.mu.Unlock()
	}
	l.mu.Lock()
	batch := l.queue
	l.queue = nil
	l.mu.Unlock()
	var buf []byte
	for _, x := range batch {
		buf = append(append(buf, x.body...), '\n')
	}
	_, err := l.f.Write(buf)
	if err == nil {
		err = l.f.Sync()
	}
	for _, x := range batch {
		x.done <- err
	}
	l.mu.Lock()
	if len(l.queue) == 0 {
		l.leading = false
	} else {
		l.queue[0].lead <- struct{}{}
	}
	l.mu.Unlock()
	return <-e.done
}

// identity is what tells one finding from another.
type identity struct {
	ID         string `json:"Id"`
	ProductArn string
	Account    string `json:"AwsAccountId"`
	Generator  string `json:"GeneratorId"`
	Region     string
	Severity   struct{ Label string }
	Workflow   struct{ Status string }
	Compliance struct{ Status string }
	Resources  []struct{ Type, ID string }
}

func identities(body []byte) error {
	return eachLine(body, func(line []byte) error {
		var v identity
		return json.Unmarshal(line, &v)
	})
}

// whole is the body with typed fields.
type whole struct {
	identity
	SchemaVersion, ProductName, CompanyName, Title, Description string
	RecordState, WorkflowState                                  string
	FirstObservedAt, LastObservedAt, CreatedAt, UpdatedAt       time.Time
	Types                                                       []string
	Remediation                                                 struct{ Recommendation struct{ Text, URL string } }
	ProductFields, UserDefinedFields                            map[string]string
	Resources                                                   []struct {
		Type, ID, Partition, Region string
		Tags                        map[string]string
		Details                     map[string]json.RawMessage
	}
}

func decodeAll(body []byte) error {
	return eachLine(body, func(line []byte) error {
		var v whole
		return json.Unmarshal(line, &v)
	})
}

func eachLine(body []byte, f func([]byte) error) error {
	for line := range bytes.Lines(body) {
		if err := f(line); err != nil {
			return err
		}
	}
	return nil
}

// relay posts bodies to the sink from a pool of keep-alive connections.
type relay struct {
	queue chan []byte
}

func newRelay(sink string) *relay {
	r := &relay{queue: make(chan []byte, 1<<20)}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64}}
	for range 64 {
		go func() {
			for b := range r.queue {
				resp, err := client.Post("http://"+sink+"/", "application/json", bytes.NewReader(b))
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		}()
	}
	return r
}
