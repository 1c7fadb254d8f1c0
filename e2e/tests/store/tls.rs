//! A storage whose certificate is from an authority of one's own.

use anyhow::Result;
use e2e::helm;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, ids},
    storage::Storage,
};

/// An authority, and its certificate in PEM.
fn authority() -> Result<(Issuer<'static, KeyPair>, String)> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), certificate))
}

/// Changes what the door knows of authorities.
async fn trust(lab: &Lab, authority: Value) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), helm::NAMESPACE);
    let patch = match authority {
        Value::Null => json!({"data": {"ca.crt": null}}),
        text => json!({"stringData": {"ca.crt": text}}),
    };
    secrets.patch("s3", &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

#[tokio::test]
async fn a_storage_is_trusted_by_the_authority_in_the_secret_and_by_no_other() -> Result<()> {
    let lab = Lab::without_stores().await?;
    let acme = lab.tenant("acme", "0b7f8f0e-5a1b-4c3d-9e8f-000000000001").await?;
    let (issuer, ours) = authority()?;
    let (_, another) = authority()?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let folder = lab.folder.path().join("tls");
    std::fs::create_dir(&folder)?;
    let (certificate_file, key_file) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&certificate_file, certificate.pem())?;
    std::fs::write(&key_file, key.serialize_pem())?;
    let storage = Storage::start_with(&folder, Some([&certificate_file, &key_file])).await?;

    lab.make_store("tls", json!({"s3": storage.s3("backups")})).await?;
    lab.until_reason("tls", "False", "Unreachable").await?;
    trust(&lab, json!(another)).await?;
    lab.until_metric("tenantry_store_probes_total", &["tls", "Unreachable"], 3.0).await?;
    lab.until_reason("tls", "False", "Unreachable").await?;
    trust(&lab, json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).await?;
    let message = lab.until_reason("tls", "False", "CredentialsMissing").await?;
    assert!(message.contains("ca.crt"), "{message}");
    trust(&lab, json!(ours)).await?;
    lab.until_reason("tls", "True", "Probed").await?;
    // Small and in parts.
    for (id, size) in [(ids().0, 1000), (ids().1, 20 << 20)] {
        lab.put_backup(&acme, "tls", id, &vec![b'x'; size]).await?;
        let back = lab.get(&acme, "tls", &format!("{id}/data")).await?;
        assert_eq!(back.bytes().await?.len(), size);
    }
    // Another store's authority is not this one's.
    trust(&lab, Value::Null).await?;
    lab.until_reason("tls", "False", "Unreachable").await?;
    Ok(())
}
