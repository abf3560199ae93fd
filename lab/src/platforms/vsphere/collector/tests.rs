//! A look that passes over what did not change tells what a look at everything tells.

use super::super::session::{Session, View};
use super::super::tree::names;
use super::super::xml::{envelope, method};
use super::*;
use crate::world::{CloneOrder, EntityKind, World};

const INVENTORY: &[&str] = &[
    "VirtualMachine",
    "Folder",
    "Datacenter",
    "ClusterComputeResource",
    "HostSystem",
    "ResourcePool",
    "Datastore",
    "Network",
    "DistributedVirtualPortgroup",
    "VmwareDistributedVirtualSwitch",
];

/// Every property of these kinds but the recent tasks: with these nothing could be passed over.
fn all_of(kinds: &[&str]) -> String {
    let of = |kind: &str| {
        let wanted = names(kind).filter(|name| *name != "recentTask");
        let paths: String = wanted.map(|name| format!("<pathSet>{name}</pathSet>")).collect();
        format!("<propSet><type>{kind}</type>{paths}</propSet>")
    };
    kinds.iter().map(|kind| of(kind)).collect()
}

/// What the view holds.
const VIEW: &str = "<objectSet><obj type=\"ContainerView\">view</obj><skip>true</skip><selectSet \
    xsi:type=\"TraversalSpec\"><name>view</name><type>ContainerView</type><path>view</path><skip>false</skip>\
    </selectSet></objectSet>";

struct Watched {
    world: Arc<World>,
    session: Session,
    passing: Collector,
    whole: Collector,
}

impl Watched {
    fn new(world: &Arc<World>, container: &str, spec: &str) -> Self {
        let mut session = Session::new("somebody");
        let container = mo("Folder", container);
        let view = View { container, kinds: Vec::new(), recursive: true, list: None };
        session.views.insert("view".to_owned(), view);
        let spec = FilterSpec::parse(&method(&envelope(&format!("<spec>{spec}</spec>"))).unwrap());
        let (passing, whole) = (Collector::default(), Collector::default());
        let mut watched = Self { world: world.clone(), session, passing, whole };
        watched.with(|scope, passing, whole| {
            passing.add_filter("filter".to_owned(), spec.clone(), scope).unwrap();
            whole.add_filter("filter".to_owned(), spec, scope).unwrap();
        });
        watched
    }

