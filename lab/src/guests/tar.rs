//! `tar` to standard output and from standard input, as `kubectl cp` and `oc rsync` call it in a container: files and
//! directories, in the form of POSIX (ustar).

use super::files::{Entry, absolute, list, look, read};
use super::machine::{escaped, raw};
use super::shell::Answer;
use crate::ports::GuestProfile;

const BLOCK: usize = 512;
/// Where what is in a header begins, and how long it is.
const NAME: (usize, usize) = (0, 100);
const SIZE: (usize, usize) = (124, 12);
const SUM: (usize, usize) = (148, 8);
const KIND: usize = 156;
const PREFIX: (usize, usize) = (345, 155);

/// Whether a command reads an archive from standard input.
pub fn reads(words: &[String]) -> bool {
    order(words).is_some_and(|order| order.takes_out)
}

struct Order {
    takes_out: bool,
    into: String,
    paths: Vec<String>,
}

/// What a command line of tar's asks for, where it is one that is played: letters together or one by one, with a hyphen or
/// without; the archive is standard input or output, which is also what is meant where none is named.
fn order(words: &[String]) -> Option<Order> {
    let (program, rest) = words.split_first()?;
    if program.rsplit('/').next() != Some("tar") {
        return None;
    }
    let mut order = Order { takes_out: false, into: ".".to_owned(), paths: Vec::new() };
    let mut acts = (false, false);
    let mut rest = rest.iter().enumerate();
    while let Some((at, word)) = rest.next() {
        let letters = match word.strip_prefix('-') {
            Some(long) if long.starts_with('-') => match long {
                "-no-same-permissions" | "-no-same-owner" => continue,
                _ => return None,
            },
            Some("C") => {
                rest.next()?.1.clone_into(&mut order.into);
                continue;
            }
            Some(letters) => letters,
            None if at == 0 => word,
            None => {
                order.paths.push(word.clone());
                continue;
            }
        };
        if letters.is_empty() || !letters.chars().all(|letter| "cxfvmop".contains(letter)) {
            return None;
        }
        acts = (acts.0 || letters.contains('x'), acts.1 || letters.contains('c'));
        if letters.contains('f') && rest.next()?.1 != "-" {
            return None;
        }
    }
    order.takes_out = acts.0;
    (acts.0 != acts.1).then_some(order)
}

