//! What a guest is besides what is installed on it: its disks, how long it has run, and where a session stands in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ports::GuestProfile;

/// Bytes that sessions may leave on one guest's disks.
const ROOM: usize = 16 << 20;

/// A machine, as one command finds it.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Sizes in bytes; empty: one of the usual size.
    pub disks: Vec<u64>,
    pub up: Duration,
    /// The working directory; empty: the login's home.
    pub cwd: String,
}

/// What sessions have left on a guest's disks, by path; nothing: it was taken away. Directories end with their separator.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl Disk {
    /// The guest with what is on its disks now.
    pub fn on(&self, guest: &GuestProfile) -> GuestProfile {
        let mut guest = guest.clone();
        for (path, text) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            match text {
                Some(text) => drop(guest.files.insert(path.clone(), text.clone())),
                None => drop(guest.files.remove(path)),
            }
        }
        guest
    }

    /// `false`: no space is left.
    pub fn write(&self, path: &str, text: String) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let used: usize = all.iter().filter(|(own, _)| *own != path).map(|(_, text)| of(text)).sum();
        let fits = used + text.len() <= ROOM;
        if fits {
            all.insert(path.to_owned(), Some(text));
        }
        fits
    }

    /// What was left, for the next lab.
    pub fn kept(&self) -> BTreeMap<String, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn of(kept: BTreeMap<String, Option<String>>) -> Self {
        Self(Arc::new(Mutex::new(kept)))
    }

    pub fn remove(&self, path: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), None);
    }
}

/// Bytes as a text in which each byte that is no UTF-8 stands as a sign of its own, so that [`raw`] finds it again.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(ESCAPE + u32::from(*byte))));
    }
    text
}

/// The bytes of such a text.
pub fn raw(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(ESCAPE).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// In a private plane, where no text has anything.
const ESCAPE: u32 = 0x10_ff00;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_come_back_as_they_were() {
        let all: Vec<u8> = (0..=255).chain("grüß".bytes()).collect();
        assert_eq!(raw(&escaped(&all)), all);
        assert_eq!(escaped("grüß".as_bytes()), "grüß");
    }

    #[test]
    fn a_guests_disk_is_full_at_some_time() {
        let disk = Disk::default();
        assert!(disk.write("/a", "x".repeat(ROOM)) && !disk.write("/b", "x".to_owned()));
        assert!(disk.write("/a", "y".to_owned()) && disk.write("/b", "x".to_owned()));
    }
}
