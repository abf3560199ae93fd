package harness

import (
	"context"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A start on two busy cores takes long.
const startLimit = 3 * time.Minute

// A fifth of kube-apiserver's CPU was collecting garbage.
const rarelyCollected = "GOGC=200"

// The audit log has the bodies of writes: what was sent is what is validated again. What the control plane does by itself,
// and what the admin (a lab, mostly) reads, is asked by nobody.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [system:kube-controller-manager, system:apiserver]
- level: None
  users: [conformance-admin]
  verbs: [get, list, watch]
- level: Request
  verbs: [create, update, patch]
- level: Metadata
`

// Cluster is a running control plane without nodes.
type Cluster struct {
	URL string
	// CAFile is the PEM file of the serving certificate's CA.
	CAFile string
	// Token of a member of system:masters.
	Token string
	// Kubeconfig is a file with URL, CA and token.
	Kubeconfig string
	// AuditLog is a file of JSON lines.
	AuditLog string
	// Dir is the temporary directory of logs, certificates and data.
	Dir    string
	mapper meta.RESTMapper
}

// Start starts etcd, kube-apiserver and the controllers for namespaces, owned objects and service
// accounts, and installs the real CRDs. All end with the test.
func Start(t testing.TB) *Cluster {
	t.Helper()
	etcd := component(t, "etcd", EtcdVersion())
	apiserver := component(t, "kube-apiserver", KubernetesVersion())
	manager := component(t, "kube-controller-manager", KubernetesVersion())
	crds := CRDs(t)

	cluster := &Cluster{Dir: t.TempDir()}
	began := time.Now()
	ports, err := freePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	client, peer := loopback("http", ports[0]), loopback("http", ports[1])
	store := exec.Command(etcd, "-data-dir", cluster.path("etcd"), "-listen-client", client, "-listen-peer", peer)
	store.Env = append(os.Environ(), rarelyCollected)
	StartProcess(t, cluster.Dir, "etcd", store)

	if err := cluster.writeFiles(ports[2]); err != nil {
		t.Fatal(err)
	}
	// With kubelets a cell that fails has its logs at once, as on a cluster with nodes.
	command := exec.Command(apiserver, cluster.serverFlags(ports[2], client)...)
	command.Env = append(os.Environ(), "HTTPS_PROXY="+kubelets(t), "https_proxy=", "NO_PROXY=", "no_proxy=", rarelyCollected)
	server := StartProcess(t, cluster.Dir, "kube-apiserver", command)
	if err := waitFor(server, func(ctx context.Context) error {
		return cluster.Kubernetes(t).Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		t.Fatal(err)
	}
	StartProcess(t, cluster.Dir, "kube-controller-manager", exec.Command(manager,
		"--kubeconfig="+cluster.path("manager.kubeconfig"),
		"--controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller,clusterrole-aggregation-controller",
		"--service-account-private-key-file="+cluster.path("service-account.key"),
		"--root-ca-file="+cluster.CAFile,
		"--secure-port=0", "--leader-elect=false", "--concurrent-gc-syncs=4",
		// For a namespace that goes, every kind is asked for: with the usual 20 a second they go one after the other.
		"--kube-api-qps=100", "--kube-api-burst=200", "--concurrent-namespace-syncs=20"))
	cluster.InstallCRDs(t, crds)
	t.Logf("kube-apiserver %s on etcd %s with the CRDs of %s at %s after %v",
		KubernetesVersion(), EtcdVersion(), crds, cluster.URL, time.Since(began).Round(100*time.Millisecond))
	return cluster
}

func loopback(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

func (c *Cluster) path(name string) string { return filepath.Join(c.Dir, name) }

// writeFiles makes certificates, tokens, the audit policy and kubeconfigs.
func (c *Cluster) writeFiles(port int) error {
	c.URL, c.CAFile = loopback("https", port), c.path("ca.crt")
	c.Kubeconfig, c.AuditLog = c.path("kubeconfig"), c.path("audit.jsonl")
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	c.Token = hex.EncodeToString(random)

	ca, err := newAuthority(c.Dir, "ca")
	if err != nil {
		return err
	}
	front, err := newAuthority(c.Dir, "front-proxy-ca")
	if err != nil {
		return err
	}
	hosts := []string{"127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1"}
	if err := ca.issue("serving", pkix.Name{CommonName: "kube-apiserver"}, hosts...); err != nil {
		return err
	}
	manager := pkix.Name{CommonName: "system:kube-controller-manager", Organization: []string{"system:masters"}}
	if err := ca.issue("manager", manager); err != nil {
		return err
	}
	if err := front.issue("front-proxy", pkix.Name{CommonName: "front-proxy"}); err != nil {
		return err
	}
	if err := writeRSAKey(c.path("service-account.key")); err != nil {
		return err
	}
	files := map[string]string{
		"tokens.csv":         c.Token + ",conformance-admin,1,system:masters\n",
		"audit-policy.yaml":  auditPolicy,
		"kubeconfig":         c.KubeconfigFor("conformance", c.Token),
		"manager.kubeconfig": c.kubeconfig("manager", fmt.Sprintf("client-certificate: %s, client-key: %s", c.path("manager.crt"), c.path("manager.key"))),
	}
	for name, text := range files {
		if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// KubeconfigFor is the text of a kubeconfig with this token.
func (c *Cluster) KubeconfigFor(user, token string) string {
	return c.kubeconfig(user, "token: "+token)
}

func (c *Cluster) kubeconfig(user, login string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: conformance
clusters:
- name: conformance
  cluster: {server: "%s", certificate-authority: "%s"}
users:
- name: %s
  user: {%s}
contexts:
- name: conformance
  context: {cluster: conformance, user: %s, namespace: default}
`, c.URL, c.CAFile, user, login, user)
}

