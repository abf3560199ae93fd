package suite

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mtv-matrix/conformance/suite/harness"
)

// program runs a client that others wrote; it ends with the limit.
func program(t *testing.T, env []string, stdin, path string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &errors, strings.NewReader(stdin)
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errors.String()
}

// kubectl plays one list of commands on one server and keeps what it printed.
type kubectl struct {
	t          *testing.T
	path, home string
	kubeconfig string
	seen       []exchange
}

var (
	agesForm   = regexp.MustCompile(`\b\d+(ms|s|m|m\d+s)\b`)
	blanksForm = regexp.MustCompile(`[ \t]+`)
	// Age, and who set which field when, in describe.
	describedTime = regexp.MustCompile(`(Creation Timestamp:|Time:).*`)
)

func printed(text string) []any {
	lines := []any{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = describedTime.ReplaceAllString(line, "$1 <time>")
		line = blanksForm.ReplaceAllString(strings.TrimSpace(agesForm.ReplaceAllString(line, "<age>")), " ")
		if strings.HasPrefix(line, "Resource Version:") {
			line = "Resource Version: <version>"
		}
		lines = append(lines, line)
	}
	return lines
}

func (k *kubectl) run(step, stdin string, args ...string) (int, string) {
	k.t.Helper()
	code, out, errors := program(k.t, []string{"KUBECONFIG=" + k.kubeconfig, "HOME=" + k.home}, stdin, k.path, args...)
	k.seen = append(k.seen, exchange{Step: step, Seen: map[string]any{"exit": code, "stdout": printed(out), "stderr": printed(errors)}})
	return code, out
}

