package suite

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtv-matrix/conformance/suite/harness"
)

// What sits at a workstation: oc and virtctl, in the order in which somebody uses them.

func TestOcWorksWithTheLab(t *testing.T) {
	t.Parallel()
	path := harness.Oc(t)
	lab := harness.StartLab(t, "--clock-scale", "600")
	home := t.TempDir()
	oc := &tool{t: t, path: path, env: []string{"KUBECONFIG=" + filepath.Join(home, "config"), "HOME=" + home}}

	oc.refused("Login failed", "login", lab.URL, "-u", "kubeadmin", "-p", "wrong", "--certificate-authority="+lab.CAFile)
	oc.run("Login successful", "login", lab.URL, "-u", "kubeadmin", "-p", "lab-admin", "--certificate-authority="+lab.CAFile)
	oc.run("kube:admin", "whoami")
	oc.run("sha256~", "whoami", "-t")
	oc.run(lab.URL, "whoami", "--show-server")
	oc.run("Server Version: 4.", "version")
	oc.run(`Now using project "move-erp"`, "new-project", "move-erp")
	oc.run("move-erp", "project", "-q")
	oc.run("openshift-mtv", "projects")
	if token := oc.run("", "create", "token", "default"); len(token) < 20 {
		t.Fatalf("no token: %q", token)
	}
	oc.run("migrations", "api-resources", "--api-group=forklift.konveyor.io")
	oc.run("targetNamespace", "explain", "plan.spec")
	oc.run("yes", "auth", "can-i", "create", "plans")
	oc.run("forklift", "get", "routes", "-n", "openshift-mtv")
	oc.run("4.", "get", "clusterversion")

	move(oc, lab)
	oc.run("Completed", "get", "pods", "-n", "erp", "-l", "forklift.app=virt-v2v")
	oc.run("virt-v2v monitoring", "logs", "-n", "erp", "-l", "forklift.app=virt-v2v", "--tail=-1")
	oc.run("Succeeded", "describe", "plan", "erp")
	oc.run("mtv-tests-rhel8", "get", "vm", "-n", "erp")
	oc.run("move-erp", "status")
	oc.run("CPU", "adm", "top", "nodes")
	oc.run("secret/login created", "create", "secret", "generic", "login", "--from-literal=user=u")
	oc.run("u", "extract", "secret/login", "--to=-")
	oc.run("added", "adm", "policy", "add-role-to-user", "edit", "somebody")
	oc.run("created", "create", "deployment", "web", "--image=registry.example/web")
	oc.run("successfully rolled out", "rollout", "status", "deployment/web", "--timeout=60s")
	oc.run("web", "rsh", "deployment/web", "hostname")
	oc.run("scaled", "scale", "deployment/web", "--replicas=2")
	inspected := filepath.Join(home, "inspect")
	oc.run("", "adm", "inspect", "ns/erp", "--dest-dir="+inspected)
	if found, _ := filepath.Glob(filepath.Join(inspected, "namespaces", "erp", "*.yaml")); len(found) == 0 {
		t.Fatalf("oc adm inspect left nothing of the namespace in %s", inspected)
	}
	oc.run("authentication", "get", "clusteroperators")
	oc.run("Cluster version is", "get", "clusterversion")
	gathered(t, oc, home)
	oc.run("", "rsync", inspected+"/", pod(oc, "app=web")+":/tmp", "--strategy=tar")
	back := filepath.Join(home, "back")
	if err := os.Mkdir(back, 0o755); err != nil {
		t.Fatal(err)
	}
	oc.run("", "rsync", pod(oc, "app=web")+":/tmp/", back, "--strategy=tar")
	if found, _ := filepath.Glob(filepath.Join(back, "namespaces", "erp", "*.yaml")); len(found) == 0 {
		t.Fatalf("oc rsync brought nothing of the namespace to %s", back)
	}
	oc.run("deleted", "delete", "project", "erp")
	oc.run("Logged", "logout")
	oc.refused("system:anonymous", "whoami")
	fmt.Printf("oc: %d commands against the lab\n", oc.steps)
}

