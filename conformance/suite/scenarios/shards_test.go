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
	// How many cells; 1000 by hand.
	envShardCells    = "MTV_CONFORMANCE_SHARD_CELLS"
	usualShardCells  = 24
	shardsClockScale = "240"
	// Requests are counted in so many seconds: a second's worth is saved up, and a short time would tell of that alone.
	rateWindow = 5
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
		fmt.Fprintf(&scenarios, "sharded_%04d:\n  virtual_machines:\n    - name: mtv-tests-rhel8\n      guest_agent: true\n  warm_migration: false\n", number)
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
		// A real controller manager empties some namespaces a second, and here all are deleted at once.
		"--set", "timeouts.delete=30m",
		"run", "-j", number, "--provider", "vsphere", "--scenario", "sharded_*", "--storage-class", harness.StorageClass}, more...)
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
	t.Parallel()
	config, count := manyCells(t)
	lab := harness.StartLab(t, "--clock-scale", shardsClockScale)
	one := harness.Run(t, many(config, lab.Kubeconfig, lab.Providers, count)...)
	joined := harness.Shards(t, shardCount, many(config, lab.Kubeconfig, lab.Providers, count/shardCount)...)
	sameVerdicts(t, count, one, joined)
}

// Not beside others: a server that is late for a third of a second gets what was sent in time as more than may come at once.
func TestFourShardsOnARealAPIServerSayWhatOneProcessSaysAndAskNoMoreThanTheyMay(t *testing.T) {
	config, count := manyCells(t)
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--on", cluster.Kubeconfig, "--clock-scale", shardsClockScale)
	kubeconfig, _ := jobAccess(t, cluster, lab, nil)
	one := harness.Run(t, many(config, kubeconfig, lab.Providers, count)...)
	began := time.Now()
	// Requests a second that a shard may make.
	rate := max(10, count/25)
	joined := harness.Shards(t, shardCount, many(config, kubeconfig, lab.Providers, count/shardCount, "--qps", strconv.Itoa(rate))...)
	sameVerdicts(t, count, one, joined)

	free := busiest(t, cluster, time.Time{}, began)
	bound := busiest(t, cluster, began, time.Now())
	t.Logf("requests in the busiest %d seconds: %d of one process without a bound, %d of four shards with %d a second each",
		rateWindow, free, bound, rate)
	if most := shardCount * rate * (rateWindow + 1); bound == 0 || bound > most {
		t.Errorf("%d requests in %d seconds of four shards with %d a second each: expected %d at most", bound, rateWindow, rate, most)
	}
}

// busiest is the most requests of the Job's account in [rateWindow] seconds, watches aside.
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
		for at.Sub(times[first]) > rateWindow*time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
