//! Certificates: read from Secrets, chosen by SNI, replaced while connections are served.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::api::core::v1::Secret;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{Gateway, host::Host};

/// Why a Secret gives no certificate.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCertificate {
    /// The Secret has no such key.
    #[error("the secret has no {0}")]
    Missing(&'static str),
    /// Not PEM, or without what it should hold.
    #[error("{field} cannot be read")]
    Pem {
        /// The Secret's key.
        field: &'static str,
        /// What the parser says.
        source: rustls_pki_types::pem::Error,
    },
    /// The private key is unusable or is not the certificate's.
    #[error("certificate and private key cannot be used")]
    Key(#[from] rustls::Error),
}

/// The certificates that are loaded, by the name of their Secret.
#[derive(Debug, Default)]
pub(super) struct Certificates(RwLock<HashMap<String, Arc<CertifiedKey>>>);

impl Certificates {
    pub(super) fn put(&self, secret: &str, certificate: CertifiedKey) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(secret.to_owned(), Arc::new(certificate));
    }

    pub(super) fn keep(&self, secrets: &BTreeSet<&str>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| secrets.contains(name.as_str()));
    }

    pub(super) fn get(&self, secret: &str) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(secret).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Reads a Secret of type `kubernetes.io/tls`.
pub fn parse(secret: &Secret) -> Result<CertifiedKey, InvalidCertificate> {
    let chain = CertificateDer::pem_slice_iter(field(secret, "tls.crt")?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| InvalidCertificate::Pem { field: "tls.crt", source })?;
    let key = PrivateKeyDer::from_pem_slice(field(secret, "tls.key")?)
        .map_err(|source| InvalidCertificate::Pem { field: "tls.key", source })?;
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}

/// The TLS settings of the listener: TLS 1.2 and 1.3, HTTP/2 and 1.1, certificate by SNI.
pub(super) fn server_config(gateway: &Arc<Gateway>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(BySni(Arc::clone(gateway))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn field<'a>(secret: &'a Secret, name: &'static str) -> Result<&'a [u8], InvalidCertificate> {
    let value = secret.data.as_ref().and_then(|data| data.get(name));
    value.map(|bytes| bytes.0.as_slice()).ok_or(InvalidCertificate::Missing(name))
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

struct BySni(Arc<Gateway>);

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = Host::from_wire(hello.server_name()?).ok()?;
        let (_, certificate) = self.0.certificate_for(&host)?;
        Some(certificate)
    }
}

impl fmt::Debug for BySni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BySni")
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let data = entries.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_secret_must_hold_a_certificate_and_its_own_key() {
        let one = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        assert!(parse(&secret(&[("tls.crt", &certificate), ("tls.key", &key)])).is_ok());

        let foreign_key = other.signing_key.serialize_pem();
        let mixed = parse(&secret(&[("tls.crt", &certificate), ("tls.key", &foreign_key)]));
        assert!(matches!(mixed, Err(InvalidCertificate::Key(_))), "{mixed:?}");
        let garbage = parse(&secret(&[("tls.crt", &certificate), ("tls.key", "garbage")]));
        assert!(matches!(garbage, Err(InvalidCertificate::Pem { field: "tls.key", .. })), "{garbage:?}");
        let empty = parse(&secret(&[("tls.crt", ""), ("tls.key", &key)]));
        assert!(matches!(empty, Err(InvalidCertificate::Key(_))), "{empty:?}");
        assert!(matches!(parse(&secret(&[])), Err(InvalidCertificate::Missing("tls.crt"))));
    }
}
