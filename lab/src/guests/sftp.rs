//! SFTP, version 3 (draft-ietf-secsh-filexfer-02), on a guest's disk: what `scp`, `sftp`, virtctl and Ansible ask of it.
//! Small files are held whole while they are open. Links, owners and times are not kept.

use std::collections::HashMap;

use super::files::{self, Entry};
use super::machine::{Disk, escaped, raw};
use crate::ports::GuestProfile;

/// The largest packet, in bytes; OpenSSH sends none above 256 KiB.
const PACKET: usize = 288 * 1024;
/// The most that one answer to a read holds.
const READ: usize = 32 * 1024;
/// The largest file.
const FILE: usize = 16 << 20;
/// Open at once in one session.
const HANDLES: usize = 64;

mod kind {
    pub const INIT: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const LSTAT: u8 = 7;
    pub const FSTAT: u8 = 8;
    pub const SETSTAT: u8 = 9;
    pub const FSETSTAT: u8 = 10;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const RMDIR: u8 = 15;
    pub const REALPATH: u8 = 16;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
}

/// Why a request is not done, by the protocol's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    Failure = 4,
    BadMessage = 5,
    Unsupported = 8,
}

impl Status {
    fn words(self) -> &'static str {
        match self {
            Self::Ok => "Success",
            Self::Eof => "End of file",
            Self::NoSuchFile => "No such file",
            Self::Failure => "Failure",
            Self::BadMessage => "Bad message",
            Self::Unsupported => "Operation unsupported",
        }
    }
}

enum Open {
    File {
        path: String,
        bytes: Vec<u8>,
        changed: bool,
    },
    /// What is left to be told of a directory.
    Directory(Vec<(String, Entry)>),
}

/// One session of one client.
pub struct Sftp {
    guest: GuestProfile,
    disk: Disk,
    open: HashMap<u32, Open>,
    next: u32,
    /// Bytes of a packet that has not come whole.
    rest: Vec<u8>,
}

/// Reads what is in a packet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
    fn long(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.take(usize::try_from(count).ok()?)
    }
    fn text(&mut self) -> Option<String> {
        self.bytes().map(escaped)
    }
    fn handle(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes()?.try_into().ok()?))
    }
}

/// A packet that is being made.
struct Packet(Vec<u8>);

impl Packet {
    fn new(kind: u8, id: u32) -> Self {
        let mut packet = Self(vec![0, 0, 0, 0, kind]);
        packet.number(id);
        packet
    }
    fn number(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_be_bytes());
        self
    }
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }
    /// Size, owner and mode.
    fn attributes(&mut self, entry: Entry) -> &mut Self {
        let (size, mode) = match entry {
            Entry::Directory => (6, 0o040_755),
            Entry::File(bytes) => (bytes, 0o100_644),
        };
        self.number(0b111);
        self.0.extend(size.to_be_bytes());
        self.number(0).number(0).number(mode)
    }
    fn done(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
        self.0[..4].copy_from_slice(&length);
        self.0
    }
}

fn status(id: u32, status: Status) -> Vec<u8> {
    let mut packet = Packet::new(kind::STATUS, id);
    packet.number(status as u32).bytes(status.words().as_bytes()).bytes(b"en");
    packet.done()
}

impl Sftp {
    pub fn new(guest: GuestProfile, disk: Disk) -> Self {
        Self { guest, disk, open: HashMap::new(), next: 0, rest: Vec::new() }
    }

    /// Answers what has come; `None`: no client of this protocol speaks so.
    pub fn take(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.rest.extend_from_slice(bytes);
        let mut answers = Vec::new();
        while let Some(length) = self.rest.first_chunk::<4>().map(|head| u32::from_be_bytes(*head)) {
            let length = usize::try_from(length).ok().filter(|length| (1..=PACKET).contains(length))?;
            if self.rest.len() < 4 + length {
                break;
            }
            let packet: Vec<u8> = self.rest.drain(..4 + length).skip(4).collect();
            answers.extend(self.answer(&packet));
        }
        Some(answers)
    }

    fn answer(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut reader = Reader(packet);
        let Some((kind, id)) = reader.byte().zip(reader.number()) else { return status(0, Status::BadMessage) };
        if kind == kind::INIT {
            return Packet::new(kind::VERSION, 3).done();
        }
        self.serve(kind, id, &mut reader).unwrap_or_else(|refused| status(id, refused))
    }

