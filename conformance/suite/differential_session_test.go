package suite

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// quiet is how long a watch is listened to after its expected events, for events that nobody expects.
const quiet = 150 * time.Millisecond

// eventLimit is how long an expected event may take.
const eventLimit = 10 * time.Second

// side is one of the two servers.
type side struct {
	name, url, token string
	client           *http.Client
}

func newSide(t testing.TB, name, url, token, caFile string) *side {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return &side{name: name, url: url, token: token, client: &http.Client{Transport: transport}}
}

// exchange is what one step of a sequence saw.
type exchange struct {
	Step string
	Seen map[string]any
}

// session runs one sequence on one server and keeps what it saw.
type session struct {
	*side
	t *testing.T
	// ns is a namespace of the sequence's own.
	ns      string
	seen    []exchange
	watches []*watcher
}

// request is a step before it is sent. Zero values mean: JSON in, JSON out, the admin's token.
type request struct {
	method, path, body string
	contentType        string
	accept             string
	token              *string
	header             map[string]string
	// only keeps these fields of the answer (dotted paths); empty keeps all.
	only []string
	// silent steps are not compared.
	silent bool
}

type option func(*request)

func contentType(value string) option { return func(r *request) { r.contentType = value } }
func accept(value string) option      { return func(r *request) { r.accept = value } }
func asToken(value string) option     { return func(r *request) { r.token = &value } }
func fields(paths ...string) option   { return func(r *request) { r.only = paths } }
func silent(r *request)               { r.silent = true }

const (
	jsonPatch      = "application/json-patch+json"
	mergePatch     = "application/merge-patch+json"
	strategicPatch = "application/strategic-merge-patch+json"
	applyPatch     = "application/apply-patch+yaml"
	asTable        = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
	asPartial      = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
	asPartialList  = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
)

// answer is an unnormalised response.
type answer struct {
	status int
	body   any
}

// text at a dotted path.
func (a answer) text(path string) string {
	found, _ := at(a.body, strings.Split(path, "."))
	text, _ := found.(string)
	return text
}

func (a answer) version() string { return a.text("metadata.resourceVersion") }

func at(value any, path []string) (any, bool) {
	for _, key := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[key]; !ok {
			return nil, false
		}
	}
	return value, true
}

func (s *session) fill(text string) string { return strings.ReplaceAll(text, "$NS", s.ns) }

func (s *session) build(method, path, body string, options []option) (*request, *http.Request) {
	s.t.Helper()
	step := &request{method: method, path: s.fill(path), body: s.fill(body), contentType: "application/json", accept: "application/json"}
	for _, apply := range options {
		apply(step)
	}
	var reader io.Reader
	if step.body != "" {
		reader = strings.NewReader(step.body)
	}
	req, err := http.NewRequest(method, s.url+step.path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	token := s.token
	if step.token != nil {
		token = *step.token
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if reader != nil && step.contentType != "" {
		req.Header.Set("Content-Type", step.contentType)
	}
	req.Header.Set("Accept", step.accept)
	req.Header.Set("User-Agent", "differential/1.0")
	for key, value := range step.header {
		req.Header.Set(key, value)
	}
	return step, req
}

// do sends one request and keeps what came back, under the step's name.
func (s *session) do(step, method, path, body string, options ...option) answer {
	s.t.Helper()
	built, req := s.build(method, path, body, options)
	response, err := s.client.Do(req)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.name, step, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.name, step, err)
	}
	result := answer{status: response.StatusCode, body: parsed(text)}
	if built.silent {
		return result
	}
	kept := result.body
	if len(built.only) > 0 {
		picked := map[string]any{}
		for _, path := range built.only {
			if value, ok := at(kept, strings.Split(path, ".")); ok {
				picked[path] = value
			}
		}
		kept = picked
	}
	seen := map[string]any{"status": response.StatusCode, "type": response.Header.Get("Content-Type"), "body": kept}
	if warnings := response.Header.Values("Warning"); len(warnings) > 0 {
		seen["warnings"] = strings.Join(warnings, " | ")
	}
	s.seen = append(s.seen, exchange{Step: step, Seen: seen})
	return result
}

// parsed JSON, or the text as it is.
func parsed(text []byte) any {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil || decoder.More() {
		return string(text)
	}
	return value
}

