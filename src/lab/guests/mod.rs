//! Guests: SSH servers behind KubeVirt's port-forward.
