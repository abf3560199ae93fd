//! Typed configuration, merged from layers.
//!
//! Floor 0. Defaults ← files ← mounted Secret ← environment ← flags become [`Settings`],
//! [`Providers`] and [`Scenarios`]; unknown keys are refused with the layer, file and line that
//! brought them. From here on a secret is a `secrecy` type.

mod assemble;
pub mod duration;
pub mod errors;
mod fail_fast;
pub mod known;
pub mod layers;
pub mod load;
mod merge;
mod node;
pub mod platforms;
pub mod python;
mod request;
pub mod scenarios;
mod schema;
pub(crate) mod secret;
pub mod settings;
mod shipped;
mod show;
pub mod suite;
#[cfg(test)]
mod tests;
mod typed;
mod validate;
pub mod world;

pub use errors::{ConfigErrors, Layer, Origin, Problem, nearest};
pub use fail_fast::FailFast;
pub use known::defaults;
pub use load::{Loaded, load, shipped_scenarios};
pub use platforms::{
    Copyoffload, Credentials, EsxiCloneMethod, GuestCredentials, OpenshiftConfig, Platform, PlatformConfig,
    ProviderProfile, Providers,
};
pub use request::LoadRequest;
pub use scenarios::steps;
pub use scenarios::{ExpectedResult, HookPlan, PowerState, Scenario, ScenarioVm, Scenarios};
pub use settings::{Flaky, Keep, RetriesOn, Settings, Timeouts, TraceDetail};