func (c *Cluster) serverFlags(port int, etcd string) []string {
	return []string{
		"--etcd-servers=" + etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + c.path("serving.crt"), "--tls-private-key-file=" + c.path("serving.key"),
		"--client-ca-file=" + c.CAFile, "--token-auth-file=" + c.path("tokens.csv"),
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("service-account.key"),
		"--service-account-signing-key-file=" + c.path("service-account.key"),
		// The aggregator, and who it is to the servers behind it.
		"--requestheader-client-ca-file=" + c.path("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.path("front-proxy.crt"), "--proxy-client-key-file=" + c.path("front-proxy.key"),
		"--audit-policy-file=" + c.path("audit-policy.yaml"), "--audit-log-path=" + c.AuditLog,
		"--audit-log-maxsize=2000", "--audit-log-mode=blocking",
		// As on OpenShift: an owner reference that blocks needs the right to its owner's finalizers.
		"--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
		// No kubelet takes the taint off the nodes that the lab makes.
		"--disable-admission-plugins=TaintNodesByCondition",
		"--event-ttl=1h",
		// Endpoints may not be on loopback, and nobody looks for this one.
		"--endpoint-reconciler-type=none",
	}
}

// Config for client-go with the admin's token, or with another.
func (c *Cluster) Config(token string) *rest.Config {
	if token == "" {
		token = c.Token
	}
	return &rest.Config{
		Host: c.URL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: c.CAFile},
		QPS: 500, Burst: 1000, Timeout: time.Minute, WarningHandler: rest.NoWarnings{},
	}
}

// Kubernetes is a typed client with the admin's token.
func (c *Cluster) Kubernetes(t testing.TB) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config(""))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Dynamic is an untyped client with the admin's token.
func (c *Cluster) Dynamic(t testing.TB) *dynamic.DynamicClient {
	t.Helper()
	client, err := dynamic.NewForConfig(c.Config(""))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Discovery tells what the server serves.
func (c *Cluster) Discovery(t testing.TB) *discovery.DiscoveryClient {
	t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(c.Config(""))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// waitFor asks until the process answers or has ended.
func waitFor(process *Process, ask func(context.Context) error) error {
	deadline := time.After(startLimit)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := ask(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-process.Ended():
			return fmt.Errorf("%s ended: %v\n%s", process.Name, process.err, process.Tail())
		case <-deadline:
			return fmt.Errorf("%s does not answer within %v: %v\n%s", process.Name, startLimit, err, process.Tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
