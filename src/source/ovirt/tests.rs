//! The driver against the lab's engine.
