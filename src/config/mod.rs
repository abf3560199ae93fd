//! Typed configuration, merged from layers.
//!
//! Floor 0. Defaults ← files ← mounted Secret ← environment ← flags become [`Settings`],
//! [`Providers`] and [`Scenarios`]; unknown keys are refused with the layer, file and line that
//! brought them. From here on a secret is a `secrecy` type.

pub mod duration;
pub mod errors;
pub mod layers;
pub mod load;
mod merge;
mod node;
mod profile;
pub mod providers;
pub mod scenarios;
pub mod schema;
pub mod settings;
mod shipped;
#[cfg(test)]
mod tests;
mod validate;

pub use errors::{ConfigErrors, Layer, Origin, Problem, nearest};
pub use load::{LoadRequest, Loaded, load};
pub use providers::{
    Credentials, GuestCredentials, OpenshiftConfig, Platform, PlatformConfig, ProviderProfile, Providers,
};
pub use scenarios::{ExpectedResult, HookPlan, PowerState, Scenario, ScenarioVm, Scenarios};
pub use settings::{Keep, Settings, Timeouts};
