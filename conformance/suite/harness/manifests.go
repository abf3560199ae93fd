package harness

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Kustomize builds a kustomization of the project, as `kustomize build` does.
func Kustomize(t testing.TB, dir string) []*unstructured.Unstructured {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(Root(), dir))
	if err != nil {
		t.Fatalf("kustomize build %s: %v", dir, err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return Parse(t, string(text))
}

// Parse reads the documents of a YAML stream.
func Parse(t testing.TB, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}

// Apply creates an object with strict validation, or replaces it; dry: only as far as validation goes.
func (c *Cluster) Apply(t testing.TB, object *unstructured.Unstructured, dry bool) error {
	t.Helper()
	mapping, err := c.mapping(t, object.GroupVersionKind())
	if err != nil {
		return err
	}
	resource := c.Dynamic(t).Resource(mapping.Resource)
	namespaced := resource.Namespace(object.GetNamespace())
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		namespaced = resource
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	create := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	update := metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict}
	if dry {
		create.DryRun, update.DryRun = []string{metav1.DryRunAll}, []string{metav1.DryRunAll}
	}
	_, err = namespaced.Create(ctx, object, create)
	if apierrors.IsAlreadyExists(err) {
		there, err := namespaced.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		object = object.DeepCopy()
		object.SetResourceVersion(there.GetResourceVersion())
		_, err = namespaced.Update(ctx, object, update)
		return err
	}
	return err
}

// mapping finds the resource of a kind; what was discovered is kept until a kind is missing.
func (c *Cluster) mapping(t testing.TB, kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	t.Helper()
	if c.mapper != nil {
		if found, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version); err == nil {
			return found, nil
		}
	}
	groups, err := restmapper.GetAPIGroupResources(c.Discovery(t))
	if err != nil {
		return nil, err
	}
	c.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	return c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
}
