package suite

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"mtv-matrix/conformance/suite/harness"
)

// What both play. A warm migration is cut over after its first precopy: the real one's interval is a
// minute at least.
var forkliftRun = []string{
	"-j", "24", "--keep", "always", "--set", "cutover_after_precopies=1", "--set", "remote_ocp_cluster=127.0.0.1",
	"--storage-class", harness.StorageClass,
	"-p", "vsphere", "-p", "ovirt", "-p", "openstack", "-p", "openshift",
	"-s", "test_sanity_cold_mtv_migration", "-s", "test_sanity_warm_mtv_migration", "-s", "test_post_hook_retain_failed_vm",
	"-s", "test_cold_migration_comprehensive",
}

// forkliftFile is what stands in conformance/forklift/VERSION.yaml.
type forkliftFile struct {
	Seen        forkliftSeen         `json:"seen"`
	Differences []forkliftDifference `json:"differences"`
}

// forkliftSeen is what the last run showed.
type forkliftSeen struct {
	Commit string `json:"commit"`
	Date   string `json:"date"`
	// Lab is a hash of the sources of the lab's MTV.
	Lab string `json:"lab"`
	// Cells of each verdict, with the real one.
	Cells map[string]int `json:"cells"`
	// Kinds: objects and fields that were compared, and how many fields differ.
	Kinds map[string]forkliftCount `json:"kinds"`
}

type forkliftCount struct {
	Objects int `json:"objects"`
	Fields  int `json:"fields"`
	Differ  int `json:"differ"`
}

// forkliftDifference is why the lab's MTV does otherwise, and where: `kind name: path` with the cells.
type forkliftDifference struct {
	Why   string              `json:"why"`
	Where map[string][]string `json:"where"`
}

func TestTheLabsMTVDoesAsTheRealOne(t *testing.T) {
	builds := harness.Forklifts()
	if len(builds) == 0 {
		t.Skipf("no build of Forklift: set %s to a folder as `--forklift` takes it", harness.EnvForklift)
	}
	for _, build := range builds {
		t.Run(build.Version, func(t *testing.T) { againstForklift(t, build) })
	}
}

// Needs no build: who changes the lab's MTV reads here that the comparison is owed.
func TestTheComparisonWithForkliftIsOfThisLab(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(harness.Root(), "conformance", "forklift", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no results in conformance/forklift: %v", err)
	}
	for _, path := range files {
		seen := readForkliftFile(t, path).Seen
		if now := labsMTV(t); seen.Lab != now {
			t.Skipf("%s: seen on %s with another lab's MTV (%s, now %s): run it again, with MTV_CONFORMANCE_UPDATE=1",
				filepath.Base(path), seen.Date, seen.Lab, now)
		}
	}
}

func againstForklift(t *testing.T, build harness.Forklift) {
	began := time.Now()
	path := filepath.Join(harness.Root(), "conformance", "forklift", build.Version+".yaml")
	file := readForkliftFile(t, path)
	var real *forkliftSide
	var differ []found
	var counts map[string]forkliftCount
	t.Run("first", func(t *testing.T) { real, differ, counts = playBoth(t, build) })
	if t.Failed() {
		return
	}
	wrong := wrongOnes(build, file, differ)
	if len(wrong) > 0 && os.Getenv("MTV_CONFORMANCE_UPDATE") == "" {
		// A pod that has just ended, a condition that is just passing: what is chance is not there twice.
		t.Logf("%d differences are not as listed; once more:\n%s", len(wrong), strings.Join(sorted(wrong), "\n"))
		t.Run("again", func(t *testing.T) { real, differ, counts = playBoth(t, build) })
		if t.Failed() {
			return
		}
		again := wrongOnes(build, file, differ)
		for where := range wrong {
			if _, twice := again[where]; !twice {
				t.Logf("chance: %s", where)
				delete(wrong, where)
			}
		}
	}
	for _, where := range sorted(wrong) {
		t.Errorf("%s%s", where, wrong[where])
	}
	seen := forkliftSeen{Commit: build.Commit, Date: time.Now().UTC().Format(time.DateOnly), Lab: labsMTV(t),
		Cells: real.verdicts, Kinds: counts}
	if os.Getenv("MTV_CONFORMANCE_UPDATE") != "" {
		file.Differences = updated(file.Differences, differ)
		file.Seen = seen
		writeForkliftFile(t, path, file)
	}
	if file.Seen.Lab != seen.Lab {
		t.Logf("%s was seen with another lab's MTV: MTV_CONFORMANCE_UPDATE=1 writes it anew", path)
	}
	objects, fields := 0, 0
	for _, count := range counts {
		objects, fields = objects+count.Objects, fields+count.Fields
	}
	fmt.Printf("forklift %s: %d objects with %d fields compared in %v, cells %v; %d fields differ\n",
		build.Version, objects, fields, time.Since(began).Round(time.Second), real.verdicts, len(differ))
}