func (s *session) get(step, path string, options ...option) answer {
	s.t.Helper()
	return s.do(step, "GET", path, "", options...)
}
func (s *session) post(step, path, body string, options ...option) answer {
	s.t.Helper()
	return s.do(step, "POST", path, body, options...)
}
func (s *session) put(step, path, body string, options ...option) answer {
	s.t.Helper()
	return s.do(step, "PUT", path, body, options...)
}
func (s *session) patch(step, kind, path, body string, options ...option) answer {
	s.t.Helper()
	return s.do(step, "PATCH", path, body, append([]option{contentType(kind)}, options...)...)
}
func (s *session) delete(step, path, body string, options ...option) answer {
	s.t.Helper()
	return s.do(step, "DELETE", path, body, options...)
}

// eventually asks until the answer has this status, then keeps that answer.
func (s *session) eventually(step, path string, status int, options ...option) answer {
	s.t.Helper()
	deadline := time.Now().Add(45 * time.Second)
	for {
		found := s.get(step, path, append(options, silent)...)
		if found.status == status {
			return s.get(step, path, options...)
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%s: %s: %s still answers %d, not %d", s.name, step, path, found.status, status)
			return found
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// note keeps something that the sequence computed.
func (s *session) note(step string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	s.seen = append(s.seen, exchange{Step: step, Seen: map[string]any{"note": parsed(text)}})
}

// watcher is an open watch.
type watcher struct {
	session *session
	step    string
	status  int
	lines   chan any
	close   func()
}

// watch opens a watch; expect keeps its events.
func (s *session) watch(step, path string, options ...option) *watcher {
	s.t.Helper()
	_, req := s.build("GET", path, "", options)
	response, err := s.client.Do(req)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.name, step, err)
	}
	w := &watcher{session: s, step: step, status: response.StatusCode, lines: make(chan any, 1000), close: func() { response.Body.Close() }}
	s.watches = append(s.watches, w)
	go func() {
		defer close(w.lines)
		reader := bufio.NewReader(response.Body)
		for {
			line, err := reader.ReadBytes('\n')
			if len(bytes.TrimSpace(line)) > 0 {
				w.lines <- parsed(line)
			}
			if err != nil {
				return
			}
		}
	}()
	return w
}

// expect keeps that many events, and what comes within a moment after them.
func (w *watcher) expect(count int) []any {
	w.session.t.Helper()
	var events []any
	ended := false
	limit := time.After(eventLimit)
	for len(events) < count && !ended {
		select {
		case line, open := <-w.lines:
			if !open {
				ended = true
				break
			}
			if !isPeriodic(line) {
				events = append(events, line)
			}
		case <-limit:
			ended = true
		}
	}
	settle := time.After(quiet)
	for more := !ended; more; {
		select {
		case line, open := <-w.lines:
			if !open {
				more = false
				break
			}
			if !isPeriodic(line) {
				events = append(events, line)
			}
		case <-settle:
			more = false
		}
	}
	seen := map[string]any{"status": w.status, "events": append([]any{}, events...), "ended": ended}
	w.session.seen = append(w.session.seen, exchange{Step: w.step, Seen: seen})
	return events
}

// isPeriodic tells the bookmarks that come now and then from the one that ends the initial events.
func isPeriodic(event any) bool {
	kind, _ := at(event, []string{"type"})
	_, last := at(event, []string{"object", "metadata", "annotations"})
	_, table := at(event, []string{"object", "rows"})
	return kind == "BOOKMARK" && !last && !table
}

// end keeps all events until the server ends the watch.
func (w *watcher) end() []any {
	w.session.t.Helper()
	var events []any
	limit := time.After(eventLimit)
	for open := true; open; {
		select {
		case line, more := <-w.lines:
			if open = more; more {
				events = append(events, line)
			}
		case <-limit:
			w.session.t.Errorf("%s: %s: the watch did not end", w.session.name, w.step)
			open = false
		}
	}
	seen := map[string]any{"status": w.status, "events": append([]any{}, events...)}
	w.session.seen = append(w.session.seen, exchange{Step: w.step, Seen: seen})
	return events
}

// run plays a sequence in a fresh namespace.
func run(t *testing.T, on *side, one sequence) []exchange {
	t.Helper()
	s := &session{side: on, t: t, ns: "diff-" + one.name}
	created := s.post("setup", "/api/v1/namespaces", fmt.Sprintf(`{"metadata":{"name":%q}}`, s.ns), silent)
	if created.status != http.StatusCreated {
		t.Fatalf("%s: namespace %s: %v", on.name, s.ns, created.body)
	}
	// Its service account is made by a controller on the real side; it must not come in between.
	account := s.eventually("setup", "/api/v1/namespaces/$NS/serviceaccounts/default", http.StatusOK, silent)
	_ = account
	one.play(s)
	for _, open := range s.watches {
		open.close()
	}
	s.delete("teardown", "/api/v1/namespaces/$NS", "", silent)
	return s.seen
}
