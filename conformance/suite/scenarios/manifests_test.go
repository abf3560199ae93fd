package scenarios

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mtv-matrix/conformance/suite/harness"
)

// Every kustomization, as `kubectl apply -k --dry-run=server` with strict validation would see it.
func TestEveryKustomizationIsStrictlyValidOnARealAPIServer(t *testing.T) {
	t.Parallel()
	cluster := harness.Start(t)
	// MTV and OpenShift's monitoring bring these.
	for _, name := range []string{"openshift-mtv", "openshift-monitoring"} {
		namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
		if err := cluster.Apply(t, namespace, false); err != nil {
			t.Fatal(err)
		}
	}
	var folders []string
	for _, pattern := range []string{"manifests/*/kustomization.yaml", "manifests/*/*/kustomization.yaml"} {
		found, err := filepath.Glob(filepath.Join(harness.Root(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, found...)
	}
	if len(folders) < 3 {
		t.Fatalf("only %d kustomizations: %v", len(folders), folders)
	}
	for _, file := range folders {
		folder, err := filepath.Rel(harness.Root(), filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(folder, func(t *testing.T) {
			objects := harness.Kustomize(t, folder)
			// The Prometheus operator's CRDs are not here; the runner's tests hold what its rules ask for.
			objects = slices.DeleteFunc(objects, func(object *unstructured.Unstructured) bool {
				return object.GetKind() == "PrometheusRule"
			})
			strictlyValid(t, cluster, objects)
			t.Logf("%d objects", len(objects))
		})
	}
	t.Run("files outside of kustomizations", func(t *testing.T) {
		for _, file := range []string{"manifests/results-pod.yaml", "manifests/base/secret.example.yaml"} {
			text, err := os.ReadFile(filepath.Join(harness.Root(), file))
			if err != nil {
				t.Fatal(err)
			}
			strictlyValid(t, cluster, harness.Parse(t, string(text)))
		}
	})
	t.Run("a Job with an unknown field is refused", func(t *testing.T) {
		for _, object := range harness.Kustomize(t, "manifests/base") {
			if object.GetKind() != "Job" {
				continue
			}
			if err := unstructured.SetNestedField(object.Object, "x", "spec", "template", "spec", "inventedField"); err != nil {
				t.Fatal(err)
			}
			err := cluster.Apply(t, object, true)
			if err == nil || !strings.Contains(err.Error(), "inventedField") {
				t.Errorf("not refused: %v", err)
			}
			return
		}
		t.Error("there is no Job")
	})
}

// strictlyValid dry-runs the objects; their namespaces and the account of their pods must be there.
func strictlyValid(t *testing.T, cluster *harness.Cluster, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, object := range objects {
		if kind := object.GetKind(); kind == "Namespace" || kind == "ServiceAccount" {
			if err := cluster.Apply(t, object, false); err != nil {
				t.Errorf("%s %s: %v", kind, object.GetName(), err)
			}
		}
	}
	for _, object := range objects {
		if err := cluster.Apply(t, object, true); err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}
