//! What lies in the lab's must-gather pod: an archive as the image packs it, with the image's own name in it and no more.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The image's script for one Plan.
pub const SCRIPT: &str = "/usr/bin/targeted";
/// Where it leaves what it packed.
pub const ARCHIVE: &str = "/must-gather/must-gather.tar.gz";
const BLOCK: usize = 512;

/// A tar archive of one file, packed.
pub fn archive(image: &str) -> Vec<u8> {
    let text = format!("{image}\n");
    let mut tar = header("must-gather/version", text.len()).to_vec();
    tar.extend_from_slice(text.as_bytes());
    // Each file fills blocks, and two empty ones are the end.
    tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    // Into memory: nothing of it can fail.
    packed.write_all(&tar).and_then(|()| packed.finish()).unwrap_or_default()
}

/// The block before a file (ustar): its sum is over the block with blanks in its own place.
fn header(name: &str, length: usize) -> [u8; BLOCK] {
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| {
        for (place, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
            *place = byte;
        }
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{length:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in block.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *place = byte;
    }
    block
}
