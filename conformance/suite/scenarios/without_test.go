package scenarios

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mtv-matrix/conformance/suite/harness"
)

// Who runs MTV on the same API server gets everything around it: platforms, KubeVirt, storage.
func TestALabWithoutMTVLeavesMTVToOthers(t *testing.T) {
	t.Parallel()
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--on", cluster.Kubeconfig, "--without", "mtv")
	ctx := context.Background()
	classes, err := cluster.Kubernetes(t).StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil || len(classes.Items) == 0 {
		t.Errorf("no storage classes: %v", err)
	}
	_, err = cluster.Kubernetes(t).AppsV1().Deployments("openshift-mtv").Get(ctx, "forklift-controller", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the lab has an MTV of its own: %v", err)
	}
	t.Log(lab.Process.Tail())
}
