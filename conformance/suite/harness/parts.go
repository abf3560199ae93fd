package harness

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
)

// Names of environment variables that say where the parts are.
const (
	// EnvBinary is the mtv-matrix binary.
	EnvBinary = "MTV_MATRIX_BIN"
	// EnvCache holds the built components, each with its version in its name.
	EnvCache = "MTV_CONFORMANCE_CACHE"
	// EnvCRDs is the folder of the real CRDs; default ../shared/crds beside the project.
	EnvCRDs = "MTV_CONFORMANCE_CRDS"
	// EnvOc is an oc of a cluster's release; default the one on PATH.
	EnvOc = "MTV_CONFORMANCE_OC"
)

// Root is the project's top folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// Version of a module as a go.mod below conformance/ requires it.
func Version(module, required string) string {
	text, err := os.ReadFile(filepath.Join(Root(), "conformance", module, "go.mod"))
	if err != nil {
		return "unknown"
	}
	found := regexp.MustCompile(regexp.QuoteMeta(required) + ` (v\S+)`).FindSubmatch(text)
	if found == nil {
		return "unknown"
	}
	return string(found[1])
}

// KubernetesVersion of the API server and the controller manager.
func KubernetesVersion() string { return Version("apiserver", "k8s.io/kubernetes") }

// EtcdVersion of the store.
func EtcdVersion() string { return Version("etcd", "go.etcd.io/etcd/server/v3") }

func cache() string {
	if dir := os.Getenv(EnvCache); dir != "" {
		return dir
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".cache", "mtv-matrix", "conformance")
}

// component is a built binary in the cache; the test is skipped without it.
func component(t testing.TB, name, version string) string {
	t.Helper()
	path := filepath.Join(cache(), fmt.Sprintf("%s-%s", name, version))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s %s in %s: run conformance/run, which builds it", name, version, cache())
	}
	return path
}

// CRDs is the folder of the real CRDs; the test is skipped without it.
func CRDs(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(EnvCRDs)
	if dir == "" {
		dir = "../shared/crds"
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(Root(), dir)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*.yaml")); len(found) == 0 {
		t.Skipf("no CRDs in %s: set %s", dir, EnvCRDs)
	}
	return dir
}

// Binary is the mtv-matrix binary; the test is skipped without it.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv(EnvBinary)
	if path == "" {
		t.Skipf("no mtv-matrix binary: set %s", EnvBinary)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v", EnvBinary, err)
	}
	return path
}

// Tool is a built client that others wrote; the test is skipped without it.
func Tool(t testing.TB, name, version string) string {
	t.Helper()
	return component(t, name, version)
}

// Oc is OpenShift's command line: no registry has it, so it is taken from MTV_CONFORMANCE_OC or PATH; the test is skipped
// without it.
func Oc(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(EnvOc); path != "" {
		return path
	}
	path, err := exec.LookPath("oc")
	if err != nil {
		t.Skipf("no oc on PATH: set %s (no registry has it, so nothing here builds it)", EnvOc)
	}
	return path
}

// Python is the interpreter of the virtual environment that conformance/run makes; the test is
// skipped without it.
func Python(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(cache(), "python-"+pythonKey())
	if _, err := os.Stat(filepath.Join(dir, "ready")); err != nil {
		t.Skipf("no Python with the clients in %s: run conformance/run, which makes it (needs python3)", cache())
	}
	return filepath.Join(dir, "bin", "python")
}

// pythonKey names the environment by the versions in requirements.txt.
func pythonKey() string {
	text, _ := os.ReadFile(filepath.Join(Root(), "conformance", "python", "requirements.txt"))
	return fmt.Sprintf("%x", sha256.Sum256(text))[:12]
}

// Java is the class path of the Java clients that conformance/run builds; the test is skipped without it.
func Java(t testing.TB) string {
	t.Helper()
	var texts []byte
	for _, name := range []string{"pom.xml", "src/main/java/Informer.java"} {
		text, _ := os.ReadFile(filepath.Join(Root(), "conformance", "java", name))
		texts = append(texts, text...)
	}
	dir := filepath.Join(cache(), fmt.Sprintf("java-%x", sha256.Sum256(texts))[:17])
	if _, err := os.Stat(filepath.Join(dir, "ready")); err != nil {
		t.Skipf("no Java clients in %s: run conformance/run, which builds them (needs a JDK and Maven)", cache())
	}
	return filepath.Join(dir, "target", "informer-1.jar") + ":" + filepath.Join(dir, "lib", "*")
}

// FurtherPython is the interpreter of the environment with openshift-python-wrapper and Ansible; the test is skipped
// without it.
func FurtherPython(t testing.TB) string {
	t.Helper()
	text, _ := os.ReadFile(filepath.Join(Root(), "conformance", "python", "further", "requirements.txt"))
	dir := filepath.Join(cache(), fmt.Sprintf("further-%x", sha256.Sum256(text))[:20])
	if _, err := os.Stat(filepath.Join(dir, "ready")); err != nil {
		t.Skipf("no openshift-python-wrapper and Ansible in %s: run conformance/run, which installs them (needs python3)", cache())
	}
	return filepath.Join(dir, "bin", "python")
}
