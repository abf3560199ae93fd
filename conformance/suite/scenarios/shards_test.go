package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mtv-matrix/conformance/suite/harness"
)

const (
	// As many pods as manifests/overlays/sharded has.
	shardCount = 4
	// Requests a second that a shard may make.
	shardRate = 40
	// What a run has by itself, beside the cells' requests, is spread over more cells when there are more: 1000 was seen,
	// by hand.
	envShardCells    = "MTV_CONFORMANCE_SHARD_CELLS"
	usualShardCells  = 24
	shardsClockScale = "240"
)

// The cells of the bench `scale`: the same cold migration of one small VM.
func manyCells(t *testing.T) (string, int) {
	t.Helper()
	count := usualShardCells
	if text := os.Getenv(envShardCells); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", envShardCells, err)
		}
		count = number
	}
	var scenarios strings.Builder
	for number := range count {
		fmt.Fprintf(&scenarios, "many_%04d:\n  virtual_machines:\n    - name: mtv-tests-rhel8\n      guest_agent: true\n  warm_migration: false\n", number)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "scenarios"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "scenarios", "many.yaml"), []byte(scenarios.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, count
}

// many are the arguments of a run of all of them at once.
func many(config, kubeconfig, providers string, jobs int, more ...string) []string {
	number := strconv.Itoa(jobs)
	return append([]string{"--config", config, "--providers-json", providers,
		"--set", "kubeconfig=" + kubeconfig, "--set", "max_concurrent=" + number,
		"run", "-j", number, "--provider", "vsphere", "--scenario", "many_*", "--storage-class", harness.StorageClass}, more...)
}

func sameVerdicts(t *testing.T, count int, one, joined *harness.Result) {
	t.Helper()
	for what, result := range map[string]*harness.Result{"one process": one, "four shards": joined} {
		if len(result.Cells) != count || result.ExitCode != 0 {
			t.Errorf("%s: %d cells of %d, exit code %d\n%s", what, len(result.Cells), count, result.ExitCode, result.Output)
		}
		t.Logf("%s: %d cells in %v", what, len(result.Cells), result.Time.Round(100*time.Millisecond))
	}
	for _, line := range harness.Diff(one, joined) {
		t.Errorf("four shards: %s", line)
	}
}

func TestFourShardsOnTheLabSayWhatOneProcessSays(t *testing.T) {
	config, count := manyCells(t)
	lab := harness.StartLab(t, "--clock-scale", shardsClockScale)
	one := harness.Run(t, many(config, lab.Kubeconfig, lab.Providers, count)...)
	joined := harness.Shards(t, shardCount, many(config, lab.Kubeconfig, lab.Providers, count/shardCount)...)
	sameVerdicts(t, count, one, joined)
}

func TestFourShardsOnARealAPIServerSayWhatOneProcessSaysAndAskNoMoreThanTheyMay(t *testing.T) {
	config, count := manyCells(t)
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--on", cluster.Kubeconfig, "--clock-scale", shardsClockScale)
	kubeconfig, _ := jobAccess(t, cluster, lab, nil)
	one := harness.Run(t, many(config, kubeconfig, lab.Providers, count)...)
	began := time.Now()
	rate := strconv.Itoa(shardRate)
	joined := harness.Shards(t, shardCount, many(config, kubeconfig, lab.Providers, count/shardCount, "--qps", rate)...)
	sameVerdicts(t, count, one, joined)

	free := busiest(t, cluster, time.Time{}, began)
	bound := busiest(t, cluster, began, time.Now())
	t.Logf("requests in the busiest second: %d of one process without a bound, %d of four shards with %d a second each", free, bound, shardRate)
	// One second's worth is saved up, and the audit log tells when a request came, not when it was sent.
	if most := 2*shardCount*shardRate + shardRate; bound == 0 || bound > most {
		t.Errorf("%d requests in the busiest second of four shards with %d a second each: expected %d at most", bound, shardRate, most)
	}
}

// busiest is the most requests of the Job's account in one second, watches aside.
func busiest(t *testing.T, cluster *harness.Cluster, from, until time.Time) int {
	t.Helper()
	var times []time.Time
	for _, event := range cluster.Audit(t) {
		own := strings.HasSuffix(event.User.Username, ":"+jobAccount) && event.Verb != "watch" && event.Stage == "ResponseComplete"
		if own && event.Received.After(from) && event.Received.Before(until) {
			times = append(times, event.Received)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	most, first := 0, 0
	for last, at := range times {
		for at.Sub(times[first]) > time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
