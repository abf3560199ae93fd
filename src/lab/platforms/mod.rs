//! Source platforms over one world.
