package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtv-matrix/conformance/suite/harness"
)

// The chart that helm installs: a Deployment that has to come up, a Job before it and a test pod behind.
var chart = map[string]string{
	"Chart.yaml":  "apiVersion: v2\nname: shop\nversion: 0.1.0\n",
	"values.yaml": "replicas: 2\ntext: first\n",
	"templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n" +
		"data: {text: {{ .Values.text | quote }}}\n",
	"templates/deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: web, image: registry.example/web}]}
`,
	"templates/before.yaml": `apiVersion: batch/v1
kind: Job
metadata: {name: {{ .Release.Name }}-before, annotations: {helm.sh/hook: pre-install, helm.sh/hook-delete-policy: hook-succeeded}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: registry.example/job}]}}}
`,
	"templates/test.yaml": `apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-test, annotations: {helm.sh/hook: test}}
spec: {restartPolicy: Never, containers: [{name: try, image: registry.example/try}]}
`,
}

func TestHelmInstallsUpgradesAndUninstallsInTheLab(t *testing.T) {
	t.Parallel()
	path := harness.Tool(t, "helm", harness.Version("helm", "helm.sh/helm/v3"))
	lab := harness.StartLab(t)
	dir := t.TempDir()
	for name, text := range chart {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"KUBECONFIG=" + lab.Kubeconfig, "HOME=" + t.TempDir()}
	steps := 0
	helm := func(want string, args ...string) {
		t.Helper()
		steps++
		code, out, errors := program(t, env, "", path, append(args, "-n", "shop")...)
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("helm %s: exit %d, wanted %q\n%s%s", strings.Join(args, " "), code, want, out, errors)
		}
	}
	helm("STATUS: deployed", "install", "shop", dir, "--create-namespace", "--wait", "--timeout", "60s")
	helm("shop", "list")
	helm("STATUS: deployed", "status", "shop")
	helm("text: \"first\"", "get", "manifest", "shop")
	helm("Phase:          Succeeded", "test", "shop", "--timeout", "60s")
	helm("REVISION: 2", "upgrade", "shop", dir, "--set", "replicas=3,text=second", "--wait", "--timeout", "60s")
	helm("superseded", "history", "shop")
	helm("Rollback was a success", "rollback", "shop", "1", "--wait", "--timeout", "60s")
	helm("uninstalled", "uninstall", "shop", "--wait", "--timeout", "60s")
	fmt.Printf("helm: %d commands against the lab\n", steps)
}

func TestAJavaInformerIsToldOfEachChange(t *testing.T) {
	t.Parallel()
	classes := harness.Java(t)
	lab := harness.StartLab(t, "--without", "nodes")
	code, out, errors := program(t, nil, "", "java", "-cp", classes, "Informer", lab.Kubeconfig)
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, errors)
	}
	fmt.Printf("java informer: %d lines from the lab\n", strings.Count(out, "\n"))
}

func TestOpenshiftPythonWrapperWorksWithTheLab(t *testing.T) {
	t.Parallel()
	python := harness.FurtherPython(t)
	lab := harness.StartLab(t, "--clock-scale", "600")
	script := filepath.Join(harness.Root(), "conformance", "python", "further", "wrapper.py")
	user := []string{"LAB_USER=kubeadmin", "LAB_PASSWORD=lab-admin", "OPENSHIFT_PYTHON_WRAPPER_LOG_LEVEL=ERROR"}
	code, out, errors := program(t, user, "", python, script, lab.Kubeconfig, lab.URL)
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, errors)
	}
	fmt.Printf("openshift-python-wrapper: %d steps against the lab\n", strings.Count(out, "\n"))
}
