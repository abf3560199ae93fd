//! VMs, disks, networks and datastores that every platform shows in its own words.
