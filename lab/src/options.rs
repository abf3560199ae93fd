//! How a lab is asked for: releases to play, clock, addresses, defects. Plain values; parsed where
//! they are used.

use std::path::PathBuf;

use crate::api::world::World;
use crate::faults::FaultOptions;
use crate::forklift::ForkliftOptions;

/// How the lab behaves.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// How many simulated seconds pass in one real second. Default 600.
    pub clock_scale: f64,
    /// `2.9` … `2.13`.
    pub mtv_version: String,
    /// `4.19` …
    pub ocp_version: String,
    /// Names of `defects` to apply.
    pub defects: Vec<String>,
    /// Names of `weather` that is on besides the usual; `fair` first: instead of it.
    pub weather: Vec<String>,
    /// Listen address for all endpoints; port 0 picks free ones.
    pub listen: std::net::IpAddr,
    /// Whether vSphere, oVirt and OpenStack have port 443 of a loopback address of their own each, where that is allowed.
    pub own_addresses: bool,
    /// Fixed port of the API server; 0 picks a free one.
    pub port: u16,
    /// The kubeconfig of a cluster to live on, as cluster admin. `None`: an API server of the lab's own.
    pub on: Option<PathBuf>,
    /// How the wire between clients and the lab breaks; `None`: it does not.
    pub faults: Option<FaultOptions>,
    /// Which MTV there is.
    pub mtv: Mtv,
    /// Whether pods live and namespaces get a cluster's CA. Without, the API server stands alone.
    pub nodes: bool,
    /// Whether Kubernetes' events are told of pods. They stay for as long as the lab does.
    pub events: bool,
    /// A folder that the lab is kept in from one start to the next.
    pub state: Option<PathBuf>,
    /// What the platforms and the cluster hold; `None`: the shipped world. Its references were checked.
    pub world: Option<Box<World>>,
}

/// Which MTV works in the lab.
#[derive(Debug, Clone, Default)]
pub enum Mtv {
    /// The lab's own.
    #[default]
    Own,
    /// The real one, as children of the lab.
    Forklift(Box<ForkliftOptions>),
    /// None: somebody else runs it on the same API server.
    Elsewhere,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            clock_scale: 600.0,
            mtv_version: "2.11".to_owned(),
            ocp_version: "4.20.3".to_owned(),
            defects: Vec::new(),
            weather: Vec::new(),
            listen: std::net::IpAddr::from([127, 0, 0, 1]),
            own_addresses: false,
            port: 0,
            on: None,
            faults: None,
            mtv: Mtv::Own,
            nodes: true,
            events: false,
            state: None,
            world: None,
        }
    }
}
