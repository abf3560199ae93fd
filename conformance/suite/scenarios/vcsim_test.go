package scenarios

import (
	"path/filepath"
	"testing"

	"mtv-matrix/conformance/suite/harness"
	"mtv-matrix/conformance/suite/vcsim"
)

// Base scenarios of vSphere beyond the sanity ones, from vcsim by the lab's MTV. Those are not here that need what vcsim
// has not: guests with a file system (LUKS, XFS of version 4, shared data, deep inspection), arrays, ESXi's SSH.
var further = []string{
	"test_ca_crt_cold_migration",
	"test_insecure_skip_verify_cold_migration",
	"test_cold_dual_nic_same_network_migration",
	"test_plan_archive_pvc_cleanup",
	"test_mtv_clusterrole_warm_migration",
	"test_mtv_clusterrole_warm_migration_with_scc",
	"nested_virtualization_off",
	"added_nic_disconnected",
}

func TestFurtherScenariosOnVcsim(t *testing.T) {
	t.Parallel()
	sim := vcsim.Start(t, harness.ServerCertificate(t))
	lab := harness.StartLab(t, "--mtv-version", "2.12", "--clock-scale", "1500")
	providers := filepath.Join(t.TempDir(), "providers.json")
	sim.WriteProviders(t, providers)
	args := harness.OnCluster(lab.Kubeconfig, providers, "-p", "vsphere", "--set", "timeouts.guest_info=15s",
		"--set", "insecure_verify_skip=false")
	for _, scenario := range further {
		args = append(args, "-s", scenario)
	}
	got := harness.Run(t, args...)
	report(t, "vcsim", got)
	for _, scenario := range further {
		cell, ran := got.Cells["vsphere/"+scenario]
		if !ran || cell.Verdict != "passed" {
			t.Errorf("%s: %q %v", scenario, cell.Verdict, cell.Details)
		}
	}
	if got.ExitCode != 0 {
		t.Errorf("exit code %d\n%s", got.ExitCode, got.Output)
	}
	for _, left := range sim.Leftovers(t) {
		t.Errorf("left behind on vcsim: %s", left)
	}
}