// playBoth starts a lab with each MTV, lets both play the same, and compares what stands then.
func playBoth(t *testing.T, build harness.Forklift) (*forkliftSide, []found, map[string]forkliftCount) {
	sides := map[string]*forkliftSide{
		"lab":  {args: []string{"--mtv-version", strings.Join(strings.Split(build.Version, ".")[:2], ".")}},
		"real": {args: []string{"--forklift", build.Dir}},
	}
	for name, one := range sides {
		one.lab = harness.StartLab(t, one.args...)
		one.side = newSide(t, name, one.lab.URL, one.lab.Token, one.lab.CAFile)
	}
	t.Run("play", func(t *testing.T) {
		for name, one := range sides {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				one.play(t)
			})
		}
	})
	for _, one := range sides {
		leaveOut(t, build, one.world)
	}
	differ, counts := compareWorlds(sides["real"].world, sides["lab"].world)
	return sides["real"], differ, counts
}

// raced are cells whose end is chance with a release: what they leave cannot be compared.
var raced = []struct{ release, cell, namespace, why string }{
	{"2.11.", "ovirt/test_sanity_warm_mtv_migration", "ovirt-sanity-warm",
		"Forklift looks for the VM in the Migration's status, which its other controller may not have written yet: *Could not find VM* " +
			"at CreateInitialSnapshot (plan/adapter/ovirt/client.go; from 2.12 on it looks into the Plan's)"},
}

func leaveOut(t *testing.T, build harness.Forklift, world map[string]any) {
	for _, one := range raced {
		if !strings.HasPrefix(build.Version, one.release) {
			continue
		}
		t.Logf("%s is left out: %s", one.cell, one.why)
		for where := range world {
			if cell, _ := split(where); cell == one.cell || cell == one.namespace {
				delete(world, where)
			}
		}
	}
}

// forkliftSide is a lab with one of the two MTVs.
type forkliftSide struct {
	*side
	args     []string
	lab      *harness.Lab
	world    map[string]any
	verdicts map[string]int
}

// play runs the scenarios, tries what must be refused, and keeps what stands then.
func (s *forkliftSide) play(t *testing.T) {
	keeper := watchWorld(s.side)
	args := append([]string{"--providers-json", s.lab.Providers, "run", "--set", "kubeconfig=" + s.lab.Kubeconfig}, forkliftRun...)
	result := harness.Run(t, args...)
	s.verdicts = map[string]int{}
	negative := s.negatives(t, result.Run)
	seen := keeper.end()
	words := newWords(result.Run, seen)
	s.world = words.world(seen)
	for where, shown := range s.inventory(t, result.Run, words) {
		s.world[where] = shown
	}
	for name, conditions := range negative {
		s.world["negative | "+name] = words.normal(conditions)
	}
	for id, cell := range result.Cells {
		s.verdicts[cell.Verdict]++
		// Stages and checks that went as they should on both sides are no news.
		s.world[id+" | Cell verdict"] = map[string]any{"verdict": cell.Verdict, "stages": cell.Stages, "checks": cell.Checks}
		for _, detail := range cell.Details {
			t.Logf("%s %s: %s", s.name, id, detail)
		}
	}
}

// compareWorlds lists where they differ, and counts what was compared, by kind.
func compareWorlds(real, lab map[string]any) ([]found, map[string]forkliftCount) {
	all := map[string]bool{}
	for _, world := range []map[string]any{real, lab} {
		for where := range world {
			all[where] = true
		}
	}
	counts := map[string]forkliftCount{}
	var differ []found
	for _, where := range sorted(all) {
		var here []found
		theirs, inReal := real[where]
		ours, inLab := lab[where]
		switch {
		case inReal && inLab:
			apart(where+": ", "", byLine(theirs), byLine(ours), &here)
		case inReal:
			here = append(here, found{where: where + ": (the whole)", real: "(there)", lab: "(absent)"})
		default:
			here = append(here, found{where: where + ": (the whole)", real: "(absent)", lab: "(there)"})
		}
		_, rest, _ := strings.Cut(where, " | ")
		kind, _, _ := strings.Cut(rest, " ")
		count := counts[kind]
		count.Objects++
		count.Fields += max(leaves(theirs), leaves(ours))
		count.Differ += len(here)
		counts[kind] = count
		differ = append(differ, here...)
	}
	return differ, counts
}

