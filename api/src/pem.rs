//! Certificates as PEM text. Pure.

use base64::Engine as _;

/// One block a certificate, lines of 64 characters.
pub fn of_der(certificates: &[impl AsRef<[u8]>]) -> String {
    let mut pem = String::new();
    for der in certificates {
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            // Base64 is ASCII, so any byte is a character boundary.
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    #[test]
    fn what_is_written_as_pem_reads_back_as_the_same_certificates() {
        let certificates = vec![vec![7_u8; 100], vec![9_u8; 48]];
        let pem = super::of_der(&certificates);
        let back: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|c| c.unwrap().to_vec()).collect();
        assert_eq!(back, certificates);
    }
}