    fn with<T>(&mut self, look: impl FnOnce(&Scope<'_>, &mut Collector, &mut Collector) -> T) -> T {
        let Self { world, session, passing, whole } = self;
        world.read(|state| look(&Scope { state, session: Some(session), instance: "lab" }, passing, whole))
    }

    /// What is told, one page of it; the same to both.
    fn page(&mut self, limit: usize) -> Option<String> {
        self.with(|scope, passing, whole| {
            whole.filters.values_mut().for_each(|filter| filter.seen = None);
            let expected = updates(whole, scope, limit).unwrap();
            let told = updates(passing, scope, limit).unwrap();
            assert_eq!(told, expected);
            told
        })
    }

    fn all(&mut self, limit: usize) -> Vec<String> {
        std::iter::from_fn(|| self.page(limit)).collect()
    }

    /// What a look would render now.
    fn pending(&mut self) -> Vec<Ref> {
        self.with(|scope, passing, _| {
            let filter = passing.filters.values_mut().next().unwrap();
            filter.refresh(scope).unwrap();
            filter.pending.iter().cloned().collect()
        })
    }
}

/// What happens in a lab, and to folders; somebody looks after each.
fn live(world: &World, mut look: impl FnMut()) {
    let folder = world.change(|state| state.create_folder("group-v3", "erp").unwrap());
    look();
    let order = world.read(|state| {
        let source = state.vm("vm-101").unwrap();
        CloneOrder {
            source: source.id.clone(),
            folder: source.folder.clone(),
            name: "copy".to_owned(),
            ..CloneOrder::default()
        }
    });
    let vm = world.change(|state| state.finish_clone(&order).unwrap());
    look();
    let task = world.change(|state| state.open_task("PowerOnVM_Task", &vm, "somebody", true).unwrap());
    look();
    let boot = world.change(|state| state.set_power(&vm, true).unwrap());
    look();
    world.change(|state| state.close_task(&task, Ok(None)));
    look();
    world.change(|state| state.tools_up(&vm, boot));
    look();
    let snapshot = world.change(|state| state.take_snapshot(&vm, "precopy", "", false).unwrap());
    look();
    world.change(|state| state.rename(&vm, "renamed").unwrap());
    look();
    world.change(|state| state.move_into(&folder, std::slice::from_ref(&vm)).unwrap());
    look();
    world.change(|state| state.rename(&folder, "crm").unwrap());
    look();
    let outer = world.change(|state| state.create_folder("group-v3", "outer").unwrap());
    world.change(|state| state.move_into(&outer, &[folder]).unwrap());
    look();
    world.change(|state| drop(state.open_on("Rename_Task", (EntityKind::Folder, &outer), "somebody")));
    look();
    world.change(|state| state.remove_snapshot(&snapshot, true).unwrap());
    look();
    world.change(|state| {
        state.vm_mut("vm-102").unwrap().without_drs = true;
        state.set_power(&vm, false).unwrap();
    });
    look();
    world.change(|state| state.destroy_folder(&outer).unwrap());
    look();
    world.change(|state| state.destroy("vm-102").unwrap());
    look();
}

fn world() -> Arc<World> {
    World::new(&crate::api::world::World::shipped().unwrap().vsphere)
}

/// Nothing is told twice or too late, whether a client fetches all of it or a page now and then.
fn tells_all(container: &str, spec: &str) {
    for limit in [100, 2] {
        let world = world();
        let mut watched = Watched::new(&world, container, spec);
        assert!(!watched.all(limit).is_empty());
        let mut told = 0;
        live(&world, || told += watched.all(limit).len());
        assert!(told > 10, "{told}");
    }
    let world = world();
    let mut watched = Watched::new(&world, container, spec);
    live(&world, || drop(watched.page(2)));
    assert!(!watched.all(100).is_empty());
    watched.session.views.clear();
    world.change(|state| drop(state.open_on("Rename_Task", (EntityKind::Folder, "group-v3"), "somebody")));
    watched.all(100);
}

#[test]
fn whoever_watches_the_whole_inventory_is_told_all_that_a_look_at_everything_tells() {
    let spec = all_of(INVENTORY) + VIEW;
    let mut watched = Watched::new(&world(), "group-d1", &spec);
    watched.with(|_, passing, _| assert!(matches!(passing.filters["filter"].reach, Reach::Inventory(..))));
    tells_all("group-d1", &spec);
}

#[test]
fn whoever_watches_a_part_of_the_inventory_is_told_all_that_a_look_at_everything_tells() {
    tells_all("group-v3", &(all_of(INVENTORY) + VIEW));
}

#[test]
fn whoever_watches_single_objects_is_told_all_that_a_look_at_everything_tells() {
    let kinds = ["VirtualMachine", "VirtualMachineSnapshot", "Folder", "HostSystem", "ResourcePool"];
    let recent = "<propSet><type>TaskManager</type><pathSet>recentTask</pathSet></propSet>";
    let world = world();
    let (snapshot, host, pool) = world.change(|state| {
        let snapshot = state.take_snapshot("vm-101", "first", "", false).unwrap();
        (snapshot, state.hosts[0].id.clone(), state.pools[0].id.clone())
    });
    let one = |(kind, id): (&str, &str)| format!("<objectSet><obj type=\"{kind}\">{id}</obj></objectSet>");
    let objects = [
        ("VirtualMachine", "vm-102"),
        ("VirtualMachineSnapshot", snapshot.as_str()),
        ("Folder", "group-v3"),
        ("HostSystem", host.as_str()),
        ("ResourcePool", pool.as_str()),
        ("TaskManager", "TaskManager"),
    ];
    let spec = all_of(&kinds) + recent + &objects.map(one).concat();
    let mut watched = Watched::new(&world, "group-d1", &spec);
    assert!(!watched.all(100).is_empty());
    live(&world, || drop(watched.all(100)));
    world.change(|state| state.remove_snapshot(&snapshot, false).unwrap());
    assert!(watched.all(100).concat().contains("<kind>leave</kind>"));
}

#[test]
fn what_did_not_change_is_not_rendered_again() {
    let world = world();
    let kinds: String =
        INVENTORY.iter().map(|kind| format!("<propSet><type>{kind}</type><pathSet>name</pathSet></propSet>")).collect();
    let children = "<propSet><type>Folder</type><pathSet>childEntity</pathSet></propSet>";
    let mut watched = Watched::new(&world, "group-d1", &(kinds + children + VIEW));
    watched.all(100);
    world.change(|state| drop(state.open_on("Rename_Task", (EntityKind::Folder, "group-v3"), "somebody")));
    assert_eq!(watched.pending(), [], "a task shows nowhere in the inventory");
    world.change(|state| state.set_power("vm-102", true).unwrap());
    let looked_at = watched.pending();
    let vms: Vec<&str> = looked_at.iter().filter(|it| it.kind != "Folder").map(|it| it.id.as_str()).collect();
    assert_eq!(vms, ["vm-102"], "besides the folders, which may hold others now");
}

#[test]
fn a_fault_of_what_came_later_is_told_at_every_look() {
    let mut source = crate::api::world::World::shipped().unwrap().vsphere;
    let later = std::mem::take(&mut source.vms);
    let world = World::new(&source);
    let paths = "<propSet><type>VirtualMachine</type><pathSet>nonsense</pathSet></propSet>";
    let mut watched = Watched::new(&world, "group-d1", &(all_of(&["Folder"]) + paths + VIEW));
    assert!(!watched.all(100).is_empty());
    world.grow(&later[..1]);
    for _ in 0..3 {
        let told = watched.with(|scope, passing, _| updates(passing, scope, 100).map_err(|fault| fault.detail.kind));
        assert_eq!(told, Err("InvalidProperty"));
    }
}
