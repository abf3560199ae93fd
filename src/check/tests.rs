//! Every rule against a table of truth.
