package scenarios

import (
	"path/filepath"
	"slices"
	"testing"

	"mtv-matrix/conformance/suite/harness"
	"mtv-matrix/conformance/suite/vcsim"
)

// Everything runs as the Job would: with the rights of manifests/base, measured at the end.
func TestTheShippedScenariosOnARealAPIServer(t *testing.T) {
	t.Parallel()
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--on", cluster.Kubeconfig)
	kubeconfig, granted := jobAccess(t, cluster, lab, nil)
	sim := vcsim.Start(t, harness.ServerCertificate(t))
	providers := filepath.Join(t.TempDir(), "providers.json")
	sim.WriteProviders(t, providers)

	// The three mostly wait, for the real namespaces to go above all, and each asks about its own run only.
	var want, got, simulated *harness.Result
	t.Run("run beside each other", func(t *testing.T) {
		beside(t, "on the embedded lab", func(t *testing.T) { want = embedded(t) })
		beside(t, "on the real API server", func(t *testing.T) {
			got = harness.Run(t, harness.OnCluster(kubeconfig, lab.Providers, manyAtOnce...)...)
			nothingLeft(t, cluster, got.Run)
		})
		beside(t, "on vcsim", func(t *testing.T) {
			// Its guests are never ready for a marker: no need to wait for long.
			simulated = harness.Run(t, harness.OnCluster(kubeconfig, providers, slices.Concat(manyAtOnce, []string{"--set", "timeouts.guest_info=15s"})...)...)
			nothingLeft(t, cluster, simulated.Run)
		})
	})
	if want == nil || got == nil || simulated == nil {
		return // Said by the run that did not end.
	}
	report(t, "embedded", want)
	t.Run("end as on the embedded lab", func(t *testing.T) {
		compare(t, "real API server", want, got)
	})
	t.Run("make only what the schemas know", func(t *testing.T) {
		everythingIsStrictlyValid(t, cluster, want)
	})
	t.Run("end on vcsim as on the lab's vSphere", func(t *testing.T) {
		compare(t, "real API server and vcsim", withoutMarkers(only("vsphere", want)), simulated)
		for _, left := range sim.Leftovers(t) {
			t.Errorf("left behind on vcsim: %s", left)
		}
	})
	t.Run("use the rights of the Job, all of them and no others", func(t *testing.T) {
		measureRights(t, cluster, lab, kubeconfig, granted)
	})
}

// manyAtOnce: a cell on a real API server waits for seconds until its namespace is gone, whatever else runs.
var manyAtOnce = []string{"--set", "jobs=16", "--set", "max_concurrent=8"}

// beside is a subtest that runs beside its siblings.
func beside(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		test(t)
	})
}
