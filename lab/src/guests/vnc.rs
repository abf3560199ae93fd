//! A VM's screen over VNC: RFB 3.8 (RFC 6143) without a password, as KubeVirt's. The picture is a blank text screen; keys
//! and the mouse are read and do nothing.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const WIDTH: u16 = 720;
const HEIGHT: u16 = 400;
const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// 32 bits a pixel, 24 of them colour, little end first.
const PIXELS: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];

/// Serves one viewer until it goes.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, name: &str) -> std::io::Result<()> {
    stream.write_all(VERSION).await?;
    let mut version = [0; 12];
    stream.read_exact(&mut version).await?;
    // One way in: none is asked who he is.
    stream.write_all(&[1, 1]).await?;
    if stream.read_u8().await? != 1 {
        return Ok(());
    }
    stream.write_u32(0).await?;
    stream.read_u8().await?;
    stream.write_u16(WIDTH).await?;
    stream.write_u16(HEIGHT).await?;
    stream.write_all(&PIXELS).await?;
    stream.write_u32(u32::try_from(name.len()).unwrap_or_default()).await?;
    stream.write_all(name.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = 4;
    loop {
        match stream.read_u8().await? {
            // SetPixelFormat.
            0 => {
                let mut format = [0; 19];
                stream.read_exact(&mut format).await?;
                bytes = usize::from(format[3] / 8).clamp(1, 4);
            }
            // SetEncodings: raw is always allowed.
            2 => {
                stream.read_u8().await?;
                let count = stream.read_u16().await?;
                skip(&mut stream, u64::from(count) * 4).await?;
            }
            // FramebufferUpdateRequest: what has changed since is nothing.
            3 => {
                let mut asked = [0; 9];
                stream.read_exact(&mut asked).await?;
                if asked[0] == 0 {
                    picture(&mut stream, bytes).await?;
                }
            }
            4 => skip(&mut stream, 7).await?,
            5 => skip(&mut stream, 5).await?,
            6 => {
                skip(&mut stream, 3).await?;
                let length = stream.read_u32().await?;
                skip(&mut stream, u64::from(length)).await?;
            }
            _ => return Ok(()),
        }
    }
}

async fn skip<S: AsyncRead + Unpin>(stream: &mut S, count: u64) -> std::io::Result<()> {
    tokio::io::copy(&mut stream.take(count), &mut tokio::io::sink()).await.map(drop)
}

async fn picture<S: AsyncWrite + Unpin>(stream: &mut S, bytes: usize) -> std::io::Result<()> {
    stream.write_all(&[0, 0, 0, 1, 0, 0, 0, 0]).await?;
    stream.write_u16(WIDTH).await?;
    stream.write_u16(HEIGHT).await?;
    stream.write_i32(0).await?;
    let row = vec![0; usize::from(WIDTH) * bytes];
    for _ in 0..HEIGHT {
        stream.write_all(&row).await?;
    }
    stream.flush().await
}

/// The same blank screen as a PNG of one bit a pixel, for `vnc/screenshot`.
pub fn screenshot() -> Vec<u8> {
    let rows = vec![0; (1 + usize::from(WIDTH) / 8) * usize::from(HEIGHT)];
    let length = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    let mut header = [u32::from(WIDTH).to_be_bytes(), u32::from(HEIGHT).to_be_bytes()].concat();
    // One bit, grey, and the only ways of compression, filter and order that take no other.
    header.extend([1, 0, 0, 0, 0]);
    // One stored block; of zeros Adler's sums are one and their number.
    let mut data = vec![0x78, 0x01, 0x01];
    data.extend(length.to_le_bytes());
    data.extend((!length).to_le_bytes());
    data.extend(rows);
    data.extend(length.to_be_bytes());
    data.extend(1_u16.to_be_bytes());
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", data), (b"IEND", Vec::new())] {
        png.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
        let body = [kind.as_slice(), &data].concat();
        png.extend(&body);
        png.extend(crc(&body).to_be_bytes());
    }
    png
}

/// CRC-32 as PNG has it, a bit at a time.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screenshot_is_a_png() {
        assert_eq!(crc(b"IEND"), 0xae42_6082, "as every PNG ends");
        let png = screenshot();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\xd0\0\0\x01\x90"));
        assert!(png.ends_with(b"IEND\xae\x42\x60\x82"));
    }

    #[tokio::test]
    async fn a_viewer_is_let_in_and_gets_a_picture() {
        let (mut viewer, server) = tokio::io::duplex(1 << 16);
        let served = tokio::spawn(async move { serve(server, "erp").await });
        let mut version = [0; 12];
        viewer.read_exact(&mut version).await.unwrap();
        assert_eq!(&version, VERSION);
        viewer.write_all(VERSION).await.unwrap();
        assert_eq!((viewer.read_u8().await.unwrap(), viewer.read_u8().await.unwrap()), (1, 1));
        viewer.write_all(&[1]).await.unwrap();
        assert_eq!(viewer.read_u32().await.unwrap(), 0);
        viewer.write_all(&[1]).await.unwrap();
        assert_eq!((viewer.read_u16().await.unwrap(), viewer.read_u16().await.unwrap()), (WIDTH, HEIGHT));
        let mut rest = [0; 16 + 4 + 3];
        viewer.read_exact(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"erp"));
        viewer.write_all(&[3, 0, 0, 0, 0, 0, 2, 208, 1, 144]).await.unwrap();
        let mut picture = vec![0; 16 + usize::from(WIDTH) * usize::from(HEIGHT) * 4];
        viewer.read_exact(&mut picture).await.unwrap();
        drop(viewer);
        assert!(served.await.unwrap().is_err(), "it hung up");
    }
}