/// An archive of files below a folder; names are without the first slash.
pub fn of(folder: &str, files: &std::collections::BTreeMap<String, String>) -> Vec<u8> {
    let guest = GuestProfile { files: files.clone(), ..super::view::generic() };
    let mut archive = Vec::new();
    pack(&guest, folder.trim_start_matches('/'), folder, &mut archive);
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// Answers such a command; what it read is nothing where it packs.
pub fn answer(guest: &GuestProfile, words: &[String], input: &[u8]) -> Option<Answer> {
    if let [program, "--version"] = words.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
        && program.rsplit('/').next() == Some("tar")
    {
        // oc asks before it copies.
        return Some(Answer::out("tar (GNU tar) 1.34\n"));
    }
    let order = order(words)?;
    let into = absolute(guest, "/", &order.into);
    if order.takes_out {
        return Some(unpack(&into, input));
    }
    let mut all = Answer::default();
    let mut archive = Vec::new();
    for path in &order.paths {
        let whole = absolute(guest, &into, path);
        if look(guest, &whole).is_none() {
            all.stderr.push_str(&format!("tar: {path}: Cannot stat: No such file or directory\n"));
            all.code = 2;
            continue;
        }
        if path.starts_with('/') {
            all.stderr.push_str("tar: Removing leading `/' from member names\n");
        }
        pack(guest, path.trim_start_matches('/'), &whole, &mut archive);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    all.stdout = escaped(&archive);
    Some(all)
}

fn pack(guest: &GuestProfile, name: &str, whole: &str, archive: &mut Vec<u8>) {
    match look(guest, whole) {
        Some(Entry::File(_)) => {
            let bytes = raw(&read(guest, whole).unwrap_or_default());
            archive.extend(header(name, bytes.len(), b'0'));
            archive.extend(&bytes);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
        Some(Entry::Directory) => {
            archive.extend(header(&format!("{name}/"), 0, b'5'));
            for below in list(guest, whole).unwrap_or_default().into_keys() {
                pack(guest, &format!("{name}/{below}"), &format!("{whole}/{below}"), archive);
            }
        }
        None => {}
    }
}

fn header(name: &str, size: usize, kind: u8) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |(from, length): (usize, usize), text: &[u8]| {
        let fits = text.len().min(length);
        header[from..from + fits].copy_from_slice(&text[..fits]);
    };
    // A name that is too long for its field goes on in another, from a slash on.
    let cut = name.len().saturating_sub(NAME.1);
    let cut = if cut == 0 { None } else { name.get(cut - 1..).and_then(|rest| rest.find('/')).map(|at| at + cut - 1) };
    match cut {
        Some(at) => {
            put(PREFIX, &name.as_bytes()[..at]);
            put(NAME, &name.as_bytes()[at + 1..]);
        }
        None => put(NAME, name.as_bytes()),
    }
    put((100, 8), if kind == b'5' { b"0000755" } else { b"0000644" });
    put((108, 8), b"0000000");
    put((116, 8), b"0000000");
    put(SIZE, format!("{size:011o}").as_bytes());
    put((136, 12), b"14733541000");
    put(SUM, b"        ");
    put((KIND, 1), &[kind]);
    put((257, 8), b"ustar\x0000");
    put((265, 32), b"root");
    put((297, 32), b"root");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[SUM.0..SUM.0 + 7].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

fn words_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// `path` among the records of an extended header, each `LENGTH KEY=VALUE` and a line's end.
fn path_of(records: &[u8]) -> Option<String> {
    let mut rest = records;
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..length.checked_sub(1)?)?;
        if let Some(path) = record.strip_prefix(b"path=") {
            return Some(words_of(path));
        }
        rest = rest.get(length..)?;
    }
    None
}

fn unpack(into: &str, archive: &[u8]) -> Answer {
    let mut all = Answer::default();
    let mut rest = archive;
    // The whole name of the entry that follows, where its header has no room for it.
    let mut whole: Option<String> = None;
    let torn = |all: &mut Answer| {
        all.stderr.push_str("tar: Unexpected EOF in archive\ntar: Error is not recoverable: exiting now\n");
        all.code = 2;
    };
    while !rest.is_empty() {
        let Some((header, body)) = rest.split_at_checked(BLOCK) else {
            torn(&mut all);
            break;
        };
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let text = |(from, length): (usize, usize)| {
            let field = &header[from..from + length];
            String::from_utf8_lossy(field.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
        };
        let size = usize::from_str_radix(text(SIZE).trim(), 8).ok().filter(|size| *size <= body.len());
        let Some(size) = size else {
            torn(&mut all);
            break;
        };
        if matches!(header[KIND], b'x' | b'L') {
            let said = &body[..size];
            whole = if header[KIND] == b'x' { path_of(said) } else { Some(words_of(said)) }.or(whole);
            rest = body.get(size.next_multiple_of(BLOCK)..).unwrap_or_default();
            continue;
        }
        let short =
            [text(PREFIX), text(NAME)].iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/");
        let name = whole.take().unwrap_or(short);
        // Never above the directory that was named.
        let parts = name.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect::<Vec<_>>().join("/");
        let path = format!("{}/{parts}", into.trim_end_matches('/'));
        match header[KIND] {
            b'0' | 0 => drop(all.written.insert(path, escaped(&body[..size]))),
            b'5' => drop(all.written.insert(format!("{path}/"), String::new())),
            _ => {}
        }
        rest = body.get(size.next_multiple_of(BLOCK)..).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_was_packed_comes_out_again_below_the_directory_that_is_named() {
        let mut guest = crate::guests::view::generic();
        let long = format!("/data/{}/b", "x".repeat(110));
        guest.files.insert("/data/a".to_owned(), escaped(&[0, 255, 10]));
        guest.files.insert(long.clone(), "long".to_owned());
        let packed = answer(&guest, &words("tar cf - /data"), &[]).unwrap();
        assert!(packed.stderr.contains("Removing leading"));
        let archive = raw(&packed.stdout);
        assert_eq!(archive.len() % BLOCK, 0);
        assert!(reads(&words("tar -xmf - -C /tmp")) && !reads(&words("tar cf - /data")));
        let out = answer(&guest, &words("tar -xmf - -C /tmp"), &archive).unwrap();
        assert_eq!(raw(&out.written["/tmp/data/a"]), [0, 255, 10]);
        assert_eq!(out.written[&format!("/tmp{long}")], "long");
        assert_eq!(answer(&guest, &words("tar -xmf - -C /tmp"), &archive[..600]).unwrap().code, 2);
        assert_eq!(answer(&guest, &words("tar cf - /none"), &[]).unwrap().code, 2);
        assert!(answer(&guest, &words("tar --version"), &[]).unwrap().stdout.starts_with("tar (GNU tar)"));
        for no in ["tar tvf /tmp/x.tar", "tar cf /tmp/x.tar /data", "tar -cx /data", "tar -c --exclude=a /data"] {
            assert_eq!(answer(&guest, &words(no), &[]), None, "{no}");
        }
        // As `oc rsync` asks for a folder's contents, and leaves them.
        let packed = answer(&guest, &words("tar -C /data/ -c ."), &[]).unwrap();
        let out = answer(&guest, &words("tar -C /tmp -ox -v"), &raw(&packed.stdout)).unwrap();
        assert_eq!((raw(&out.written["/tmp/a"]), packed.code), (vec![0, 255, 10], 0));
        assert!(reads(&words("tar -C /tmp -ox -v")));
        // As Go writes a name that is not ASCII, and GNU a long one.
        for (kind, record) in [(b'x', "14 path=/d/\u{fc}\n".as_bytes()), (b'L', "/d/\u{fc}\0".as_bytes())] {
            let mut named = header("PaxHeaders.0/u", record.len(), kind).to_vec();
            named.extend(record);
            named.resize(2 * BLOCK, 0);
            named.extend(header("d/", 2, b'0'));
            named.extend(b"hi");
            named.resize(6 * BLOCK, 0);
            let out = answer(&guest, &words("tar -xmf - -C /tmp"), &named).unwrap();
            assert_eq!(out.written, [("/tmp/d/\u{fc}".to_owned(), "hi".to_owned())].into());
        }
        let mut climbing = header("../../etc/passwd", 0, b'0').to_vec();
        climbing.resize(3 * BLOCK, 0);
        let out = answer(&guest, &words("tar -xmf - -C /tmp"), &climbing).unwrap();
        assert_eq!(out.written.keys().collect::<Vec<_>>(), ["/tmp/etc/passwd"]);
    }
}
