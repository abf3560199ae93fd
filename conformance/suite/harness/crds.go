package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	clientset "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// InstallCRDs creates every CRD of a folder and waits until all are established.
func (c *Cluster) InstallCRDs(t testing.TB, dir string) {
	t.Helper()
	client, err := clientset.NewForConfig(c.Config(""))
	if err != nil {
		t.Fatal(err)
	}
	api := client.ApiextensionsV1().CustomResourceDefinitions()
	ctx := context.Background()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensions.CustomResourceDefinition
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		// Groups below k8s.io want to be told that somebody approved of them.
		if strings.HasSuffix(crd.Spec.Group, ".k8s.io") && crd.Annotations["api-approved.kubernetes.io"] == "" {
			if crd.Annotations == nil {
				crd.Annotations = map[string]string{}
			}
			crd.Annotations["api-approved.kubernetes.io"] = "unapproved, conformance suite"
		}
		if _, err := api.Create(ctx, &crd, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if err := Eventually(time.Minute, func() error { return established(ctx, c, client, len(files)) }); err != nil {
		t.Fatal(err)
	}
}

// established is an error while a CRD is not served, or for ever when its schema is not structural.
func established(ctx context.Context, c *Cluster, client *clientset.Clientset, want int) error {
	list, err := client.ApiextensionsV1().CustomResourceDefinitions().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	served := 0
	for _, crd := range list.Items {
		for _, condition := range crd.Status.Conditions {
			yes := condition.Status == apiextensions.ConditionTrue
			if condition.Type == apiextensions.Established && yes {
				served++
			}
			if condition.Type == apiextensions.NonStructuralSchema && yes {
				return fmt.Errorf("%s has no structural schema: %s", crd.Name, condition.Message)
			}
		}
	}
	if served < want {
		return fmt.Errorf("%d of %d CRDs are established", served, want)
	}
	return nil
}
