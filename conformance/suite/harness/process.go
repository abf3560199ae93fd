package harness

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
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
	// lasted is how long it ran.
	lasted time.Duration
}

// StartProcess starts a command whose output goes to dir/name.log. It ends with the test.
func StartProcess(t testing.TB, dir, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	process, err := startProcess(dir, name, cmd)
	if err != nil {
		t.Fatalf("failed to start %s: %v", name, err)
	}
	t.Cleanup(func() {
		process.Stop()
		// With `-v` a test tells what it costs: it is mostly what its processes do, or wait for.
		if state := cmd.ProcessState; state != nil {
			t.Logf("%s: %.1f s of CPU in %.1f s", name, (state.UserTime() + state.SystemTime()).Seconds(), process.lasted.Seconds())
		}
	})
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
		began := time.Now()
		started <- nil
		process.err = cmd.Wait()
		process.lasted = time.Since(began)
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

// Ports for those who can't take any that is free and say which. They lie below those that the kernel gives to clients and to
// listeners that ask for any: tests run beside each other, and one of those would be taken between asking and listening.
const firstPort, lastPort = 20_000, 32_000

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// freePorts are loopback ports that nobody listens on now. None comes twice; another package begins elsewhere.
func freePorts(count int) ([]int, error) {
	given.Lock()
	defer given.Unlock()
	var ports []int
	for tries := 0; len(ports) < count; tries++ {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if given.ports[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if tries > 1000 {
				return nil, err
			}
			continue
		}
		listener.Close()
		given.ports[port] = true
		ports = append(ports, port)
	}
	return ports, nil
}

// FreePort is a loopback port that nobody listens on now.
func FreePort(t testing.TB) int {
	t.Helper()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
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
