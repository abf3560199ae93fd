//! The objects that the API server starts with.
