// Package scenarios holds the binary and the lab's controllers against components
// that others wrote. What ran and what it showed: conformance/README.md.
package scenarios

import (
	"io"
	"log"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// vcsim logs every file name that it tries.
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}
