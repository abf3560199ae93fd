//! Ways in which a migration goes wrong although MTV says Succeeded.
