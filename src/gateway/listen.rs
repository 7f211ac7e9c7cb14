//! Where the program listens, from its options.

use std::path::PathBuf;

use clap::Args;
use ringhall::{Builder, Tls};

/// The addresses and their certificate.
#[derive(Args)]
pub(crate) struct Listen {
    /// Listen on this address; may be repeated.
    ///
    /// ADDRESS (such as 127.0.0.1:3000, [::]:80, localhost:0) or http://ADDRESS speaks http and ws, https://ADDRESS speaks https and wss,
    /// with the certificate of --tls-cert or --tls-self-signed. Port 0 takes any free port; behind http:// and https:// no port means
    /// 80 and 443. `http` alone is port 80 of all addresses of this machine, `https` alone is port 443.
    ///
    /// Without this option: localhost:8080, and with a certificate https://localhost:8443 as well.
    #[arg(long, value_name = "ADDRESS", verbatim_doc_comment)]
    listen: Vec<String>,
    /// The certificate for https, in PEM: the server's own, then those of the authorities in between ("fullchain.pem"). It
    /// is loaded again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate, in PEM, without a password.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// For development: make a certificate for localhost, 127.0.0.1, ::1 and this machine's name, which nobody trusts and which ends with
    /// the program.
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"])]
    tls_self_signed: bool,
}

impl Listen {
    /// Adds all addresses.
    pub(crate) fn apply(
        &self,
        mut builder: Builder,
    ) -> Result<Builder, Box<dyn std::error::Error>> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(Tls::files(cert, key)),
            _ if self.tls_self_signed => Some(self_signed()?),
            _ => None,
        };
        for Address { name, is_secure } in addresses(&self.listen, tls.is_some())? {
            builder = match &tls {
                Some(tls) if is_secure => builder.listen_tls(name, tls.clone()),
                _ => builder.listen(name),
            };
        }
        Ok(builder)
    }

    /// Whether clients will complain about the certificate.
    pub(crate) fn is_self_signed(&self) -> bool {
        self.tls_self_signed
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Address {
    name: String,
    is_secure: bool,
}

/// What is meant by `--listen`. Nothing is guessed: an address is secure when it says so.
fn addresses(listen: &[String], has_certificate: bool) -> Result<Vec<Address>, String> {
    let mut all = Vec::new();
    let mut add = |is_secure: bool, name: String| all.push(Address { name, is_secure });
    if listen.is_empty() {
        add(false, "localhost:8080".to_owned());
        if has_certificate {
            add(true, "localhost:8443".to_owned());
        }
    }
    for given in listen {
        match (given.as_str(), given.split_once("://")) {
            (scheme @ ("http" | "https"), None) => {
                let is_secure = scheme == "https";
                for ip in ["[::]", "0.0.0.0"] {
                    add(is_secure, with_port(ip, is_secure));
                }
            }
            (_, None) => add(false, given.clone()),
            (_, Some((scheme @ ("http" | "https"), name))) => {
                let is_secure = scheme == "https";
                // As it is copied from a browser.
                let name = name.strip_suffix('/').unwrap_or(name);
                add(is_secure, with_port(name, is_secure));
            }
            (_, Some(_)) => {
                return Err(format!(
                    "--listen {given}: only http:// and https:// can be in front of an address"
                ));
            }
        }
    }
    match all.iter().find(|address| address.is_secure) {
        Some(address) if !has_certificate => Err(format!(
            "--listen: https on {} needs a certificate: add --tls-cert FILE and --tls-key FILE, or --tls-self-signed for development",
            address.name
        )),
        None if has_certificate => Err(
            "there is a certificate, and no address uses it: write https:// in front of one (--listen https://ADDRESS), or leave out --listen"
                .to_owned(),
        ),
        _ => Ok(all),
    }
}

fn with_port(name: &str, is_secure: bool) -> String {
    // An address of IPv6 has its colons in brackets.
    let behind = name.rsplit_once(']').map_or(name, |(_, behind)| behind);
    if behind.contains(':') {
        return name.to_owned();
    }
    format!("{name}:{}", if is_secure { 443 } else { 80 })
}

/// A new certificate, which is nowhere but in this process.
fn self_signed() -> Result<Tls, rcgen::Error> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
    names.extend(machine_name());
    let key = rcgen::KeyPair::generate()?;
    let mut about = rcgen::CertificateParams::new(names)?;
    about.distinguished_name = rcgen::DistinguishedName::new();
    about
        .distinguished_name
        .push(rcgen::DnType::CommonName, "ringhall (self-signed)");
    about.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let made = about.self_signed(&key)?;
    Ok(Tls::pem(made.pem(), key.serialize_pem()))
}

/// Where it can be in a certificate.
fn machine_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    (plain && !name.is_empty() && name != "localhost").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listen: &[&str], has_certificate: bool) -> Result<Vec<(bool, String)>, String> {
        let listen: Vec<String> = listen.iter().map(|one| (*one).to_owned()).collect();
        let all = addresses(&listen, has_certificate)?;
        Ok(all
            .into_iter()
            .map(|one| (one.is_secure, one.name))
            .collect())
    }

    #[test]
    fn addresses_are_as_they_are_meant() {
        let (http, https) = (false, true);
        type Case<'a> = (&'a [&'a str], bool, &'a [(bool, &'a str)]);
        let cases: [Case<'_>; 8] = [
            (&[], false, &[(http, "localhost:8080")]),
            (
                &[],
                true,
                &[(http, "localhost:8080"), (https, "localhost:8443")],
            ),
            (&["http"], false, &[(http, "[::]:80"), (http, "0.0.0.0:80")]),
            (
                &["https"],
                true,
                &[(https, "[::]:443"), (https, "0.0.0.0:443")],
            ),
            (&["127.0.0.1:3000"], false, &[(http, "127.0.0.1:3000")]),
            (
                &["https://127.0.0.1:1/", "http://[::1]"],
                true,
                &[(https, "127.0.0.1:1"), (http, "[::1]:80")],
            ),
            (&["https://[::1]"], true, &[(https, "[::1]:443")]),
            (&["https://[::1]:5"], true, &[(https, "[::1]:5")]),
        ];
        for (listen, has_certificate, wanted) in cases {
            let wanted: Vec<(bool, String)> = wanted
                .iter()
                .map(|(is_secure, name)| (*is_secure, (*name).to_owned()))
                .collect();
            assert_eq!(of(listen, has_certificate), Ok(wanted), "{listen:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let cases: [(&[&str], bool, &str); 3] = [
            (&["https"], false, "needs a certificate"),
            (&["127.0.0.1:1"], true, "no address uses it"),
            (&["ftp://127.0.0.1:1"], true, "ftp://"),
        ];
        for (listen, has_certificate, words) in cases {
            let text = of(listen, has_certificate).unwrap_err();
            assert!(text.contains(words) && text.contains("--listen"), "{text}");
        }
    }

    #[test]
    fn a_certificate_is_made_that_can_be_served() {
        let tls = self_signed().unwrap();
        let builder = ringhall::Server::builder().listen_tls("127.0.0.1:0", tls);
        builder.check().unwrap();
    }
}