// pod is the name of the first one with a label.
func pod(p *tool, label string) string {
	return strings.TrimSpace(p.run("", "get", "pods", "-l", label, "-o", "jsonpath={.items[0].metadata.name}"))
}

// gathered has oc gather with OpenShift's own image and with MTV's, and looks at what came.
func gathered(t *testing.T, oc *tool, home string) {
	t.Helper()
	own := filepath.Join(home, "gathered")
	oc.run("All healthy and stable", "adm", "must-gather", "--dest-dir="+own)
	if found, _ := filepath.Glob(filepath.Join(own, "*", "namespaces", "openshift-mtv", "forklift.konveyor.io", "providers", "host.yaml")); len(found) != 1 {
		t.Fatalf("must-gather left no Provider in %s", own)
	}
	of := filepath.Join(home, "gathered-mtv")
	oc.run("Tarring must-gather artifacts", "adm", "must-gather", "--dest-dir="+of, "--image=registry.redhat.io/migration-toolkit-virtualization/mtv-must-gather-rhel8:2.11")
	found, _ := filepath.Glob(filepath.Join(of, "*", "must-gather.tar.gz"))
	if len(found) != 1 {
		t.Fatalf("MTV's must-gather left no archive in %s", of)
	}
	listed, err := exec.Command("tar", "tzf", found[0]).Output()
	if err != nil || !strings.Contains(string(listed), "must-gather/namespaces/move-erp/crs/plans.forklift.konveyor.io/erp.yaml") {
		t.Fatalf("MTV's must-gather has no Plan: %v\n%s", err, listed)
	}
}

