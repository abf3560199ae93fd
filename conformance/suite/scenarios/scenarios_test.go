package scenarios

import (
	"path/filepath"
	"testing"

	"mtv-matrix/conformance/suite/harness"
	"mtv-matrix/conformance/suite/vcsim"
)

// Everything runs as the Job would: with the rights of manifests/base, measured at the end.
func TestTheShippedScenariosOnARealAPIServer(t *testing.T) {
	want := embedded(t)
	report(t, "embedded", want)
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--on", cluster.Kubeconfig)
	kubeconfig, granted := jobAccess(t, cluster, lab, nil)

	t.Run("end as on the embedded lab", func(t *testing.T) {
		got := harness.Run(t, harness.OnCluster(kubeconfig, lab.Providers)...)
		compare(t, "real API server", want, got)
		nothingLeft(t, cluster, got.Run)
	})
	t.Run("make only what the schemas know", func(t *testing.T) {
		everythingIsStrictlyValid(t, cluster, want)
	})
	t.Run("end on vcsim as on the lab's vSphere", func(t *testing.T) {
		sim := vcsim.Start(t, harness.ServerCertificate(t))
		providers := filepath.Join(t.TempDir(), "providers.json")
		sim.WriteProviders(t, providers)
		// Its guests are never ready for a marker: no need to wait for long.
		got := harness.Run(t, harness.OnCluster(kubeconfig, providers, "--set", "timeouts.guest_info=15s")...)
		compare(t, "real API server and vcsim", withoutMarkers(only("vsphere", want)), got)
		nothingLeft(t, cluster, got.Run)
		for _, left := range sim.Leftovers(t) {
			t.Errorf("left behind on vcsim: %s", left)
		}
	})
	t.Run("use the rights of the Job, all of them and no others", func(t *testing.T) {
		measureRights(t, cluster, lab, kubeconfig, granted)
	})
}
