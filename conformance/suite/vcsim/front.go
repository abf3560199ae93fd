package vcsim

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// front is a proxy that lets one call after the other into the simulator, each with the task that it
// starts: vcsim 0.55 takes its locks in another order where it makes a VM than where it collects
// updates, and comes to a stand when both happen at once. Waiting for updates becomes asking again.
type front struct {
	turn  *sync.Mutex
	ctx   *simulator.Context
	proxy *httputil.ReverseProxy
	// after is done when a task has ended.
	after func()
	news  *news
}

// A question costs the simulator a tenth of a second of computing, as it looks at everything anew, and is a turn that a call with work to do does not have.
const (
	// askAgain is the pause of a wait for updates that nobody told of news: calls that change something do, and tools.
	askAgain = 5 * time.Second
	// askSoon is its pause where there were news.
	askSoon = 250 * time.Millisecond
)

// news wakes those who wait for updates.
type news struct {
	mutex sync.Mutex
	next  chan struct{}
}

// come is closed with the next news.
func (n *news) come() <-chan struct{} {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.next
}

func (n *news) tell() {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	close(n.next)
	n.next = make(chan struct{})
}

var (
	maxWait  = regexp.MustCompile(`<((?:\w+:)?maxWaitSeconds)>(\d+)</`)
	version  = regexp.MustCompile(`<((?:\w+:)?)version>[^<]*</(?:\w+:)?version>|<((?:\w+:)?)version\s*/>`)
	reading  = regexp.MustCompile(`<(?:\w+:)?(?:WaitForUpdatesEx|Retrieve|ContinueRetrieve|Find|Query|Login|Logout|CurrentTime|CreateFilter|CreatePropertyCollector|CreateContainerView|DestroyPropertyCollector|DestroyPropertyFilter|DestroyView)`)
	taskMade = regexp.MustCompile(`<returnval type="Task">([^<]+)</returnval>`)
)

// newFront listens with this certificate in front of the simulator's own endpoint.
func newFront(simulated *url.URL, ctx *simulator.Context, turn *sync.Mutex, after func(), news *news, certificate tls.Certificate) *httptest.Server {
	bare := url.URL{Scheme: simulated.Scheme, Host: simulated.Host}
	proxy := httputil.NewSingleHostReverseProxy(&bare)
	// Between the two there is nothing but this process.
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	server := httptest.NewUnstartedServer(&front{turn: turn, ctx: ctx, proxy: proxy, after: after, news: news})
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	return server
}

func (f *front) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	if !bytes.Contains(body, []byte("WaitForUpdatesEx")) {
		f.pass(request, body).copyTo(writer)
		return
	}
	limit, body := withoutWait(body)
	deadline := time.Now().Add(limit)
	for {
		// Before it is asked: news that come meanwhile are not missed.
		come, asked := f.news.come(), time.Now()
		answer := f.pass(request, body)
		if answer.Code != http.StatusOK || strings.Contains(answer.Body.String(), "<returnval>") || time.Now().After(deadline) {
			answer.copyTo(writer)
			return
		}
		select {
		case <-request.Context().Done():
			return
		case <-come:
			time.Sleep(time.Until(asked.Add(askSoon)))
		case <-time.After(askAgain):
		}
	}
}

// withoutWait makes a wait for updates one that does not wait, and tells how long it would have.
func withoutWait(body []byte) (time.Duration, []byte) {
	if found := maxWait.FindSubmatch(body); found != nil {
		seconds, _ := strconv.Atoi(string(found[2]))
		return time.Duration(seconds) * time.Second, maxWait.ReplaceAll(body, []byte("<${1}>0</"))
	}
	// The options come behind the version; without a limit a vCenter waits for half an hour.
	at := version.FindIndex(body)
	if at == nil {
		return 0, body
	}
	prefix := ""
	if found := version.FindSubmatch(body); found != nil {
		prefix = string(found[1]) + string(found[2])
	}
	options := "<" + prefix + "options><" + prefix + "maxWaitSeconds>0</" + prefix + "maxWaitSeconds></" + prefix + "options>"
	return 30 * time.Minute, append(append(append([]byte{}, body[:at[1]]...), options...), body[at[1]:]...)
}

type answer struct{ *httptest.ResponseRecorder }

func (a answer) copyTo(writer http.ResponseWriter) {
	for name, values := range a.Header() {
		writer.Header()[name] = values
	}
	writer.WriteHeader(a.Code)
	_, _ = writer.Write(a.Body.Bytes())
}

// pass lets a call in when it is its turn, and ends the turn when its task is done.
func (f *front) pass(request *http.Request, body []byte) answer {
	f.turn.Lock()
	defer f.turn.Unlock()
	again := request.Clone(request.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	recorder := httptest.NewRecorder()
	f.proxy.ServeHTTP(recorder, again)
	if found := taskMade.FindSubmatch(recorder.Body.Bytes()); found != nil {
		reference := types.ManagedObjectReference{Type: "Task", Value: string(found[1])}
		if task, ok := f.ctx.Map.Get(reference).(*simulator.Task); ok {
			task.Wait()
			f.after()
		}
	}
	if !reading.Match(body) {
		f.news.tell()
	}
	return answer{recorder}
}
