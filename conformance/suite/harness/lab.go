package harness

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"sigs.k8s.io/yaml"
)

// Lab is a running `mtv-matrix lab`.
type Lab struct {
	// URL of its API server; with --on, of the cluster that it runs on.
	URL string
	// CAFile is the PEM file of the CA that signed the lab's endpoints.
	CAFile string
	// Token of a cluster admin.
	Token string
	// Kubeconfig is a file with URL, CA and token.
	Kubeconfig string
	// Providers is a providers.json with the lab's platforms.
	Providers string
	// Dir has these files.
	Dir     string
	Process *Process
}

// StartLab runs the binary's lab command with further arguments until the test ends.
func StartLab(t testing.TB, args ...string) *Lab {
	t.Helper()
	binary := Binary(t)
	dir := t.TempDir()
	args = append([]string{"lab", "--dir", dir}, args...)
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	process := StartProcess(t, t.TempDir(), "lab", cmd)
	up := regexp.MustCompile(`The lab is up at (https?://\S+?)\.? `)
	lab := &Lab{Dir: dir, CAFile: filepath.Join(dir, "ca.pem"), Kubeconfig: filepath.Join(dir, "kubeconfig"),
		Providers: filepath.Join(dir, "providers.json"), Process: process}
	if err := waitFor(process, func(context.Context) error {
		text, _ := os.ReadFile(process.Log)
		found := up.FindSubmatch(text)
		if found == nil {
			return fmt.Errorf("it has not said where it is")
		}
		lab.URL = string(found[1])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the lab's last lines:\n%s", process.Tail())
		}
	})
	lab.readKubeconfig(t)
	return lab
}

// readKubeconfig takes URL and token from the file that the lab wrote.
func (l *Lab) readKubeconfig(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile(l.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     string `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Token string `json:"token"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil || len(config.Clusters) == 0 || len(config.Users) == 0 {
		t.Fatalf("%s is no kubeconfig: %v", l.Kubeconfig, err)
	}
	if _, err := base64.StdEncoding.DecodeString(config.Clusters[0].Cluster.CA); err != nil {
		t.Fatalf("%s: %v", l.Kubeconfig, err)
	}
	l.URL, l.Token = config.Clusters[0].Cluster.Server, config.Users[0].User.Token
}
