package harness

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// kubeletsPort is where an API server looks for the kubelet of a node that says nothing else.
const kubeletsPort = "10250"

// kubelets stands in for those of the nodes that the lab makes: it tells logs of containers and nothing else. Without one
// the API server answers 500 for the log of every pod, which the binary asks for again until a minute is over, for every
// cell that fails. What comes back is the address of a proxy: the API server gets it as HTTPS_PROXY, because the nodes' names
// lead nowhere. Go takes no proxy for loopback, so whatever else the API server talks to is not led through it.
func kubelets(t testing.TB) string {
	t.Helper()
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// /containerLogs/NAMESPACE/POD/CONTAINER
		parts := strings.Split(r.URL.Path, "/")
		if len(parts) != 5 || parts[1] != "containerLogs" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "the log of %s\n", strings.Join(parts[2:], "/"))
	}))
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, port, _ := net.SplitHostPort(r.Host); r.Method != http.MethodConnect || port != kubeletsPort {
			http.Error(w, r.Host+" is no kubelet", http.StatusBadGateway)
			return
		}
		there, err := net.Dial("tcp", kubelet.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, ahead, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		fmt.Fprint(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(there, ahead)
			there.Close()
		}()
		_, _ = io.Copy(here, there)
	}))
	t.Cleanup(proxy.Close)
	t.Cleanup(kubelet.Close)
	return proxy.URL
}
