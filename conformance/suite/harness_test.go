package suite

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mtv-matrix/conformance/suite/harness"
)

func TestTheControlPlaneServesTheRealCRDsAndEndsNamespaces(t *testing.T) {
	t.Parallel()
	cluster := harness.Start(t)
	client := cluster.Kubernetes(t)
	ctx := context.Background()
	groups, err := cluster.Discovery(t).ServerResourcesForGroupVersion("forklift.konveyor.io/v1beta1")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, resource := range groups.APIResources {
		kinds[resource.Name] = true
	}
	for _, want := range []string{"plans", "plans/status", "migrations", "providers", "storagemaps", "networkmaps", "hooks"} {
		if !kinds[want] {
			t.Errorf("no %s among %v", want, kinds)
		}
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "comes-and-goes"}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(ctx, namespace.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := harness.Eventually(time.Minute, func() error {
		_, err := client.CoreV1().Namespaces().Get(ctx, namespace.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("the namespace is still there (%v)", err)
	}); err != nil {
		t.Fatal(err)
	}
}