// byLine makes lists of strings to lists of anything.
func byLine(value any) any {
	object, ok := value.(map[string]any)
	if !ok {
		return value
	}
	kept := map[string]any{}
	for key, inner := range object {
		if list, isList := inner.([]string); isList {
			named := map[string]any{}
			for _, line := range list {
				named[line] = true
			}
			kept[key] = named
			continue
		}
		kept[key] = inner
	}
	return kept
}

func leaves(value any) int {
	switch v := value.(type) {
	case nil:
		return 0
	case map[string]any:
		sum := 0
		for _, inner := range v {
			sum += leaves(inner)
		}
		return sum
	case []any:
		sum := 0
		for _, inner := range v {
			sum += leaves(inner)
		}
		return sum
	case []string:
		return len(v)
	}
	return 1
}

// split takes `cell | kind name: path` apart.
func split(where string) (cell, path string) {
	cell, path, _ = strings.Cut(where, " | ")
	return cell, path
}

// wrongOnes are what differs and is not listed, and what is listed and does not differ, with what to say of each.
func wrongOnes(build harness.Forklift, file forkliftFile, differ []found) map[string]string {
	listed, wrong := map[string]bool{}, map[string]string{}
	for _, entry := range file.Differences {
		for path, cells := range entry.Where {
			for _, cell := range cells {
				listed[cell+" | "+path] = true
			}
			if strings.TrimSpace(entry.Why) == "" {
				wrong[path] = ": no reason is given"
			}
		}
	}
	for _, one := range differ {
		if !listed[one.where] {
			wrong[one.where] = fmt.Sprintf("\n    real: %s\n    lab:  %s", brief(one.real), brief(one.lab))
		}
		delete(listed, one.where)
	}
	for where := range listed {
		wrong[where] = fmt.Sprintf(": conformance/forklift/%s.yaml lists what does not differ any more", build.Version)
	}
	return wrong
}

// updated keeps the reasons of what still differs; what is new comes last and wants one.
func updated(old []forkliftDifference, differ []found) []forkliftDifference {
	reasons := map[string]int{}
	for i, entry := range old {
		for path, cells := range entry.Where {
			for _, cell := range cells {
				reasons[cell+" | "+path] = i
			}
		}
	}
	kept := make([]forkliftDifference, len(old)+1)
	for i, entry := range old {
		kept[i].Why = entry.Why
	}
	for _, one := range differ {
		i, known := reasons[one.where]
		if !known {
			i = len(old)
		}
		if kept[i].Where == nil {
			kept[i].Where = map[string][]string{}
		}
		cell, path := split(one.where)
		kept[i].Where[path] = append(kept[i].Where[path], cell)
	}
	var filled []forkliftDifference
	for _, entry := range kept {
		if len(entry.Where) > 0 {
			filled = append(filled, entry)
		}
	}
	return filled
}

func readForkliftFile(t *testing.T, path string) (file forkliftFile) {
	t.Helper()
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return file
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return file
}

// writeForkliftFile has a line for each path, with its cells.
func writeForkliftFile(t *testing.T, path string, file forkliftFile) {
	t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "# Forklift %s beside the lab's MTV, as last seen, and what differs, path by path with its cells.\n"+
		"# Written by the suite (MTV_CONFORMANCE_UPDATE=1); the reasons are written by hand.\n",
		strings.TrimSuffix(filepath.Base(path), ".yaml"))
	seen, err := yaml.Marshal(map[string]any{"seen": file.Seen})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(seen)
	out.WriteString("differences:\n")
	for _, entry := range file.Differences {
		fmt.Fprintf(&out, "- why: %q\n  where:\n", entry.Why)
		paths := map[string]bool{}
		for path := range entry.Where {
			paths[path] = true
		}
		for _, path := range sorted(paths) {
			cells := entry.Where[path]
			sort.Strings(cells)
			quoted := make([]string, len(cells))
			for i, cell := range cells {
				quoted[i] = cell
			}
			fmt.Fprintf(&out, "    %q: [%s]\n", path, strings.Join(quoted, ", "))
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// labsMTV is a hash over the sources of the lab's MTV.
func labsMTV(t *testing.T) string {
	t.Helper()
	root := filepath.Join(harness.Root(), "lab", "src", "controllers", "mtv")
	hash := sha256.New()
	if err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(hash, "%s %d\n%s", strings.TrimPrefix(path, root), len(text), text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil))[:16]
}