func TestKubectlForwardsPortsOfThePodsInTheLab(t *testing.T) {
	t.Parallel()
	path := harness.Tool(t, "kubectl", harness.KubernetesVersion())
	lab := harness.StartLab(t, "--clock-scale", "600")
	env := []string{"KUBECONFIG=" + lab.Kubeconfig, "HOME=" + t.TempDir()}
	kubectl := &tool{t: t, path: path, env: env}
	kubectl.fed("apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: v}\nspec: {runStrategy: Always, template: {spec: {domain: "+
		"{devices: {interfaces: [{name: a, masquerade: {}}]}, memory: {guest: 1Gi}}, networks: [{name: a, pod: {}}]}}}\n", "created", "apply", "-f", "-")
	kubectl.run("condition met", "wait", "--for=condition=Ready", "vmi/v", "--timeout=60s")
	kubectl.run("condition met", "wait", "--for=condition=Ready", "pod", "-l", "kubevirt.io=virt-launcher", "--timeout=60s")
	launcher := pod(kubectl, "kubevirt.io=virt-launcher")
	for _, way := range []string{"true", "false"} {
		// By WebSockets, and as kubectl did before 1.31.
		by := &tool{t: t, path: path, env: append(env, "KUBECTL_PORT_FORWARD_WEBSOCKETS="+way, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS="+way)}
		port := harness.FreePort(t)
		by.serves(t, fmt.Sprint(port), "SSH-2.0", "port-forward", launcher, fmt.Sprintf("%d:22", port))
		by.run(launcher, "exec", launcher, "--", "hostname")
		by.fed("hostname\n", launcher, "exec", "-i", launcher, "--", "sh")
		by.refused("exit code 3", "exec", launcher, "--", "sh", "-c", "exit 3")
		kubectl.steps += by.steps
	}
	// The inventory, as its Service finds it.
	port := harness.FreePort(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	forward := exec.CommandContext(ctx, path, "port-forward", "-n", "openshift-mtv", "svc/forklift-inventory", fmt.Sprintf("%d:8443", port))
	forward.Env = append(os.Environ(), env...)
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	defer forward.Wait()
	defer forward.Process.Kill()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for ctx.Err() == nil {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/providers", port), nil)
		request.Header.Set("Authorization", "Bearer "+lab.Token)
		answer, err := client.Do(request)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		defer answer.Body.Close()
		if text, _ := io.ReadAll(answer.Body); !strings.Contains(string(text), `"openshift"`) {
			t.Fatalf("the inventory says %s", text)
		}
		fmt.Printf("port-forward: %d commands against the lab\n", kubectl.steps+1)
		return
	}
	t.Fatal("nobody answered on the inventory's port")
}

func TestVirtctlWorksWithTheLab(t *testing.T) {
	t.Parallel()
	path := harness.Tool(t, "virtctl", harness.Version("virtctl", "kubevirt.io/kubevirt"))
	kubectlPath := harness.Tool(t, "kubectl", harness.KubernetesVersion())
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh, which virtctl calls: install OpenSSH's client")
	}
	lab := harness.StartLab(t, "--clock-scale", "600")
	home := t.TempDir()
	env := []string{"KUBECONFIG=" + lab.Kubeconfig, "HOME=" + home}
	kubectl := &tool{t: t, path: kubectlPath, env: env}
	kubectl.fed("apiVersion: project.openshift.io/v1\nkind: ProjectRequest\nmetadata: {name: move-erp}\n", "created", "create", "-f", "-")
	kubectl.run("modified", "config", "set-context", "--current", "--namespace", "move-erp")
	move(kubectl, lab)
	kubectl.run("modified", "config", "set-context", "--current", "--namespace", "erp")
	virtctl := &tool{t: t, path: path, env: env}
	const vm = "mtv-tests-rhel8"
	agent := func() {
		t.Helper()
		kubectl.run("condition met", "wait", "--for=condition=AgentConnected", "--timeout=60s", "vmi/"+vm)
	}

	// A key of one's own, which KubeVirt puts into the guest.
	key := filepath.Join(home, "id")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	kubectl.run("created", "create", "secret", "generic", "keys", "--from-file=own="+key+".pub")
	kubectl.run("patched", "patch", "vm", vm, "--type", "merge", "-p", `{"spec":{"template":{"spec":{"accessCredentials":`+
		`[{"sshPublicKey":{"source":{"secret":{"secretName":"keys"}},"propagationMethod":{"qemuGuestAgent":{"users":["root"]}}}}]}}}}`)

	virtctl.run("Server Version", "version")
	virtctl.run("was scheduled to start", "start", vm)
	agent()
	virtctl.refused("already running", "start", vm)
	virtctl.run("Red Hat Enterprise Linux", "guestosinfo", vm)
	virtctl.run(`"mountPoint": "/"`, "fslist", vm)
	virtctl.run("items", "userlist", vm)

	quiet := []string{"--identity-file", key, "-t", "-oStrictHostKeyChecking=no", "-t", "-oUserKnownHostsFile=/dev/null", "-t", "-oBatchMode=yes"}
	ssh := func(want, command string) {
		t.Helper()
		virtctl.run(want, append([]string{"ssh", "root@vm/" + vm, "--command", command}, quiet...)...)
	}
	ssh(vm, "hostname")
	file := filepath.Join(home, "notes.txt")
	if err := os.WriteFile(file, []byte("moved\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	virtctl.run("", append([]string{"scp", file, "root@vm/" + vm + ":/root/notes.txt"}, quiet...)...)
	ssh("moved", "cat /root/notes.txt")
	virtctl.run("", append([]string{"scp", "root@vm/" + vm + ":/root/notes.txt", file + ".back"}, quiet...)...)
	if text, _ := os.ReadFile(file + ".back"); string(text) != "moved\n" {
		t.Fatalf("scp brought back %q", text)
	}

	port := harness.FreePort(t)
	virtctl.serves(t, fmt.Sprint(port), "SSH-2.0", "port-forward", "vm/"+vm, fmt.Sprintf("%d:22", port))
	screen := harness.FreePort(t)
	virtctl.serves(t, fmt.Sprint(screen), "RFB 003.008", "vnc", vm, "--proxy-only", "--port", fmt.Sprint(screen))
	picture := filepath.Join(home, "screen.png")
	virtctl.run("", "vnc", "screenshot", vm, "--file", picture)
	if png, _ := os.ReadFile(picture); !bytes.HasPrefix(png, []byte("\x89PNG")) {
		t.Fatalf("the screenshot is no PNG: %d bytes", len(png))
	}

	virtctl.run("was scheduled to pause", "pause", "vm", vm)
	kubectl.run("condition met", "wait", "--for=condition=Paused", "--timeout=30s", "vmi/"+vm)
	virtctl.run("was scheduled to unpause", "unpause", "vm", vm)
	virtctl.run("was scheduled to soft-reboot", "soft-reboot", vm)
	agent()
	kubectl.fed("apiVersion: cdi.kubevirt.io/v1beta1\nkind: DataVolume\nmetadata: {name: more}\n"+
		"spec: {source: {blank: {}}, storage: {resources: {requests: {storage: 1Gi}}}}\n", "created", "apply", "-f", "-")
	virtctl.run("Successfully submitted add volume", "addvolume", vm, "--volume-name=more", "--persist")
	kubectl.run("Ready", "wait", "--for=jsonpath={.status.volumeStatus[?(@.name=='more')].phase}=Ready", "--timeout=30s", "vmi/"+vm, "-o", "jsonpath={.status.volumeStatus[*].phase}")
	virtctl.run("Successfully submitted remove volume", "removevolume", vm, "--volume-name=more", "--persist")
	image := filepath.Join(home, "disk.img")
	if err := os.WriteFile(image, make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	upload := []string{"--image-path", image, "--insecure", "--size"}
	virtctl.run("completed successfully", append([]string{"image-upload", "dv", "golden"}, append(upload, "1Gi")...)...)
	kubectl.run("Succeeded", "get", "dv", "golden")
	virtctl.refused("already successfully", append([]string{"image-upload", "dv", "golden"}, append(upload, "1Gi")...)...)
	virtctl.run("completed successfully", append([]string{"image-upload", "pvc", "plain"}, append(upload, "1Gi")...)...)
	virtctl.refused("larger", append([]string{"image-upload", "dv", "small"}, append(upload, "1Mi")...)...)
	virtctl.refused("memory", "memory-dump", "get", vm, "--claim-name=dump", "--create-claim")
	virtctl.run("was scheduled to migrate", "migrate", vm)
	virtctl.run("kind: VirtualMachine", "expand", "--vm", vm, "--output", "yaml")
	virtctl.run("was scheduled to restart", "restart", vm)
	agent()
	virtctl.run("was scheduled to stop", "stop", vm)
	kubectl.run("", "wait", "--for=delete", "--timeout=60s", "vmi/"+vm)
	virtctl.refused("does not support manual restart", "restart", vm)
	fmt.Printf("virtctl: %d commands against the lab, %d of kubectl beside them\n", virtctl.steps, kubectl.steps)
}

// serves starts a client that listens, and reads from its port how the other end greets.
func (p *tool) serves(t *testing.T, port, greeting string, args ...string) {
	t.Helper()
	p.steps++
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env = append(os.Environ(), p.env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for ctx.Err() == nil {
		line, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		defer line.Close()
		_ = line.SetReadDeadline(time.Now().Add(10 * time.Second))
		start := make([]byte, len(greeting))
		if _, err := io.ReadFull(bufio.NewReader(line), start); err == nil && string(start) == greeting {
			return
		}
		break
	}
	t.Fatalf("%s: nobody greeted with %q", strings.Join(args, " "), greeting)
}
