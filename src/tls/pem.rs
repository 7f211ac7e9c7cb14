//! From PEM to a chain with its key, with words for what may be wrong.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::{Problem, Source};

/// No chain and no key is longer: whoever names a video as a certificate is told so.
const FILE_MAX: u64 = 1 << 20;

const CHAIN: &str = "tls_cert";
const KEY: &str = "tls_key";

/// Reads and checks a chain and its key.
pub(super) fn load(source: &Source, provider: &CryptoProvider) -> Result<CertifiedKey, Problem> {
    match source {
        Source::Files { chain, key } => {
            let (chain, key) = (Text::read(CHAIN, chain)?, Text::read(KEY, key)?);
            certify(&chain, &key, provider)
        }
        Source::Pem { chain, key } => {
            let (chain, key) = (Text::given(CHAIN, chain), Text::given(KEY, key));
            certify(&chain, &key, provider)
        }
    }
}

/// One of the two texts, with the name by which its user knows it.
struct Text {
    setting: &'static str,
    name: String,
    bytes: Vec<u8>,
}

impl Text {
    fn read(setting: &'static str, path: &Path) -> Result<Text, Problem> {
        let name = format!("is the file {}", path.display());
        let failed = |why: String| Problem {
            setting,
            text: format!("{name}, and {why}"),
        };
        let length = std::fs::metadata(path)
            .map_err(|error| failed(format!("that cannot be read: {error}")))?;
        if length.len() > FILE_MAX {
            return Err(failed(
                "that is longer than 1 MiB, so it is no PEM file".to_owned(),
            ));
        }
        let bytes =
            std::fs::read(path).map_err(|error| failed(format!("that cannot be read: {error}")))?;
        Ok(Text {
            setting,
            name,
            bytes,
        })
    }

    fn given(setting: &'static str, bytes: &[u8]) -> Text {
        Text {
            setting,
            name: "is given as bytes".to_owned(),
            bytes: bytes.to_vec(),
        }
    }

    fn problem(&self, why: &str) -> Problem {
        Problem {
            setting: self.setting,
            text: format!("{}, {why}", self.name),
        }
    }

    fn has(&self, label: &str) -> bool {
        let label = label.as_bytes();
        self.bytes
            .windows(label.len())
            .any(|window| window == label)
    }

    fn sections(&self) -> Result<Vec<(SectionKind, Vec<u8>)>, Problem> {
        <(SectionKind, Vec<u8>)>::pem_slice_iter(&self.bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| {
                self.problem(&format!(
                    "which is not well-formed PEM (damaged, or cut off?): {error}"
                ))
            })
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Problem> {
        let sections = self.sections()?;
        let has_key = sections.iter().any(|(kind, _)| is_key(*kind));
        let chain: Vec<_> = sections
            .into_iter()
            .filter_map(|(kind, der)| CertificateDer::from_pem(kind, der))
            .collect();
        if !chain.is_empty() {
            return Ok(chain);
        }
        Err(self.problem(if has_key {
            "which holds a private key and no certificate: are the two exchanged?"
        } else if self.has("BEGIN CERTIFICATE REQUEST") {
            "which holds a request for a certificate: give the certificate that the authority made of it"
        } else if self.has("BEGIN ") {
            "which holds no certificate: it must have a section \"BEGIN CERTIFICATE\""
        } else {
            "which is not in PEM: it must have a section \"BEGIN CERTIFICATE\" \
             (from DER: openssl x509 -inform der -in FILE -out FILE.pem)"
        }))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Problem> {
        let sections = self.sections()?;
        let has_certificate = sections
            .iter()
            .any(|(kind, _)| *kind == SectionKind::Certificate);
        // As in RFC 1421 and RFC 5958: both mean a password that nobody is there to type.
        if self.has("BEGIN ENCRYPTED PRIVATE KEY") || self.has("Proc-Type: 4,ENCRYPTED") {
            return Err(self.problem(
                "which is protected by a password: take it off (openssl pkey -in FILE -out FILE.open) and protect the file instead",
            ));
        }
        let mut keys = sections
            .into_iter()
            .filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
        match (keys.next(), keys.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(self.problem("which holds several private keys: leave the one of the certificate")),
            (None, _) => Err(self.problem(if has_certificate {
                "which holds a certificate and no private key: are the two exchanged?"
            } else if self.has("BEGIN ") {
                "which holds no private key: it must have a section \"BEGIN PRIVATE KEY\", \"BEGIN RSA PRIVATE KEY\" or \"BEGIN EC PRIVATE KEY\""
            } else {
                "which is not in PEM: it must have a section \"BEGIN PRIVATE KEY\""
            })),
        }
    }
}

fn is_key(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
    )
}

fn certify(chain: &Text, key: &Text, provider: &CryptoProvider) -> Result<CertifiedKey, Problem> {
    let certificates = chain.chain()?;
    let signing = provider
        .key_provider
        .load_private_key(key.key()?)
        .map_err(|error| {
            key.problem(&format!("whose private key is of no usable kind (RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, Ed25519): {error}"))
        })?;
    let fits = |certificates: Vec<CertificateDer<'static>>, signing: &Arc<dyn SigningKey>| {
        let certified = CertifiedKey::new(certificates, signing.clone());
        certified.keys_match().map(|()| certified)
    };
    let error = match fits(certificates.clone(), &signing) {
        Ok(certified) => return Ok(certified),
        Err(error) => error,
    };
    let rustls::Error::InconsistentKeys(_) = error else {
        return Err(chain.problem(&format!("whose certificate cannot be read: {error}")));
    };
    let other = certificates
        .iter()
        .skip(1)
        .any(|certificate| fits(vec![certificate.clone()], &signing).is_ok());
    Err(if other {
        chain.problem(
            "whose certificates are in the wrong order: the server's own comes first, then who signed it, and so on",
        )
    } else {
        key.problem("and its private key does not belong to the certificate (setting `tls_cert`): take the two that were made together")
    })
}
