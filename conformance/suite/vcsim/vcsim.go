package vcsim

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// The login; the simulator refuses any other.
const (
	User     = "administrator@vsphere.local"
	Password = "vcsim-password"
)

// Simulator is a running vcsim.
type Simulator struct {
	// URL of its SOAP endpoint, without the login.
	URL    string
	client *govmomi.Client
	names  map[string]bool
	// turn is held by whoever talks to the simulator.
	turn *sync.Mutex
}

// Start runs a simulator with this server certificate until the test ends.
func Start(t testing.TB, certificate tls.Certificate) *Simulator {
	t.Helper()
	ctx := context.Background()
	model := simulator.VPX()
	model.Host, model.Cluster, model.ClusterHost, model.Machine, model.Datastore, model.Portgroup = 0, 1, 3, 0, 1, 1
	if err := model.Create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Remove)
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(User, Password)}
	server := model.Service.NewServer()
	t.Cleanup(server.Close)

	client, err := govmomi.NewClient(ctx, server.URL, true)
	if err != nil {
		t.Fatal(err)
	}
	sim := &Simulator{client: client, turn: &sync.Mutex{}}
	if err := sim.seed(ctx, t.TempDir()); err != nil {
		t.Fatalf("failed to seed vcsim: %v", err)
	}
	if sim.names, err = sim.machines(ctx); err != nil {
		t.Fatal(err)
	}
	news := &news{next: make(chan struct{})}
	tools := startTools(model.Service.Context, sim.turn, news)
	t.Cleanup(tools.stop)
	entrance := newFront(server.URL, model.Service.Context, sim.turn, tools.look, news, certificate)
	t.Cleanup(entrance.Close)
	sim.URL = entrance.URL + "/sdk"
	return sim
}

