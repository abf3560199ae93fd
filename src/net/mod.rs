//! How requests travel, whoever speaks: what may be repeated, how long one tries, which way they go,
//! and what a failure means in words.
//!
//! Knows protocols, no platform and no kind of object. Cluster, source platforms, MTV's inventory and
//! pushes all speak by these rules, so that each is decided once:
//! [`repeat`] which requests may be repeated, [`retry`] when and how often, [`proxy`] through what,
//! [`poll`] asking again and again, [`rate`] how many a second, [`fetch`] one request by all that, [`told`] who hears of it, [`words`] how it is told.

pub mod fetch;
pub mod pauses;
pub mod poll;
pub mod proxy;
pub mod rate;
pub mod repeat;
pub mod retry;
pub mod told;
pub mod words;

pub use poll::Poll;
pub use retry::{Attempts, Failed, IDLE_CONNECTIONS, Peer};
