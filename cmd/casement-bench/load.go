package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// target is what a load is aimed at.
type target struct {
	addr, path, token string
}

// outcome is what became of a load.
type outcome struct {
	// Accepted and Turned (429, 503, 507) and Failed count requests.
	Accepted, Turned, Failed int
	// NoRetryAfter counts turned-away answers without Retry-After.
	NoRetryAfter int
	// Alerts accepted.
	Alerts  int
	Elapsed time.Duration
	// Latency of accepted requests, from the instant they were due; Service from
	// the instant they were sent, which is later when the generator is behind.
	Latency, Service []time.Duration
	// Acked are the numbers of the alerts accepted, in no order, if kept.
	Acked []int
}

func (o outcome) rate() float64 { return float64(o.Alerts) / o.Elapsed.Seconds() }

func (o *outcome) add(x outcome) {
	o.Accepted += x.Accepted
	o.Turned += x.Turned
	o.Failed += x.Failed
	o.NoRetryAfter += x.NoRetryAfter
	o.Alerts += x.Alerts
	o.Latency = append(o.Latency, x.Latency...)
	o.Service = append(o.Service, x.Service...)
	o.Acked = append(o.Acked, x.Acked...)
}

// load is one load: closed loop with Rate 0, else open loop with Rate requests
// a second, started whether the earlier ones were answered or not.
type load struct {
	to    target
	gen   *alerts
	plan  plan
	conns int
	// batch is the number of alerts a request, as JSON lines.
	batch int
	rate  float64
	// Ends after limit requests, or after dur, whichever comes first.
	limit int
	dur   time.Duration
	// stopOnError ends a connection's part at the first failure: the server
	// was killed.
	stopOnError bool
	keepAcked   bool
	// sent, if set, is told of each alert before it is sent; answered of each
	// accepted single alert with the answer's body.
	sent     func(n int, at time.Time)
	answered func(n int, body []byte)
}

// run drives the load from conns connections.
func (l load) run() outcome {
	var next atomic.Int64
	var mu sync.Mutex
	var total outcome
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(l.dur)
	for range l.conns {
		wg.Go(func() {
			o := l.one(&next, start, end)
			mu.Lock()
			defer mu.Unlock()
			total.add(o)
		})
	}
	wg.Wait()
	total.Elapsed = time.Since(start)
	return total
}

func (l load) one(next *atomic.Int64, start, end time.Time) outcome {
	var o outcome
	var c *client
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	batch := max(l.batch, 1)
	var body []byte
	numbers := make([]int, batch)
	for {
		i := int(next.Add(1) - 1)
		if l.limit > 0 && i >= l.limit {
			return o
		}
		due := time.Now()
		if l.rate > 0 {
			due = start.Add(time.Duration(float64(i) / l.rate * float64(time.Second)))
			time.Sleep(time.Until(due))
		}
		if l.dur > 0 && due.After(end) {
			return o
		}
		body = body[:0]
		for k := range numbers {
			serial := i*batch + k
			n := l.plan(serial)
			numbers[k] = n
			now := time.Now()
			if l.sent != nil {
				l.sent(n, now)
			}
			body = l.gen.body(body, n, serial, now)
			if batch > 1 {
				body = append(body, '\n')
			}
		}
		if c == nil {
			var err error
			if c, err = dial(l.to); err != nil {
				o.Failed++
				if l.stopOnError {
					return o
				}
				time.Sleep(10 * time.Millisecond)
				continue
			}
		}
		sent := time.Now()
		status, retry, answer, err := c.post(body)
		switch {
		case err != nil:
			c.close()
			c = nil
			o.Failed++
			if l.stopOnError {
				return o
			}
		case status == 200 || status == 202:
			o.Accepted++
			o.Alerts += batch
			o.Latency = append(o.Latency, time.Since(due))
			o.Service = append(o.Service, time.Since(sent))
			if l.keepAcked {
				o.Acked = append(o.Acked, numbers...)
			}
			if l.answered != nil {
				l.answered(numbers[0], answer)
			}
		case status == 429 || status == 503 || status == 507:
			o.Turned++
			if retry == "" {
				o.NoRetryAfter++
			}
		default:
			o.Failed++
		}
	}
}

// client is a keep-alive connection that costs the machine as little as it can.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	head []byte
	out  []byte
	in   []byte
}

func dial(to target) (*client, error) {
	conn, err := net.DialTimeout("tcp", to.addr, 2*time.Second)
	if err != nil {
		return nil, err
	}
	head := "POST " + to.path + " HTTP/1.1\r\nHost: " + to.addr + "\r\nContent-Type: application/json\r\n"
	if to.token != "" {
		head += "Authorization: Bearer " + to.token + "\r\n"
	}
	return &client{conn: conn, r: bufio.NewReaderSize(conn, 16<<10), head: []byte(head + "Content-Length: ")}, nil
}

func (c *client) close() { _ = c.conn.Close() } // only read from until now

// post sends a body and reads the answer, which is valid until the next call.
func (c *client) post(body []byte) (status int, retryAfter string, answer []byte, err error) {
	c.out = append(c.out[:0], c.head...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(c.out, "\r\n\r\n"...)
	c.out = append(c.out, body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, "", nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, "", nil, err
	}
	if len(line) < 12 {
		return 0, "", nil, errors.New("no status line")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, "", nil, err
	}
	length, chunked := 0, false
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, "", nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Length":
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, "", nil, err
			}
		case "Transfer-Encoding":
			chunked = true
		case "Retry-After":
			retryAfter = string(value)
		}
	}
	if chunked {
		return status, retryAfter, nil, c.chunks()
	}
	c.in = slices.Grow(c.in[:0], length)[:length]
	_, err = io.ReadFull(c.r, c.in)
	return status, retryAfter, c.in, err
}

// chunks reads over a chunked answer.
func (c *client) chunks() error {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 32)
		if err != nil {
			return fmt.Errorf("chunk: %w", err)
		}
		if _, err := c.r.Discard(int(n) + 2); err != nil || n == 0 {
			return err
		}
	}
}