const thingsForKubectl = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: diff}}
data: {a: "1", b: "2"}
---
apiVersion: v1
kind: Secret
metadata: {name: login, labels: {app: diff}}
stringData: {user: u, password: p}
---
apiVersion: forklift.konveyor.io/v1beta1
kind: Host
metadata: {name: esx, labels: {app: diff}}
spec: {id: host-1, ipAddress: 10.0.0.1, provider: {name: p, namespace: mtv}, secret: {name: login}}
---
apiVersion: conformance.example/v1
kind: Widget
metadata: {name: one, labels: {app: diff}}
spec: {color: red, parts: [{name: a, count: 2}]}
`

// play is what people do with kubectl. It uses kinds that no controller of the lab works on.
func (k *kubectl) play() {
	const ns = "diff-kubectl"
	in := func(args ...string) []string { return append([]string{"-n", ns}, args...) }
	k.run("create a namespace", "", "create", "namespace", ns)
	k.run("apply", thingsForKubectl, in("apply", "-f", "-")...)
	k.run("apply the same", thingsForKubectl, in("apply", "-f", "-")...)
	k.run("diff nothing", thingsForKubectl, in("diff", "-f", "-")...)
	k.run("apply on the server", thingsForKubectl, in("apply", "--server-side", "--force-conflicts", "-f", "-")...)
	k.run("apply a change", strings.Replace(thingsForKubectl, "color: red", "color: blue", 1), in("apply", "-f", "-")...)
	k.run("apply an invented field", strings.Replace(thingsForKubectl, "color: red", "colour: red", 1), in("apply", "-f", "-")...)
	k.run("apply a wrong value", strings.Replace(thingsForKubectl, "color: red", "color: pink", 1), in("apply", "-f", "-")...)
	k.run("an invented field of a plan", "{apiVersion: forklift.konveyor.io/v1beta1, kind: Plan, metadata: {name: p}, spec: {invented: true}}", in("apply", "--dry-run=server", "-f", "-")...)
	k.run("an invented field of a map", "{apiVersion: v1, kind: ConfigMap, metadata: {name: p}, datum: {}}", in("create", "-f", "-")...)
	k.run("get", "", in("get", "widgets,hosts.forklift.konveyor.io,configmaps", "-l", "app=diff")...)
	k.run("get wide", "", in("get", "wg", "-o", "wide")...)
	k.run("get as json path", "", in("get", "wg", "one", "-o", "jsonpath={.spec.color} {.spec.size}")...)
	k.run("get as names", "", in("get", "cm,secret", "-l", "app=diff", "-o", "name")...)
	k.run("get all", "", in("get", "all")...)
	k.run("get what is not there", "", in("get", "wg", "none")...)
	k.run("get an unknown kind", "", in("get", "gadgets")...)
	k.run("get by field", "", in("get", "wg", "--field-selector", "spec.color=blue", "-o", "name")...)
	k.run("get in columns", "", in("get", "wg", "-o", "custom-columns=N:.metadata.name,C:.spec.color")...)
	k.run("get plans everywhere", "", "get", "plans.forklift.konveyor.io", "-A", "-o", "name", "-l", "app=diff")
	k.run("describe", "", in("describe", "widget", "one")...)
	k.run("describe a map", "", in("describe", "configmap", "settings")...)
	k.run("describe a secret", "", in("describe", "secret", "login")...)
	k.run("patch", "", in("patch", "wg", "one", "--type", "merge", "-p", `{"spec":{"size":5}}`)...)
	k.run("patch by json", "", in("patch", "wg", "one", "--type", "json", "-p", `[{"op":"replace","path":"/spec/size","value":6}]`)...)
	k.run("patch the status", "", in("patch", "wg", "one", "--subresource", "status", "--type", "merge", "-p", `{"status":{"phase":"Up","conditions":[{"type":"Ready","status":"True"}]}}`)...)
	k.run("patch strategically", "", in("patch", "cm", "settings", "-p", `{"data":{"c":"3"}}`)...)
	k.run("patch a widget strategically", "", in("patch", "wg", "one", "-p", `{"spec":{"size":7}}`)...)
	k.run("wait for a condition", "", in("wait", "wg/one", "--for", "condition=Ready", "--timeout", "10s")...)
	k.run("wait for a value", "", in("wait", "wg/one", "--for", "jsonpath={.status.phase}=Up", "--timeout", "10s")...)
	k.run("wait in vain", "", in("wait", "wg/one", "--for", "condition=Gone", "--timeout", "1s")...)
	k.run("label", "", in("label", "wg", "one", "x=y")...)
	k.run("annotate", "", in("annotate", "cm", "settings", "note=this")...)
	k.run("scale", "", in("scale", "wg/one", "--replicas", "4")...)
	k.run("edit by set", "", in("create", "deployment", "d", "--image", "i", "--replicas", "0")...)
	k.run("set an image", "", in("set", "image", "deployment/d", "i=j")...)
	k.run("the image", "", in("get", "deployment", "d", "-o", "jsonpath={.spec.template.spec.containers[0].image}")...)
	k.run("replace", "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {z: \"9\"}}", in("replace", "-f", "-")...)
	k.run("create again", "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}", in("create", "-f", "-")...)
	k.run("create imperatively", "", in("create", "configmap", "made", "--from-literal", "a=b")...)
	k.run("create a secret", "", in("create", "secret", "generic", "made", "--from-literal", "a=b")...)
	k.run("create a role", "", in("create", "role", "reader", "--verb", "get,list", "--resource", "configmaps")...)
	k.run("create an account", "", in("create", "serviceaccount", "robot")...)
	k.run("bind the role", "", in("create", "rolebinding", "robot", "--role", "reader", "--serviceaccount", ns+":robot")...)
	k.run("can the account list", "", in("auth", "can-i", "list", "configmaps", "--as", "system:serviceaccount:"+ns+":robot")...)
	k.run("can the account delete", "", in("auth", "can-i", "delete", "configmaps", "--as", "system:serviceaccount:"+ns+":robot")...)
	k.run("can I do anything", "", "auth", "can-i", "*", "*")
	k.run("explain a field", "", "explain", "widget.spec.color")
	k.run("explain a kind", "", "explain", "widget")
	k.run("explain a plan", "", "explain", "plan.spec.warm", "--api-version", "forklift.konveyor.io/v1beta1")
	k.run("explain a machine", "", "explain", "virtualmachine.spec.runStrategy")
	k.run("explain nothing", "", "explain", "widget.spec.none")
	k.run("resources of a group", "", "api-resources", "--api-group", "conformance.example", "--no-headers")
	k.run("resources of MTV", "", "api-resources", "--api-group", "forklift.konveyor.io", "--no-headers", "-o", "wide", "--sort-by", "name")
	k.run("events", "", in("events")...)
	k.watch(ns)
	k.run("delete by file", thingsForKubectl, in("delete", "-f", "-", "--wait")...)
	k.run("delete by label", "", in("delete", "configmap", "-l", "app=diff")...)
	k.run("delete what is not there", "", in("delete", "wg", "one")...)
	k.run("delete without a word", "", in("delete", "wg", "one", "--ignore-not-found")...)
	k.run("delete the namespace", "", "delete", "namespace", ns, "--wait", "--timeout", "60s")
	k.run("get the namespace", "", "get", "namespace", ns)
}

// watch keeps what `kubectl get --watch` prints while others write.
func (k *kubectl) watch(ns string) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.path, "-n", ns, "get", "wg", "--watch", "-o", "custom-columns=NAME:.metadata.name,SIZE:.spec.size", "--no-headers")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig, "HOME="+k.home)
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			if line := scanner.Text(); strings.TrimSpace(line) != "" {
				lines <- line
			}
		}
	}()
	var seen []any
	next := func() {
		select {
		case line := <-lines:
			seen = append(seen, blanksForm.ReplaceAllString(strings.TrimSpace(line), " "))
		case <-ctx.Done():
		}
	}
	next()
	k.run("change what is watched", "", "-n", ns, "patch", "wg", "one", "--type", "merge", "-p", `{"spec":{"size":9}}`)
	next()
	k.seen = append(k.seen, exchange{Step: "watch", Seen: map[string]any{"lines": seen}})
	cancel()
	_ = cmd.Wait()
}

func TestKubectlSaysTheSameOfBothServers(t *testing.T) {
	t.Parallel()
	path := harness.Tool(t, "kubectl", harness.KubernetesVersion())
	listed := listedDifferences(t)
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--without", "nodes")
	real := newSide(t, "real", cluster.URL, cluster.Token, cluster.CAFile)
	embedded := newSide(t, "lab", lab.URL, lab.Token, lab.CAFile)
	for _, on := range []*side{real, embedded} {
		installWidgets(t, on)
	}
	embedded.installCRDs(t, harness.CRDs(t))
	theirs := &kubectl{t: t, path: path, home: t.TempDir(), kubeconfig: cluster.Kubeconfig}
	ours := &kubectl{t: t, path: path, home: t.TempDir(), kubeconfig: lab.Kubeconfig}
	done := make(chan struct{})
	go func() { defer close(done); theirs.play() }()
	ours.play()
	<-done
	differ := compareRuns("kubectl", theirs.seen, ours.seen)
	left, unlisted := judge(t, differ, listed, "kubectl/")
	fmt.Printf("kubectl: %d commands compared on both servers; %d unlisted differences; %d left\n", len(ours.seen), unlisted, left)
}

func TestThePythonClientWorksTheSameOnBothServers(t *testing.T) {
	t.Parallel()
	python := harness.Python(t)
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--without", "nodes")
	real := newSide(t, "real", cluster.URL, cluster.Token, cluster.CAFile)
	embedded := newSide(t, "lab", lab.URL, lab.Token, lab.CAFile)
	for _, on := range []*side{real, embedded} {
		installWidgets(t, on)
	}
	embedded.installCRDs(t, harness.CRDs(t))
	script := filepath.Join(harness.Root(), "conformance", "python", "kubernetes_client.py")
	var printed []string
	for _, kubeconfig := range []string{cluster.Kubeconfig, lab.Kubeconfig} {
		code, out, errors := program(t, nil, "", python, script, kubeconfig)
		if code != 0 {
			t.Fatalf("%s: exit %d\n%s\n%s", kubeconfig, code, out, errors)
		}
		printed = append(printed, out)
	}
	if printed[0] != printed[1] {
		t.Errorf("the client sees different things\nreal:\n%s\nlab:\n%s", printed[0], printed[1])
	}
	fmt.Printf("python client: %d steps alike on both servers\n", strings.Count(printed[0], "\n"))
}

// vsphere is the lab's endpoint with its login, from the providers.json that the lab wrote.
func vsphere(t *testing.T, lab *harness.Lab) *url.URL {
	t.Helper()
	text, err := os.ReadFile(lab.Providers)
	if err != nil {
		t.Fatal(err)
	}
	var providers map[string]struct {
		URL      string `json:"api_url"`
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := json.Unmarshal(text, &providers); err != nil {
		t.Fatal(err)
	}
	endpoint, err := url.Parse(providers["vsphere"].URL)
	if err != nil {
		t.Fatal(err)
	}
	endpoint.User = url.UserPassword(providers["vsphere"].Username, providers["vsphere"].Password)
	return endpoint
}

func TestGovcManagesTheLabsVirtualMachines(t *testing.T) {
	t.Parallel()
	path := harness.Tool(t, "govc", harness.Version("govc", "github.com/vmware/govmomi"))
	lab := harness.StartLab(t, "--without", "nodes")
	endpoint := vsphere(t, lab)
	password, _ := endpoint.User.Password()
	env := []string{
		"GOVC_URL=" + endpoint.Scheme + "://" + endpoint.Host + endpoint.Path, "GOVC_USERNAME=" + endpoint.User.Username(),
		"GOVC_PASSWORD=" + password, "GOVC_TLS_CA_CERTS=" + lab.CAFile, "GOVMOMI_HOME=" + t.TempDir(), "GOVC_PERSIST_SESSION=false",
	}
	steps := 0
	govc := func(want string, args ...string) string {
		t.Helper()
		steps++
		code, out, errors := program(t, env, "", path, args...)
		if code != 0 {
			t.Fatalf("govc %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errors)
		}
		if !regexp.MustCompile(want).MatchString(out) {
			t.Fatalf("govc %s: no %q in\n%s", strings.Join(args, " "), want, out)
		}
		return out
	}
	const source, clone = "mtv-tests-rhel8", "govc-clone"
	govc("(?s)Name: .*VMware vCenter Server.*API version: +8", "about")
	govc("/vm\n(?s).*/host\n", "ls")
	govc("/vm/.*mtv-tests-rhel8", "find", "/", "-type", "m", "-name", source)
	govc("datastore1", "datastore.info")
	host, _, _ := strings.Cut(govc("/host/", "find", "/", "-type", "h"), "\n")
	govc("Name: ", "host.info", "-host", host)
	govc("(?s)CPU Usage:.*Mem Usage:", "pool.info", "*/Resources")
	govc(source+"(?s).*Power state:", "vm.info", source)
	govc(`"virtualMachines"`, "vm.info", "-json", source)
	govc("disk-", "device.ls", "-vm", source)
	govc("ethernet-", "device.info", "-vm", source, "ethernet-*")
	govc("", "vm.clone", "-vm", source, "-ds", "datastore1", "-pool", "*/Resources", "-on=false", clone)
	govc("poweredOff", "object.collect", "-s", "vm/"+clone, "runtime.powerState")
	govc("", "vm.change", "-vm", clone, "-c", "3", "-m", "3072", "-annotation", "made by govc", "-e", "ctkEnabled=true")
	govc("(?s)CPU: +3.*", "vm.info", clone)
	govc("made by govc", "object.collect", "-s", "vm/"+clone, "config.annotation")
	govc("", "snapshot.create", "-vm", clone, "-m=false", "first")
	govc("", "snapshot.create", "-vm", clone, "-m=false", "second")
	govc("(?s)first.*second", "snapshot.tree", "-vm", clone)
	govc("", "snapshot.remove", "-vm", clone, "second")
	govc("", "snapshot.remove", "-vm", clone, "*")
	govc("", "vm.power", "-on", clone)
	govc("poweredOn", "object.collect", "-s", "vm/"+clone, "runtime.powerState")
	govc(`\d+\.\d+\.\d+\.\d+`, "vm.ip", "-wait", "30s", clone)
	govc("", "vm.power", "-s=true", "-wait", clone)
	// The guest shuts down in its own time: the request for it is no task.
	for end := time.Now().Add(30 * time.Second); !strings.Contains(govc("", "object.collect", "-s", "vm/"+clone, "runtime.powerState"), "Off"); {
		if time.Now().After(end) {
			t.Fatal("the guest did not shut down")
		}
		time.Sleep(200 * time.Millisecond)
	}
	govc("", "vm.power", "-on", clone)
	govc("", "vm.power", "-off", clone)
	govc("", "vm.markastemplate", clone)
	govc("", "vm.markasvm", "-pool", "*/Resources", clone)
	govc("", "object.rename", "vm/"+clone, clone+"-2")
	govc("", "vm.destroy", clone+"-2")
	if out := govc("", "find", "/", "-type", "m", "-name", clone+"*"); strings.TrimSpace(out) != "" {
		t.Errorf("the clone is still there: %s", out)
	}
	govc(".", "session.ls")
	fmt.Printf("govc: %d commands against the lab's vSphere\n", steps)
}

func TestPyvmomiManagesTheLabsVirtualMachines(t *testing.T) {
	t.Parallel()
	python := harness.Python(t)
	lab := harness.StartLab(t, "--without", "nodes")
	endpoint := vsphere(t, lab)
	password, _ := endpoint.User.Password()
	script := filepath.Join(harness.Root(), "conformance", "python", "vsphere.py")
	code, out, errors := program(t, []string{"VSPHERE_PASSWORD=" + password}, "", python, script,
		endpoint.Hostname(), endpoint.Port(), endpoint.User.Username(), lab.CAFile)
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, errors)
	}
	fmt.Printf("pyvmomi: %d steps against the lab's vSphere\n", strings.Count(out, "\n"))
}
