package harness

import "testing"

func TestAnAgentThatNobodyWaitedForMayHaveComeOrNot(t *testing.T) {
	result := func(cell Cell) *Result { return &Result{Cells: map[string]Cell{"vsphere/cold": cell}} }
	late := result(Cell{
		Checks:  []string{"guest-agent of linux: not-judged", "guest-agent of windows: passed", "guest-os of linux: not-judged"},
		Unasked: []string{"guest-agent of linux", "guest-os of linux"},
	})
	came := result(Cell{Checks: []string{"guest-agent of linux: passed", "guest-agent of windows: passed", "guest-os of linux: passed"}})
	if found := append(Diff(late, came), Diff(came, late)...); len(found) > 0 {
		t.Errorf("chance was told as a difference: %v", found)
	}
	lost := result(Cell{Checks: []string{"guest-agent of linux: passed", "guest-agent of windows: failed", "guest-os of linux: passed"}})
	if found := Diff(late, lost); len(found) != 2 {
		t.Errorf("an agent that was lost is two lines, not %v", found)
	}
}
