//! What time it is: the one place that reads the wall clock, so that one place can be wrong about it.
//!
//! For what people and other systems read (logs, marks, ledgers). How long something takes, and when it is
//! over, is measured with tokio's `Instant`: that one does not jump, and tests can stop it.

/// Now, by this machine.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