    fn serve(&mut self, kind: u8, id: u32, reader: &mut Reader<'_>) -> Result<Vec<u8>, Status> {
        let bad = Status::BadMessage;
        let guest = self.disk.on(&self.guest);
        let path = |reader: &mut Reader<'_>| Ok(files::absolute(&guest, "", &reader.text().ok_or(bad)?));
        match kind {
            kind::REALPATH => {
                let path = path(reader)?;
                let shown = if guest.windows { format!("/{}", path.replace('\\', "/")) } else { path };
                let mut packet = Packet::new(kind::NAME, id);
                packet.number(1).bytes(&raw(&shown)).bytes(&raw(&shown)).number(0);
                Ok(packet.done())
            }
            kind::STAT | kind::LSTAT => attributes(id, files::look(&guest, &path(reader)?)),
            kind::FSTAT => {
                let entry = match self.open.get(&reader.handle().ok_or(bad)?) {
                    Some(Open::File { bytes, .. }) => Entry::File(bytes.len() as u64),
                    Some(Open::Directory(_)) => Entry::Directory,
                    None => return Err(Status::Failure),
                };
                attributes(id, Some(entry))
            }
            // Modes, owners and times are taken and not kept; a length is.
            kind::SETSTAT => {
                files::look(&guest, &path(reader)?).map_or(Err(Status::NoSuchFile), |_| Ok(status(id, Status::Ok)))
            }
            kind::FSETSTAT => {
                let handle = reader.handle().ok_or(bad)?;
                let length = (reader.number() == Some(1)).then(|| reader.long()).flatten();
                if let (Some(Open::File { bytes, changed, .. }), Some(length)) = (self.open.get_mut(&handle), length) {
                    let length =
                        usize::try_from(length).ok().filter(|length| *length <= FILE).ok_or(Status::Failure)?;
                    bytes.resize(length, 0);
                    *changed = true;
                }
                Ok(status(id, Status::Ok))
            }
            kind::OPENDIR => {
                let names = files::list(&guest, &path(reader)?).ok_or(Status::NoSuchFile)?;
                self.hold(id, Open::Directory(names.into_iter().collect()))
            }
            kind::READDIR => match self.open.get_mut(&reader.handle().ok_or(bad)?) {
                Some(Open::Directory(names)) if !names.is_empty() => {
                    let mut packet = Packet::new(kind::NAME, id);
                    packet.number(u32::try_from(names.len()).unwrap_or_default());
                    for (name, entry) in names.drain(..) {
                        packet.bytes(&raw(&name)).bytes(&raw(&files::long(&name, entry))).attributes(entry);
                    }
                    Ok(packet.done())
                }
                Some(Open::Directory(_)) => Err(Status::Eof),
                _ => Err(Status::Failure),
            },
            kind::OPEN => self.open_file(id, &guest, path(reader)?, reader.number().ok_or(bad)?),
            kind::READ => {
                let (handle, from, most) =
                    (reader.handle().ok_or(bad)?, reader.long().ok_or(bad)?, reader.number().ok_or(bad)?);
                let Some(Open::File { bytes, .. }) = self.open.get(&handle) else { return Err(Status::Failure) };
                let from = usize::try_from(from).unwrap_or(usize::MAX);
                let part = bytes.get(from..).filter(|part| !part.is_empty()).ok_or(Status::Eof)?;
                let most = usize::try_from(most).unwrap_or(READ).min(READ).min(part.len());
                let mut packet = Packet::new(kind::DATA, id);
                packet.bytes(&part[..most]);
                Ok(packet.done())
            }
            kind::WRITE => {
                let (handle, from, data) =
                    (reader.handle().ok_or(bad)?, reader.long().ok_or(bad)?, reader.bytes().ok_or(bad)?);
                let Some(Open::File { bytes, changed, .. }) = self.open.get_mut(&handle) else {
                    return Err(Status::Failure);
                };
                let from =
                    usize::try_from(from).ok().filter(|from| from + data.len() <= FILE).ok_or(Status::Failure)?;
                let end = from + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[from..end].copy_from_slice(data);
                *changed = true;
                Ok(status(id, Status::Ok))
            }
            kind::CLOSE => match self.open.remove(&reader.handle().ok_or(bad)?) {
                Some(Open::File { path, bytes, changed: true }) if !self.disk.write(&path, escaped(&bytes)) => {
                    Err(Status::Failure)
                }
                Some(_) => Ok(status(id, Status::Ok)),
                None => Err(Status::Failure),
            },
            kind::REMOVE => {
                let path = path(reader)?;
                match files::look(&guest, &path) {
                    Some(Entry::File(_)) => self.disk.remove(&path),
                    Some(Entry::Directory) => return Err(Status::Failure),
                    None => return Err(Status::NoSuchFile),
                }
                Ok(status(id, Status::Ok))
            }
            kind::MKDIR => {
                let path = path(reader)?;
                if files::look(&guest, &path).is_some() || !files::has_parent(&guest, &path) {
                    return Err(Status::Failure);
                }
                self.disk.write(&format!("{path}{}", files::separator(guest.windows)), String::new());
                Ok(status(id, Status::Ok))
            }
            kind::RMDIR => {
                let path = path(reader)?;
                let empty = files::list(&guest, &path).ok_or(Status::NoSuchFile)?.is_empty();
                if !empty {
                    return Err(Status::Failure);
                }
                self.disk.remove(&format!("{path}{}", files::separator(guest.windows)));
                Ok(status(id, Status::Ok))
            }
            kind::RENAME => {
                let (from, to) = (path(reader)?, path(reader)?);
                let text = files::read(&guest, &from).ok_or(Status::NoSuchFile)?;
                if files::look(&guest, &to).is_some() || !self.disk.write(&to, text) {
                    return Err(Status::Failure);
                }
                self.disk.remove(&from);
                Ok(status(id, Status::Ok))
            }
            _ => Err(Status::Unsupported),
        }
    }

