//! The endpoint as its clients see it.
