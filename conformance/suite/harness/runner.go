package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The storage class that the lab offers first.
const StorageClass = "ocs-storagecluster-ceph-rbd-virtualization"

// runLimit is what one run of the binary gets before it counts as hanging. EnvRunLimit is for runs of a thousand cells.
var runLimit = limitOf(os.Getenv(EnvRunLimit))

// EnvRunLimit says how long one run may take, as 40m.
const EnvRunLimit = "MTV_CONFORMANCE_RUN_LIMIT"

func limitOf(text string) time.Duration {
	if limit, err := time.ParseDuration(text); err == nil {
		return limit
	}
	return 8 * time.Minute
}

// Result is what a run of the binary left in its results directory.
type Result struct {
	ExitCode int
	// Output is what it printed.
	Output string
	// Dir has run.json, events.jsonl and the other files.
	Dir string
	// Run is the run's id.
	Run string
	// Cells by id.
	Cells map[string]Cell
	Time  time.Duration
}

// Cell is a cell's verdict, and its checks without what differs from run to run.
type Cell struct {
	Verdict string
	Problem string
	// Stages are `stage verdict`, in their order.
	Stages []string
	// Checks are `check of base VM: outcome`, sorted.
	Checks []string
	// Details are the findings that did not pass, in full.
	Details []string
	// Unasked are the checks, `check of base VM`, of guest agents that nobody waited for, and of what they tell: whether
	// one had come when it was looked for is chance.
	Unasked []string
}

// Run runs `mtv-matrix ARGS --results DIR` and reads what it left.
func Run(t testing.TB, args ...string) *Result {
	t.Helper()
	return run(t, nil, args)
}

// Interrupt is Run, with a SIGTERM as soon as `now` is nil.
func Interrupt(t testing.TB, now func(context.Context) error, args ...string) *Result {
	t.Helper()
	return run(t, now, args)
}

func run(t testing.TB, interrupt func(context.Context) error, args []string) *Result {
	t.Helper()
	binary, results := Binary(t), t.TempDir()
	cmd := exec.Command(binary, append(args, "--results", results, "--log-format", "plain")...)
	cmd.Env, cmd.Dir = environment(), results
	began := time.Now()
	process := StartProcess(t, results, "output", cmd)
	if interrupt != nil {
		if err := waitFor(process, interrupt); err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(process.pid, syscall.SIGTERM)
	}
	select {
	case <-process.Ended():
	case <-time.After(runLimit):
		t.Fatalf("%v has no end after %v:\n%s", args, runLimit, process.Tail())
	}
	output, _ := os.ReadFile(process.Log)
	result := &Result{ExitCode: cmd.ProcessState.ExitCode(), Output: string(output), Dir: filepath.Join(results, "latest"), Time: time.Since(began)}
	if err := result.read(); err != nil {
		t.Fatalf("%v\n%s", err, process.Tail())
	}
	return result
}

// Shards runs `mtv-matrix ARGS --shard K/COUNT --merge` in as many processes at once, as the pods of an Indexed Job, and
// reads what the last of them joined. K counts from 0. Output is that of all.
func Shards(t testing.TB, count int, args ...string) *Result {
	t.Helper()
	binary, results := Binary(t), t.TempDir()
	began := time.Now()
	var all []*Process
	var commands []*exec.Cmd
	for number := range count {
		own := []string{"--shard", fmt.Sprintf("%d/%d", number, count), "--run-set", "conformance", "--merge",
			"--results", results, "--log-format", "plain"}
		cmd := exec.Command(binary, append(slices.Clone(args), own...)...)
		cmd.Env, cmd.Dir = environment(), results
		commands = append(commands, cmd)
		all = append(all, StartProcess(t, t.TempDir(), fmt.Sprintf("shard-%d", number), cmd))
	}
	result := &Result{Dir: filepath.Join(results, "latest")}
	for number, process := range all {
		select {
		case <-process.Ended():
		case <-time.After(runLimit - time.Since(began)):
			t.Fatalf("shard %d of %v has no end after %v:\n%s", number, args, runLimit, process.Tail())
		}
		output, _ := os.ReadFile(process.Log)
		result.Output += string(output)
		result.ExitCode = max(result.ExitCode, commands[number].ProcessState.ExitCode())
	}
	result.Time = time.Since(began)
	if err := result.read(); err != nil {
		t.Fatalf("%v\n%s", err, result.Output)
	}
	return result
}

func (r *Result) read() error {
	text, err := os.ReadFile(filepath.Join(r.Dir, "run.json"))
	if err != nil {
		return err
	}
	var summary struct {
		Run   string `json:"run"`
		Cells []struct {
			ID      string `json:"id"`
			Verdict string `json:"verdict"`
			Problem *struct {
				Message string `json:"message"`
			} `json:"problem"`
			Stages []struct {
				Stage   string `json:"stage"`
				Verdict string `json:"verdict"`
			} `json:"stages"`
		} `json:"cells"`
	}
	if err := json.Unmarshal(text, &summary); err != nil {
		return err
	}
	r.Run, r.Cells = summary.Run, map[string]Cell{}
	for _, each := range summary.Cells {
		cell := Cell{Verdict: each.Verdict}
		if each.Problem != nil {
			cell.Problem = each.Problem.Message
		}
		for _, stage := range each.Stages {
			cell.Stages = append(cell.Stages, stage.Stage+" "+stage.Verdict)
		}
		r.Cells[each.ID] = cell
	}
	return r.readChecks()
}

