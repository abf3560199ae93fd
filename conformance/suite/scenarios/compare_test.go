package scenarios

import (
	"slices"
	"sort"
	"strings"
	"testing"

	"mtv-matrix/conformance/suite/harness"
)

// embedded is the run that all others are compared with: everything is the lab's own. Whether it
// passes is the business of cargo's tests.
func embedded(t *testing.T) *harness.Result {
	t.Helper()
	result := harness.Run(t, "run", "--lab", "-j", "4")
	if len(result.Cells) == 0 {
		t.Fatalf("on the embedded lab: exit code %d\n%s", result.ExitCode, result.Output)
	}
	return result
}

func report(t *testing.T, what string, result *harness.Result) {
	t.Helper()
	var ids []string
	checks := 0
	for id, cell := range result.Cells {
		ids = append(ids, id+" "+cell.Verdict)
		checks += len(cell.Checks)
	}
	sort.Strings(ids)
	t.Logf("%s: %d cells, %d checks, exit code %d, %v: %v", what, len(ids), checks, result.ExitCode, result.Time.Round(1e8), ids)
}

// only keeps the cells of one profile.
func only(profile string, result *harness.Result) *harness.Result {
	kept := *result
	kept.Cells = map[string]harness.Cell{}
	for id, cell := range result.Cells {
		if strings.HasPrefix(id, profile+"/") {
			kept.Cells[id] = cell
		}
	}
	return &kept
}

// withoutMarkers is the result where nobody can write into guests: vcsim's are records without a file system, and a
// marker that the platform could have written and did not is not judged.
func withoutMarkers(result *harness.Result) *harness.Result {
	kept := *result
	kept.Cells = map[string]harness.Cell{}
	for id, cell := range result.Cells {
		checks := slices.Clone(cell.Checks)
		for at, line := range checks {
			if check, found := strings.CutSuffix(line, ": passed"); found && strings.HasPrefix(check, "marker of ") {
				checks[at] = check + ": not-judged"
			}
		}
		cell.Checks = checks
		kept.Cells[id] = cell
	}
	return &kept
}

func compare(t *testing.T, what string, want, got *harness.Result) {
	t.Helper()
	report(t, what, got)
	for _, line := range harness.Diff(want, got) {
		t.Errorf("%s: %s", what, line)
	}
	if t.Failed() {
		for id, cell := range got.Cells {
			for _, detail := range cell.Details {
				t.Logf("%s %s", id, detail)
			}
		}
	}
	good := true
	for _, cell := range want.Cells {
		good = good && (cell.Verdict == "passed" || cell.Verdict == "skipped")
	}
	if good && got.ExitCode != 0 {
		t.Errorf("%s: exit code %d\n%s", what, got.ExitCode, got.Output)
	}
}
