// Command target stands for a system of yours: a document that anyone can read,
// and a door by which access is taken away and given back. It forgets all when
// it ends. Usage: target [host:port].
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

func main() {
	addr := "127.0.0.1:7420"
	if len(os.Args) > 1 {
		addr = os.Args[1]
	}
	fmt.Printf("a document anyone can read: http://%s/documents/salaries\n", addr)
	s := &http.Server{Addr: addr, Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(s.ListenAndServe())
}

// handler serves the document, and the door that changes who may read it.
func handler() http.Handler {
	var mu sync.Mutex
	private := map[string]bool{}
	done := map[string]bool{} // webhook ids: a repeat changes nothing
	set := func(to bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var in struct {
				Data struct {
					Case  string `json:"case"`
					Asset struct {
						UID string `json:"uid"`
					} `json:"asset"`
				} `json:"data"`
			}
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil || in.Data.Asset.UID == "" {
				http.Error(w, "want the asset", http.StatusBadRequest)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if id := r.Header.Get("webhook-id"); !done[id] {
				done[id] = true
				private[in.Data.Asset.UID] = to
				fmt.Printf("%s is private: %v, for case %s\n", in.Data.Asset.UID, to, in.Data.Case)
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /private", set(true))
	mux.HandleFunc("POST /public", set(false))
	mux.HandleFunc("GET /documents/{name}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if private[r.PathValue("name")] {
			http.Error(w, "for members only", http.StatusForbidden)
			return
		}
		fmt.Fprintln(w, "everybody's salary")
	})
	return mux
}