    fn hold(&mut self, id: u32, open: Open) -> Result<Vec<u8>, Status> {
        if self.open.len() >= HANDLES {
            return Err(Status::Failure);
        }
        self.next = self.next.wrapping_add(1);
        self.open.insert(self.next, open);
        let mut packet = Packet::new(kind::HANDLE, id);
        packet.bytes(&self.next.to_be_bytes());
        Ok(packet.done())
    }

    /// Flags: 2 write, 8 make, 16 cut, 32 only where there is none.
    fn open_file(&mut self, id: u32, guest: &GuestProfile, path: String, flags: u32) -> Result<Vec<u8>, Status> {
        let has = |flag: u32| flags & flag != 0;
        let bytes = match files::look(guest, &path) {
            Some(Entry::Directory) => return Err(Status::Failure),
            Some(Entry::File(_)) if has(32) => return Err(Status::Failure),
            Some(Entry::File(_)) if has(16) => Vec::new(),
            Some(Entry::File(_)) => raw(&files::read(guest, &path).unwrap_or_default()),
            None if has(8) && files::has_parent(guest, &path) => Vec::new(),
            None => return Err(Status::NoSuchFile),
        };
        let changed = has(2) && (has(8) || has(16));
        self.hold(id, Open::File { path, bytes, changed })
    }
}

fn attributes(id: u32, entry: Option<Entry>) -> Result<Vec<u8>, Status> {
    let mut packet = Packet::new(kind::ATTRS, id);
    packet.attributes(entry.ok_or(Status::NoSuchFile)?);
    Ok(packet.done())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8, id: u32, fill: impl FnOnce(&mut Packet)) -> Vec<u8> {
        let mut packet = Packet::new(kind, id);
        fill(&mut packet);
        packet.done()
    }

    fn guest() -> GuestProfile {
        GuestProfile {
            windows: false,
            hostname: "h".to_owned(),
            pretty_name: "Red Hat Enterprise Linux 9.4".to_owned(),
            users: Vec::new(),
            nics: Vec::new(),
            files: Default::default(),
            fails: None,
            luks: None,
            shared: None,
        }
    }

    #[test]
    fn a_file_is_written_in_pieces_and_read_back_by_another_session() {
        let disk = Disk::default();
        let mut sftp = Sftp::new(guest(), disk.clone());
        assert_eq!(sftp.take(&request(kind::INIT, 3, |_| {})).unwrap()[4..], [kind::VERSION, 0, 0, 0, 3]);
        let open = request(kind::OPEN, 1, |p| _ = p.bytes(b"/tmp/b").number(2 | 8 | 16).number(0));
        // Cut anywhere, a packet is one packet.
        assert!(sftp.take(&open[..7]).unwrap().is_empty());
        let handle = sftp.take(&open[7..]).unwrap();
        assert_eq!(handle[4], kind::HANDLE);
        let handle = handle[13..].to_vec();
        for (from, data) in [(0_u64, &[0xff, 0x00][..]), (2, b"end")] {
            let write = request(kind::WRITE, 2, |p| {
                p.bytes(&handle);
                p.0.extend(from.to_be_bytes());
                p.bytes(data);
            });
            assert_eq!(sftp.take(&write).unwrap()[4], kind::STATUS);
        }
        sftp.take(&request(kind::CLOSE, 3, |p| _ = p.bytes(&handle))).unwrap();
        let mut other = Sftp::new(guest(), disk);
        let opened = other.take(&request(kind::OPEN, 1, |p| _ = p.bytes(b"/tmp/b").number(1).number(0))).unwrap();
        let read = request(kind::READ, 2, |p| {
            p.bytes(&opened[13..]);
            p.0.extend(0_u64.to_be_bytes());
            p.number(1000);
        });
        assert_eq!(other.take(&read).unwrap()[13..], [&[0xff, 0x00][..], b"end"].concat());
    }

    #[test]
    fn what_is_not_there_is_said_by_its_number_and_nonsense_ends_the_session() {
        let mut sftp = Sftp::new(guest(), Disk::default());
        let code = |answer: Vec<u8>| (answer[4], answer.get(12).copied());
        let stat = |path: &'static str| request(kind::STAT, 1, move |p| _ = p.bytes(path.as_bytes()));
        assert_eq!(code(sftp.take(&stat("/nothing")).unwrap()), (kind::STATUS, Some(2)));
        assert_eq!(sftp.take(&stat("/tmp")).unwrap()[4], kind::ATTRS);
        assert_eq!(code(sftp.take(&request(99, 1, |_| {})).unwrap()), (kind::STATUS, Some(8)));
        assert_eq!(sftp.take(b"GET / HTTP/1.1\r\n"), None);
    }
}