// WriteProviders writes a providers.json with this endpoint as `vsphere`.
func (s *Simulator) WriteProviders(t testing.TB, path string) {
	t.Helper()
	profile := map[string]string{
		"type": "vsphere", "version": "8.0.3", "fqdn": "127.0.0.1", "api_url": s.URL, "username": User, "password": Password,
		"guest_vm_linux_user": "root", "guest_vm_linux_password": "lab-linux",
		"guest_vm_win_user": "Administrator", "guest_vm_win_password": "lab-windows",
	}
	text, err := json.MarshalIndent(map[string]any{"vsphere": profile}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Leftovers are the VMs that stand there beyond the seeded ones, and seeded ones that are gone.
func (s *Simulator) Leftovers(t testing.TB) []string {
	t.Helper()
	s.turn.Lock()
	defer s.turn.Unlock()
	now, err := s.machines(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for name := range now {
		if !s.names[name] {
			found = append(found, "VM "+name)
		}
	}
	for name := range s.names {
		if !now[name] {
			found = append(found, "missing VM "+name)
		}
	}
	return found
}

func (s *Simulator) machines(ctx context.Context) (map[string]bool, error) {
	all, err := find.NewFinder(s.client.Client).VirtualMachineList(ctx, "/...")
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, vm := range all {
		names[vm.Name()] = true
	}
	return names, nil
}

// seed uses nothing but the API.
func (s *Simulator) seed(ctx context.Context, dir string) error {
	finder := find.NewFinder(s.client.Client)
	datacenter, err := finder.DefaultDatacenter(ctx)
	if err != nil {
		return err
	}
	finder.SetDatacenter(datacenter)
	hosts, err := finder.HostSystemList(ctx, "*/*")
	if err != nil {
		return err
	}
	for _, name := range datastores {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		for _, host := range hosts {
			system, err := host.ConfigManager().DatastoreSystem(ctx)
			if err != nil {
				return err
			}
			if _, err := system.CreateLocalDatastore(ctx, name, path); err != nil {
				return fmt.Errorf("datastore %s: %w", name, err)
			}
		}
	}
	network, err := hosts[0].ConfigManager().NetworkSystem(ctx)
	if err != nil {
		return err
	}
	if err := network.AddPortGroup(ctx, types.HostPortGroupSpec{Name: mgmtNetwork, VswitchName: "vSwitch0"}); err != nil {
		return fmt.Errorf("network %s: %w", mgmtNetwork, err)
	}
	folders, err := datacenter.Folders(ctx)
	if err != nil {
		return err
	}
	pool, err := finder.DefaultResourcePool(ctx)
	if err != nil {
		return err
	}
	for index, machine := range machines {
		if err := s.create(ctx, finder, folders.VmFolder, pool, hosts[index%len(hosts)], machine); err != nil {
			return fmt.Errorf("VM %s: %w", machine.name, err)
		}
	}
	return nil
}

func (s *Simulator) create(ctx context.Context, finder *find.Finder, folder *object.Folder, pool *object.ResourcePool, host *object.HostSystem, m machine) error {
	var devices object.VirtualDeviceList
	kind := "pvscsi"
	if m.guest.family == "windowsGuest" {
		kind = "lsilogic-sas"
	}
	scsi, err := devices.CreateSCSIController(kind)
	if err != nil {
		return err
	}
	devices = append(devices, scsi)
	datastore, err := finder.Datastore(ctx, datastores[0])
	if err != nil {
		return err
	}
	for _, gib := range m.disksGiB {
		disk := devices.CreateDisk(scsi.(types.BaseVirtualController), datastore.Reference(), "")
		disk.CapacityInKB = gib << 20
		disk.CapacityInBytes = gib << 30
		devices = append(devices, disk)
	}
	for _, name := range m.networks {
		network, err := finder.Network(ctx, name)
		if err != nil {
			return err
		}
		backing, err := network.EthernetCardBackingInfo(ctx)
		if err != nil {
			return err
		}
		card, err := devices.CreateEthernetCard("vmxnet3", backing)
		if err != nil {
			return err
		}
		devices = append(devices, card)
	}
	changes, err := devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return err
	}
	spec := types.VirtualMachineConfigSpec{
		Name: m.name, GuestId: m.guest.id, NumCPUs: m.cpus, MemoryMB: m.memoryMiB, DeviceChange: changes,
		Files: &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", datastores[0])},
	}
	if m.efi {
		spec.Firmware = string(types.GuestOsDescriptorFirmwareTypeEfi)
		spec.BootOptions = &types.VirtualMachineBootOptions{EfiSecureBootEnabled: types.NewBool(true)}
	}
	task, err := folder.CreateVM(ctx, spec, pool, host)
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return err
	}
	vm := object.NewVirtualMachine(s.client.Client, info.Result.(types.ManagedObjectReference))
	switch {
	case m.template:
		return vm.MarkAsTemplate(ctx)
	case m.on:
		task, err := vm.PowerOn(ctx)
		if err != nil {
			return err
		}
		return task.Wait(ctx)
	}
	return nil
}

// tick is how long the stand-in for VMware Tools takes to notice something.
const tick = 20 * time.Millisecond

// tools does in the simulator what a vCenter and its guests do by themselves: a clone keeps its
// base's firmware and takes the change tracking it was asked for, and a running guest reports its
// addresses.
type tools struct {
	ctx  *simulator.Context
	news *news
	quit chan struct{}
	done chan struct{}
	// reported are VMs whose guests have answered since they were started.
	reported map[types.ManagedObjectReference]bool
	cloned   map[types.ManagedObjectReference]bool
}

func startTools(ctx *simulator.Context, turn *sync.Mutex, news *news) *tools {
	t := &tools{ctx: ctx, news: news, quit: make(chan struct{}), done: make(chan struct{}),
		reported: map[types.ManagedObjectReference]bool{}, cloned: map[types.ManagedObjectReference]bool{}}
	go func() {
		defer close(t.done)
		for {
			turn.Lock()
			t.look()
			turn.Unlock()
			select {
			case <-t.quit:
				return
			case <-time.After(tick):
			}
		}
	}()
	return t
}

func (t *tools) stop() {
	close(t.quit)
	<-t.done
}

// look is called by whoever has the turn.
func (t *tools) look() {
	for _, entity := range t.ctx.Map.All("VirtualMachine") {
		vm, ok := entity.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		t.ctx.WithLock(vm, func() { t.attend(vm) })
	}
}

func (t *tools) attend(vm *simulator.VirtualMachine) {
	base := baseOf(vm.Name)
	if base == nil {
		return
	}
	var changes []types.PropertyChange
	set := func(name string, value any) {
		changes = append(changes, types.PropertyChange{Name: name, Val: value})
	}
	if !t.cloned[vm.Self] && vm.Config != nil {
		t.cloned[vm.Self] = true
		set("config.hardware.device", uniqueAddresses(vm.Config.Hardware.Device, len(t.cloned)))
		if base.efi {
			set("config.firmware", string(types.GuestOsDescriptorFirmwareTypeEfi))
			set("config.bootOptions", &types.VirtualMachineBootOptions{EfiSecureBootEnabled: types.NewBool(true)})
		}
		for _, option := range vm.Config.ExtraConfig {
			if pair := option.GetOptionValue(); pair.Key == "ctkEnabled" && pair.Value == "true" {
				set("config.changeTrackingEnabled", true)
			}
		}
	}
	on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	if on != t.reported[vm.Self] {
		t.reported[vm.Self] = on
		for name, value := range report(vm, base, on) {
			set(name, value)
		}
	}
	if len(changes) > 0 {
		t.ctx.Update(vm, changes)
		t.news.tell()
	}
}

// uniqueAddresses gives the adapters of the VM with this number MACs of their own: vcsim makes them
// from three hexadecimal digits, so that two of some dozen VMs soon have the same.
func uniqueAddresses(devices []types.BaseVirtualDevice, number int) []types.BaseVirtualDevice {
	index := 0
	for _, device := range devices {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			card.GetVirtualEthernetCard().MacAddress = fmt.Sprintf("00:50:56:8a:%02x:%02x", number%256, index)
			index++
		}
	}
	return devices
}

