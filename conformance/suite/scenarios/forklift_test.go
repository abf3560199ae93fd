package scenarios

import (
	"os"
	"strings"
	"testing"

	"mtv-matrix/conformance/suite/harness"
)

// Warm ones take minutes, because the precopy interval's least is one minute: they are left to who names a build.
var quickWithForklift = []string{
	"-s", "test_sanity_cold_mtv_migration", "-s", "test_cold_migration_comprehensive",
	"-s", "test_post_hook_retain_failed_vm", "-s", "test_cold_remote_ocp",
}

// The real Forklift on an API server that is nobody's imitation, with the rights of the Job.
func TestTheRealForkliftOnARealAPIServer(t *testing.T) {
	builds := harness.Forklifts()
	if len(builds) == 0 {
		t.Skipf("no build of Forklift: set %s to a folder as `--forklift` takes it", harness.EnvForklift)
	}
	for _, build := range builds {
		t.Run(build.Version, func(t *testing.T) {
			cluster := harness.Start(t)
			lab := harness.StartLab(t, "--on", cluster.Kubeconfig, "--forklift", build.Dir)
			kubeconfig, _ := jobAccess(t, cluster, lab, nil)
			doctor := harness.Command(t, 0, "doctor", "--set", "kubeconfig="+kubeconfig)
			if !strings.Contains(doctor, "lab/forklift:"+build.Version) {
				t.Errorf("doctor does not tell which MTV it is:\n%s", doctor)
			}
			args := harness.OnCluster(kubeconfig, lab.Providers, "-p", "vsphere", "-p", "ovirt", "-p", "openstack",
				"--set", "cutover_after_precopies=1")
			if os.Getenv(harness.EnvForklift) == "" {
				args = append(args, quickWithForklift...)
			}
			got := harness.Run(t, args...)
			report(t, "Forklift "+build.Version+" on a real API server", got)
			nothingLeft(t, cluster, got.Run)
			// Forklift has races of its own (conformance/README.md): what failed is played once more, alone.
			for id, cell := range got.Cells {
				if cell.Verdict == "passed" || cell.Verdict == "skipped" {
					continue
				}
				t.Logf("%s: %s: %s; once more", id, cell.Verdict, cell.Problem)
				profile, scenario, _ := strings.Cut(id, "/")
				again := harness.Run(t, harness.OnCluster(kubeconfig, lab.Providers, "-p", profile, "-s", scenario,
					"--set", "cutover_after_precopies=1")...)
				nothingLeft(t, cluster, again.Run)
				if cell := again.Cells[id]; cell.Verdict != "passed" {
					t.Errorf("%s: %s: %s\n%v", id, cell.Verdict, cell.Problem, cell.Details)
				}
			}
			if len(got.Cells) == 0 {
				t.Errorf("nothing was played:\n%s", got.Output)
			}
			for _, missing := range harness.Uses(t, cluster.Audit(t), jobUser).Missing() {
				t.Errorf("the Job may not, with the real Forklift: %s", missing)
			}
		})
	}
}
