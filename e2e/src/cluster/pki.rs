//! Certificates: one for each part, so that what a part may do is decided by who it is.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use crate::host::files;

/// A certificate with its private key, both in PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    /// The certificate.
    pub(crate) certificate: String,
    /// Its private key.
    pub(crate) key: String,
}

/// A certificate authority.
pub(crate) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority that nobody knows yet.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let mut params = params(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate in PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate by which a client proves its name and, if it is in one, its group: a name made by rcgen has one
    /// organization at most.
    pub(crate) fn client(&self, name: &str, group: Option<&str>) -> Result<Leaf> {
        let mut params = params(name, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// A certificate for a server that is reached under these names and addresses.
    pub(crate) fn server(&self, name: &str, names: &[&str], addresses: &[IpAddr]) -> Result<Leaf> {
        let mut params = params(name, None);
        for name in names {
            params.subject_alt_names.push(SanType::DnsName((*name).try_into()?));
        }
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        // etcd checks its own connection to itself with the certificate it serves.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// Writes `<name>.crt` and `<name>.key` of the authority.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<()> {
        let key = self.issuer.key().serialize_pem();
        Leaf { certificate: self.certificate.clone(), key }.write(folder, name)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Leaf> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl Leaf {
    /// Writes `<name>.crt` and `<name>.key`, readable by the owner only.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<()> {
        files::write_atomically(&folder.join(format!("{name}.crt")), self.certificate.as_bytes())?;
        files::write_atomically(&folder.join(format!("{name}.key")), self.key.as_bytes())
    }
}

/// Makes a folder of keys all at once or, when it is there, leaves it as it is: half a set of keys fits no other half.
pub(crate) fn once(folder: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let parent = folder.parent().context("a folder of keys has a parent")?;
    let work = tempfile::Builder::new().prefix(".keys-").tempdir_in(parent)?;
    make(work.path())?;
    fs::rename(work.path(), folder).with_context(|| format!("cannot keep {}", folder.display()))?;
    // What the guard would remove has its final name now.
    let _ = work.keep();
    Ok(())
}

/// A key pair that signs the tokens of service accounts, as `<name>.key` and `<name>.pub`.
pub(crate) fn write_signing_key(folder: &Path, name: &str) -> Result<()> {
    let key = KeyPair::generate()?;
    files::write_atomically(&folder.join(format!("{name}.key")), key.serialize_pem().as_bytes())?;
    files::write_atomically(&folder.join(format!("{name}.pub")), key.public_key_pem().as_bytes())
}

fn params(name: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_whole() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("pki");
        let make =
            |folder: &Path| Authority::new("test")?.client("alice", Some("staff"))?.write(folder, "alice");
        once(&folder, make).unwrap();
        let first = fs::read_to_string(folder.join("alice.key")).unwrap();
        once(&folder, make).unwrap();
        assert_eq!(fs::read_to_string(folder.join("alice.key")).unwrap(), first);
    }

    #[test]
    fn a_failure_leaves_no_half_set() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("pki");
        assert!(once(&folder, |_| anyhow::bail!("no")).is_err());
        assert!(!folder.exists());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