// baseOf finds the base that a VM, or a clone of it by its name, has.
func baseOf(name string) *machine {
	for index := range machines {
		if base := &machines[index]; name == base.name || cloneOf(name, base.name) {
			return base
		}
	}
	return nil
}

// report is what the tools of a guest tell.
func report(vm *simulator.VirtualMachine, base *machine, on bool) map[string]any {
	if !on {
		return map[string]any{
			"guest.toolsRunningStatus": string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning),
			"guest.toolsStatus":        types.VirtualMachineToolsStatusToolsNotRunning,
			"guest.guestState":         string(types.VirtualMachineGuestStateNotRunning),
		}
	}
	var nics []types.GuestNicInfo
	var routes []types.NetIpRouteConfigInfoIpRoute
	first := ""
	cards := object.VirtualDeviceList(vm.Config.Hardware.Device).SelectByType((*types.VirtualEthernetCard)(nil))
	for index, device := range cards {
		card := device.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
		address, origin := fmt.Sprintf("10.129.%d.%d", index, card.MacAddress[len(card.MacAddress)-1]), "dhcp"
		if index < len(base.guest.static) {
			address, origin = base.guest.static[index], "manual"
		}
		if first == "" {
			first = address
		}
		nics = append(nics, types.GuestNicInfo{
			Network: base.networks[index%len(base.networks)], IpAddress: []string{address}, MacAddress: card.MacAddress,
			Connected: true, DeviceConfigId: card.Key,
			DnsConfig: &types.NetDnsConfigInfo{IpAddress: []string{dnsServer}},
			IpConfig: &types.NetIpConfigInfo{IpAddress: []types.NetIpConfigInfoIpAddress{
				{IpAddress: address, PrefixLength: prefixLength, Origin: origin, State: "preferred"}}},
		})
		routes = append(routes, types.NetIpRouteConfigInfoIpRoute{
			Network: "0.0.0.0", PrefixLength: 0,
			Gateway: types.NetIpRouteConfigInfoGateway{IpAddress: gateway(address), Device: fmt.Sprint(index)},
		})
	}
	return map[string]any{
		"guest.toolsRunningStatus": string(types.VirtualMachineToolsRunningStatusGuestToolsRunning),
		"guest.toolsStatus":        types.VirtualMachineToolsStatusToolsOk,
		"guest.guestState":         string(types.VirtualMachineGuestStateRunning),
		// Its guests are records: no program can be run in them.
		"guest.guestOperationsReady": false,
		"guest.guestFamily":          base.guest.family,
		"guest.guestFullName":        base.guest.fullName,
		"guest.hostName":             base.name,
		"guest.ipAddress":            first,
		"guest.net":                  nics,
		"guest.ipStack": []types.GuestStackInfo{{
			DnsConfig:     &types.NetDnsConfigInfo{IpAddress: []string{dnsServer}},
			IpRouteConfig: &types.NetIpRouteConfigInfo{IpRoute: routes}}},
	}
}
