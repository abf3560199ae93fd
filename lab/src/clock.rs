//! The lab's clock: simulated time passes faster than real time, in one place.

use std::time::Duration;

/// Simulated seconds per real second.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    scale: f64,
}

impl Clock {
    /// A scale of 1 is real time. Not positive: 1.
    pub fn new(scale: f64) -> Self {
        Self { scale: if scale > 0.0 { scale } else { 1.0 } }
    }
    pub fn scale(self) -> f64 {
        self.scale
    }
    /// The real time that `simulated` takes.
    pub fn real(self, simulated: Duration) -> Duration {
        simulated.div_f64(self.scale)
    }
    /// Waits for `simulated` to pass.
    pub async fn sleep(self, simulated: Duration) {
        tokio::time::sleep(self.real(simulated)).await;
    }
}
