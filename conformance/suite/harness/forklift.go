package harness

import (
	"os"
	"path/filepath"
	"strings"
)

// EnvForklift is a folder with a build of Forklift, or with several; without it, where builds are kept.
const EnvForklift = "MTV_CONFORMANCE_FORKLIFT"

// Forklift is a folder with executables, as `--forklift` takes it.
type Forklift struct{ Dir, Version, Commit string }

// Forklifts are those that EnvForklift names, or lie where builds are kept.
func Forklifts() []Forklift {
	dirs := []string{os.Getenv(EnvForklift)}
	if dirs[0] == "" {
		home, _ := os.UserHomeDir()
		dirs[0] = filepath.Join(home, ".cache", "mtv-matrix", "forklift")
	}
	below, _ := filepath.Glob(filepath.Join(dirs[0], "*"))
	var builds []Forklift
	for _, dir := range append(dirs, below...) {
		if _, err := os.Stat(filepath.Join(dir, "forklift-controller")); err != nil {
			continue
		}
		build := Forklift{Dir: dir, Version: filepath.Base(dir)}
		told, _ := os.ReadFile(filepath.Join(dir, "version"))
		for i, word := range strings.Fields(string(told)) {
			if i == 0 {
				build.Version = word
			} else if i == 1 {
				build.Commit = word
			}
		}
		builds = append(builds, build)
	}
	return builds
}