func (r *Result) readChecks() error {
	file, err := os.Open(filepath.Join(r.Dir, "events.jsonl"))
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct {
			Event   string          `json:"event"`
			Cell    string          `json:"cell"`
			Finding json.RawMessage `json:"finding"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return err
		}
		if event.Event != "check-finished" {
			continue
		}
		var finding struct {
			Check   string `json:"check"`
			VM      string `json:"vm"`
			Outcome string `json:"outcome"`
			Because string `json:"because"`
		}
		if err := json.Unmarshal(event.Finding, &finding); err != nil {
			return err
		}
		cell := r.Cells[event.Cell]
		subject := fmt.Sprintf("%s of %s", finding.Check, r.baseName(finding.VM))
		cell.Checks = append(cell.Checks, subject+": "+finding.Outcome)
		late := finding.Check == "guest-agent" && strings.HasPrefix(finding.Because, "no agent came") ||
			finding.Check == "guest-os" && strings.HasPrefix(finding.Because, "no guest agent tells")
		if late {
			cell.Unasked = append(cell.Unasked, subject)
		}
		if finding.Outcome != "passed" {
			cell.Details = append(cell.Details, string(event.Finding))
		}
		sort.Strings(cell.Checks)
		r.Cells[event.Cell] = cell
	}
	return lines.Err()
}

var suffix = regexp.MustCompile(`-[a-z0-9]{6}$`)

// prefix is a run's id: of joined shards each has its own.
var prefix = regexp.MustCompile(`^mm-[a-z2-9]{10}-`)

// baseName takes the run's id and the random end off a VM's name.
func (r *Result) baseName(vm string) string {
	return suffix.ReplaceAllString(prefix.ReplaceAllString(strings.TrimPrefix(vm, r.Run+"-"), ""), "")
}

// Diff is what differs between two results: verdicts, stages, checks; empty when they agree.
func Diff(want, got *Result) []string {
	var found []string
	for id, expected := range want.Cells {
		cell, there := got.Cells[id]
		switch {
		case !there:
			found = append(found, id+": did not run")
			continue
		case cell.Verdict != expected.Verdict:
			found = append(found, fmt.Sprintf("%s: %s, expected %s: %s", id, cell.Verdict, expected.Verdict, cell.Problem))
		}
		if a, b := strings.Join(expected.Stages, ", "), strings.Join(cell.Stages, ", "); a != b {
			found = append(found, fmt.Sprintf("%s: stages %s, expected %s", id, b, a))
		}
		found = append(found, lines(id, without(expected, cell), without(cell, expected))...)
	}
	for id := range got.Cells {
		if _, expected := want.Cells[id]; !expected {
			found = append(found, id+": ran only there")
		}
	}
	sort.Strings(found)
	return found
}

// without is the cell's checks but for the agents that nobody waited for, in it or in the other.
func without(cell, other Cell) []string {
	unasked := append(slices.Clone(cell.Unasked), other.Unasked...)
	return slices.DeleteFunc(slices.Clone(cell.Checks), func(line string) bool {
		return slices.ContainsFunc(unasked, func(subject string) bool { return strings.HasPrefix(line, subject+": ") })
	})
}

func lines(id string, want, got []string) []string {
	count := map[string]int{}
	for _, line := range got {
		count[line]++
	}
	for _, line := range want {
		count[line]--
	}
	var found []string
	for line, n := range count {
		if n > 0 {
			found = append(found, fmt.Sprintf("%s: + %s", id, line))
		} else if n < 0 {
			found = append(found, fmt.Sprintf("%s: - %s", id, line))
		}
	}
	return found
}

// Command runs the binary and expects an exit code; it returns what was printed.
func Command(t testing.TB, code int, args ...string) string {
	t.Helper()
	cmd, dir := exec.Command(Binary(t), args...), t.TempDir()
	cmd.Env, cmd.Dir = environment(), dir
	process := StartProcess(t, dir, "output", cmd)
	select {
	case <-process.Ended():
	case <-time.After(runLimit):
		t.Fatalf("%v has no end after %v:\n%s", args, runLimit, process.Tail())
	}
	output, _ := os.ReadFile(process.Log)
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("%v: exit code %d, expected %d\n%s", args, got, code, output)
	}
	return string(output)
}

// environment is this process's without what would configure the binary: no settings by variables,
// no kubeconfig of the user.
func environment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MTV_") && !strings.HasPrefix(variable, "KUBE") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// OnCluster are the arguments of a run on a cluster that a lab lives on.
func OnCluster(kubeconfig, providers string, more ...string) []string {
	return append([]string{"--providers-json", providers, "run", "--set", "jobs=8",
		"--set", "kubeconfig=" + kubeconfig, "--storage-class", StorageClass,
		// As `run --lab` sets them: the lab's time is not the wall's.
		"--set", "cutover_after_precopies=2", "--set", "remote_ocp_cluster=127.0.0.1"}, more...)
}
