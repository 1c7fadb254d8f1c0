//! Who has no business at the door.

use std::time::Duration;

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use e2e::host::wait::{Look, Wait};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, ResourceExt};
use operator::store::AUDIENCE;
use rcgen::{KeyPair, SigningKey};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::lab::{Lab, Tenant, ids, now};

const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-000000000001";
/// What the door says to a put with a token, and that nothing came of it.
async fn refused(lab: &Lab, acme: &Tenant, token: &str) -> Result<(u16, String)> {
    let object = format!("{}/data", ids().0);
    let path = acme.path("volume", &object);
    let (status, reason, message) = lab.refusal(Method::PUT, token, &path, "x").await?;
    assert!(!message.contains(token), "no token is repeated");
    assert_eq!(lab.get(acme, "volume", &object).await?.status(), StatusCode::NOT_FOUND);
    Ok((status.as_u16(), reason))
}

#[tokio::test]
async fn tokens_of_others_and_for_others_are_refused() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    let unknown = (401, "Unauthenticated".to_owned());
    let forbidden = (403, "Forbidden".to_owned());
    let other_audience = lab.token("tenant-acme", "store", &["https://kubernetes.default.svc"]).await?;
    assert_eq!(refused(&lab, &acme, &other_audience).await?, unknown);
    assert_eq!(refused(&lab, &acme, "abc").await?, unknown);
    assert_eq!(refused(&lab, &acme, &format!("{}x", acme.token)).await?, unknown);
    for (namespace, account) in [
        ("tenant-acme", "crm"),
        ("tenant-acme", "default"),
        ("default", "store"),
        ("tenantry-system", "store"),
    ] {
        let token = lab.token(namespace, account, &[AUDIENCE]).await?;
        assert_eq!(refused(&lab, &acme, &token).await?, forbidden, "{namespace}/{account}");
    }
    // Namespaces that look like a tenant's by their names alone.
    for (namespace, labels) in [
        ("tenant-none", json!({})),
        ("tenant-other", json!({"tenantry.dev/tenant": "acme", "tenantry.dev/tenant-uid": UID})),
        ("tenant-half", json!({"tenantry.dev/tenant": "half"})),
        ("tenant-odd", json!({"tenantry.dev/tenant": "odd", "tenantry.dev/tenant-uid": "x"})),
        ("acme", json!({"tenantry.dev/tenant": "acme", "tenantry.dev/tenant-uid": UID})),
    ] {
        lab.namespace(namespace, labels).await?;
        let token = lab.token(namespace, "store", &[AUDIENCE]).await?;
        assert_eq!(refused(&lab, &acme, &token).await?, forbidden, "{namespace}");
    }
    let answer = lab.put(&acme, "volume", &format!("{}/data", ids().0), b"x".to_vec()).await?;
    assert_eq!(answer.status(), StatusCode::CREATED, "the right token works");
    Ok(())
}

#[tokio::test]
async fn an_expired_token_is_refused_also_when_it_was_known() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    let long_ago = now() - SignedDuration::from_hours(1);
    let expired = signed(&lab, long_ago, long_ago + SignedDuration::from_mins(10)).await?;
    assert_eq!(refused(&lab, &acme, &expired).await?, (401, "Unauthenticated".to_owned()));
    // One that works for a few seconds more: the API server grants a minute for clocks that differ. An answer is believed
    // longer than that where the token allows it.
    let short = signed(&lab, long_ago, now() - SignedDuration::from_secs(54)).await?;
    let list = async || -> Result<StatusCode> {
        Ok(lab.send(Method::GET, &short, &acme.path("volume", ""), "").await?.status())
    };
    assert_eq!(list().await?, StatusCode::OK);
    Wait::new("the end of a token", Duration::from_secs(15))
        .until(async || {
            let status = list().await?;
            Ok(if status == StatusCode::UNAUTHORIZED {
                Look::Done(())
            } else {
                Look::NotYet(status.to_string())
            })
        })
        .await
}

/// A token as the API server would have made it then, signed with its key.
async fn signed(lab: &Lab, from: Timestamp, until: Timestamp) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(lab.client.clone(), "tenant-acme");
    let uid = accounts.get("store").await?.uid().context("an account has a uid")?;
    let claims = json!({
        "iss": "https://kubernetes.default.svc", "aud": [AUDIENCE], "sub": "system:serviceaccount:tenant-acme:store",
        "iat": from.as_second(), "nbf": from.as_second(), "exp": until.as_second(),
        "kubernetes.io": {"namespace": "tenant-acme", "serviceaccount": {"name": "store", "uid": uid}},
    });
    let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    let text = format!(
        "{}.{}",
        encode(json!({"alg": "ES256", "typ": "JWT"}).to_string()),
        encode(claims.to_string())
    );
    let folder = lab.control_plane.kubeconfig().parent().context("a folder")?;
    let key = KeyPair::from_pem(&std::fs::read_to_string(folder.join("service-account.key"))?)?;
    let signature = plain(&key.sign(text.as_bytes())?).context("a signature of two numbers")?;
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// The two numbers of an ECDSA signature, 32 bytes each, out of their ASN.1.
fn plain(der: &[u8]) -> Option<Vec<u8>> {
    let mut rest = der.get(2..)?;
    let mut plain = Vec::new();
    for _ in 0..2 {
        let length = usize::from(*rest.get(1)?);
        let number = rest.get(2..2 + length)?;
        let number = &number[number.len().saturating_sub(32)..];
        plain.extend(std::iter::repeat_n(0, 32 - number.len()));
        plain.extend(number);
        rest = rest.get(2 + length..)?;
    }
    Some(plain)
}
