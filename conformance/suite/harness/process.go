package harness

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// stopLimit is what a process gets between SIGTERM and SIGKILL.
const stopLimit = 10 * time.Second

// Process is a running child: its own process group, killed with this process.
type Process struct {
	Name string
	// Log is the file that has its standard output and standard error.
	Log  string
	pid  int
	done chan struct{}
	err  error
}

// StartProcess starts a command whose output goes to dir/name.log. It ends with the test.
func StartProcess(t testing.TB, dir, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	process, err := startProcess(dir, name, cmd)
	if err != nil {
		t.Fatalf("failed to start %s: %v", name, err)
	}
	t.Cleanup(process.Stop)
	return process
}

func startProcess(dir, name string, cmd *exec.Cmd) (*Process, error) {
	process := &Process{Name: name, Log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(process.Log)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal comes when the *thread* that started the child ends, so it is kept until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		process.pid = cmd.Process.Pid
		started <- nil
		process.err = cmd.Wait()
		close(process.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return process, nil
}

// Stop ends the process and its group.
func (p *Process) Stop() {
	_ = syscall.Kill(-p.pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopLimit):
	}
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	<-p.done
}

// Ended is closed when the process has ended by itself.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Err is how the process ended.
func (p *Process) Err() error { <-p.done; return p.err }

// Tail is the end of the log, for messages.
func (p *Process) Tail() string {
	text, _ := os.ReadFile(p.Log)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) > 15 {
		lines = lines[len(lines)-15:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}

// freePorts are loopback ports that nobody listens on now.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// Closed at the end, so that no port comes twice.
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Eventually asks until the answer is nil, for so long at most.
func Eventually(limit time.Duration, ask func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %w", limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
