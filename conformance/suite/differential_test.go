package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"mtv-matrix/conformance/suite/harness"
)

// sequence is a series of requests that is played on both servers.
type sequence struct {
	name string
	play func(*session)
}

// difference is something that both servers do differently, and why that may stay so.
type difference struct {
	// Where is a pattern over "sequence/step: path"; * stands for anything.
	Where string `json:"where"`
	Why   string `json:"why"`
}

// found is one place where the servers differ.
type found struct {
	where     string
	real, lab any
}

func TestTheEmbeddedServerAnswersAsTheRealOne(t *testing.T) {
	t.Parallel()
	listed := listedDifferences(t)
	cluster := harness.Start(t)
	lab := harness.StartLab(t, "--without", "nodes")
	real := newSide(t, "real", cluster.URL, cluster.Token, cluster.CAFile)
	embedded := newSide(t, "lab", lab.URL, lab.Token, lab.CAFile)
	for _, on := range []*side{real, embedded} {
		installWidgets(t, on)
	}
	embedded.installCRDs(t, harness.CRDs(t))

	learnServed(t, embedded)
	began := time.Now()
	var all []sequence
	for _, some := range [][]sequence{
		objectSequences, errorSequences, patchSequences, applySequences, listSequences, watchSequences,
		collectorSequences, schemaSequences, formSequences, reviewSequences, discoverySequences, nativeSequences,
	} {
		all = append(all, some...)
	}
	pick := os.Getenv("MTV_CONFORMANCE_SEQUENCE")
	var mutex sync.Mutex
	var differ []found
	steps, played := 0, 0
	t.Run("sequences", func(t *testing.T) {
		for _, one := range all {
			if pick != "" && !strings.HasPrefix(one.name, pick) {
				continue
			}
			t.Run(one.name, func(t *testing.T) {
				t.Parallel()
				var theirs, ours []exchange
				var both sync.WaitGroup
				both.Go(func() { theirs = run(t, real, one) })
				both.Go(func() { ours = run(t, embedded, one) })
				both.Wait()
				found := compareRuns(one.name, theirs, ours)
				mutex.Lock()
				defer mutex.Unlock()
				differ = append(differ, found...)
				steps += len(theirs)
				played++
			})
		}
	})
	left, unlisted := judge(t, differ, listed, "")
	if pick != "" {
		t.Log("only some sequences were played")
	}
	fmt.Printf("differential: %d sequences with %d steps compared in %v; %d unlisted differences; %d left\n",
		played, steps, time.Since(began).Round(100*time.Millisecond), unlisted, left)
}

// judge fails the test for differences that are not listed, and for listed ones that are none any
// more. Entries that begin with kubectl/ are judged by kubectl's test only.
func judge(t *testing.T, differ []found, listed []difference, head string) (left, unlisted int) {
	t.Helper()
	used := make([]int, len(listed))
	sort.Slice(differ, func(a, b int) bool { return differ[a].where < differ[b].where })
	for _, one := range differ {
		known := false
		for i, entry := range listed {
			if matches(entry.Where, one.where) {
				used[i]++
				known = true
				break
			}
		}
		if known {
			left++
			continue
		}
		unlisted++
		t.Errorf("%s\n    real: %s\n    lab:  %s", one.where, brief(one.real), brief(one.lab))
	}
	for i, entry := range listed {
		ours := strings.HasPrefix(entry.Where, "kubectl/") == (head == "kubectl/")
		if ours && used[i] == 0 && os.Getenv("MTV_CONFORMANCE_SEQUENCE") == "" {
			t.Errorf("differences.yaml lists what does not differ any more: %s", entry.Where)
		}
	}
	return left, unlisted
}

func listedDifferences(t *testing.T) []difference {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "conformance", "differences.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var listed []difference
	if err := yaml.UnmarshalStrict(text, &listed); err != nil {
		t.Fatal(err)
	}
	for _, entry := range listed {
		if entry.Where == "" || entry.Why == "" {
			t.Fatalf("differences.yaml: an entry needs where and why: %+v", entry)
		}
	}
	return listed
}

func matches(pattern, where string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`^` + strings.Join(parts, `.*`) + `$`).MatchString(where)
}

func brief(value any) string {
	text, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	line := strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", " ⏎ ")
	if len(line) > 600 {
		line = line[:600] + "…"
	}
	return line
}

// compareRuns lists where two runs of a sequence differ.
func compareRuns(name string, theirs, ours []exchange) []found {
	a, b := normalised(theirs), normalised(ours)
	var differ []found
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i].Step != b[i].Step {
			var left, right any
			if i < len(a) {
				left = a[i].Step
			}
			if i < len(b) {
				right = b[i].Step
			}
			return append(differ, found{where: name + ": the steps themselves", real: left, lab: right})
		}
		head := fmt.Sprintf("%s/%s: ", name, a[i].Step)
		if one, two := a[i].Seen["status"], b[i].Seen["status"]; one != two {
			// With another status the bodies have nothing in common.
			differ = append(differ, found{where: head + "status", real: summary(a[i]), lab: summary(b[i])})
			continue
		}
		apart(head, "", any(a[i].Seen), any(b[i].Seen), &differ)
	}
	return differ
}

// summary is the status, and what the server says about it.
func summary(of exchange) any {
	message, _ := at(of.Seen, []string{"body", "message"})
	return map[string]any{"status": of.Seen["status"], "message": message}
}

func apart(head, path string, a, b any, differ *[]found) {
	switch left := a.(type) {
	case map[string]any:
		right, ok := b.(map[string]any)
		if !ok {
			break
		}
		keys := map[string]bool{}
		for key := range left {
			keys[key] = true
		}
		for key := range right {
			keys[key] = true
		}
		for _, key := range sorted(keys) {
			below := strings.TrimPrefix(path+"."+key, ".")
			one, inLeft := left[key]
			two, inRight := right[key]
			switch {
			case inLeft && inRight:
				apart(head, below, one, two, differ)
			case inLeft:
				*differ = append(*differ, found{where: head + below, real: one, lab: "(absent)"})
			default:
				*differ = append(*differ, found{where: head + below, real: "(absent)", lab: two})
			}
		}
		return
	case []any:
		right, ok := b.([]any)
		if !ok || len(left) != len(right) {
			break
		}
		for i := range left {
			apart(head, fmt.Sprintf("%s[%d]", path, i), left[i], right[i], differ)
		}
		return
	}
	if fmt.Sprintf("%T %v", a, a) != fmt.Sprintf("%T %v", b, b) {
		*differ = append(*differ, found{where: head + path, real: a, lab: b})
	}
}

func sorted[V any](keys map[string]V) []string {
	var list []string
	for key := range keys {
		list = append(list, key)
	}
	sort.Strings(list)
	return list
}
