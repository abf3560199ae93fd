//! Typed configuration, merged from layers.
//!
//! Floor 0. Defaults ← files ← mounted Secret ← environment ← flags become [`Settings`],
//! [`Providers`] and [`Scenarios`]; unknown keys are refused with the layer, file and line that
//! brought them. From here on a secret is a `secrecy` type.

pub mod duration;
pub mod providers;
pub mod scenarios;
pub mod settings;

pub use providers::{Credentials, GuestCredentials, Platform, PlatformConfig, ProviderProfile, Providers};
pub use scenarios::{ExpectedResult, HookPlan, PowerState, Scenario, ScenarioVm, Scenarios};
pub use settings::{Keep, Settings, Timeouts};
