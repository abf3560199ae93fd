// Package vcsim runs govmomi's simulator with the VMs that the shipped scenarios
// name, and stands in for what it lacks. What that is, is in conformance/README.md.
package vcsim

import "strings"

// guest is what runs on a VM.
type guest struct {
	id, family, fullName string
	// static are the addresses of its adapters, in their order; a missing one asks DHCP.
	static []string
}

func rhel8() guest {
	return guest{id: "rhel8_64Guest", family: "linuxGuest", fullName: "Red Hat Enterprise Linux 8 (64-bit)"}
}

func windows(id, name string, static ...string) guest {
	return guest{id: id, family: "windowsGuest", fullName: "Microsoft Windows Server " + name + " (64-bit)", static: static}
}

// machine is one VM as config/scenarios expect it.
type machine struct {
	name      string
	guest     guest
	disksGiB  []int64
	networks  []string
	efi       bool
	cpus      int32
	memoryMiB int64
	template  bool
	on        bool
}

const (
	vmNetwork   = "VM Network"
	mgmtNetwork = "Mgmt Network"
	// adapters of static guests have their gateway and DNS here.
	prefixLength = 24
	dnsServer    = "10.50.0.2"
)

var datastores = []string{"datastore1", "datastore2", "nfs-us-mtv-v8"}

// machines has every base VM that config/scenarios/*.yaml names, a template, and a VM that nobody
// asked for.
var machines = []machine{
	{name: "mtv-tests-rhel8", guest: rhel8(), disksGiB: []int64{16}, networks: []string{vmNetwork}, cpus: 1, memoryMiB: 2048},
	{name: "mtv-rhel8-warm-2disks2nics", guest: rhel8(), disksGiB: []int64{16, 8}, networks: []string{vmNetwork, mgmtNetwork}, cpus: 2, memoryMiB: 4096},
	{name: "mtv-win2019-79", guest: windows("windows2019srv_64Guest", "2019"), disksGiB: []int64{40}, networks: []string{vmNetwork}, cpus: 2, memoryMiB: 4096},
	{name: "mtv-win2019-3disks", guest: windows("windows2019srv_64Guest", "2019", "192.168.100.19"), disksGiB: []int64{40, 10, 5},
		networks: []string{vmNetwork}, cpus: 2, memoryMiB: 4096},
	{name: "mtv-win2022-ip-3disks", guest: windows("windows2019srvNext_64Guest", "2022", "192.168.100.22", "192.168.200.22"),
		disksGiB: []int64{50, 12, 6}, networks: []string{vmNetwork, mgmtNetwork}, efi: true, cpus: 4, memoryMiB: 8192},
	{name: "mtv-tests-rhel9-dual-nic", guest: guest{id: "rhel9_64Guest", family: "linuxGuest", fullName: "Red Hat Enterprise Linux 9 (64-bit)"},
		disksGiB: []int64{16}, networks: []string{vmNetwork, vmNetwork}, cpus: 2, memoryMiB: 4096},
	{name: "rhel8-template", guest: rhel8(), disksGiB: []int64{16}, networks: []string{vmNetwork}, cpus: 2, memoryMiB: 4096, template: true},
	{name: "jenkins-legacy", guest: rhel8(), disksGiB: []int64{80}, networks: []string{vmNetwork}, cpus: 2, memoryMiB: 4096, on: true},
}

// cloneOf tells whether the runner made this VM from a base: it keeps the base's name within.
func cloneOf(name, base string) bool {
	at := strings.Index(name, "-"+base+"-")
	return at > 0
}

// gateway is the first address of a network of 256.
func gateway(address string) string {
	return address[:strings.LastIndex(address, ".")] + ".1"
}
