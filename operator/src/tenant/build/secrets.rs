//! Secrets: passwords with their verifiers, the sign-in link, copies of pull secrets. Randomness comes in as an argument.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use postgres_protocol::password::scram_sha_256;
use sha2::{Digest, Sha256};

use super::common::meta;
use crate::{
    names::{Component, child},
    tenant::validate::ValidTenant,
};

/// Keys that Secret `database-credentials` must have.
pub const CREDENTIAL_KEYS: [&str; 6] = [
    "owner-password",
    "app-password",
    "backup-password",
    "owner-verifier",
    "app-verifier",
    "backup-verifier",
];

/// Keys that a sign-in Secret must have for its migration.
pub const SIGN_IN_KEYS: [&str; 4] = ["token-sha256", "admin-name", "admin-email", "expires-in"];

/// How long a sign-in link can be used.
const SIGN_IN_SECONDS: u32 = 7 * 24 * 3600;

/// Randomness for the passwords of the database roles.
pub struct Credentials {
    /// Of `crm_owner`, which migrates.
    pub owner: [u8; 32],
    /// Of `crm_app`, which serves.
    pub app: [u8; 32],
    /// Of `crm_backup`, which reads.
    pub backup: [u8; 32],
}

/// Randomness for a sign-in link.
pub struct SignIn {
    /// The token.
    pub token: [u8; 32],
}

/// The passwords, and the verifiers that the database gets instead of them.
pub fn credentials(tenant: &ValidTenant, random: &Credentials) -> Secret {
    let mut data = Vec::new();
    for (role, bytes) in [("owner", &random.owner), ("app", &random.app), ("backup", &random.backup)] {
        let password = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        data.push((format!("{role}-verifier"), scram_sha_256(password.as_bytes())));
        data.push((format!("{role}-password"), password));
    }
    secret(tenant, Component::Database, child::DATABASE_CREDENTIALS, data)
}

/// The one-time sign-in link; the token is in the fragment, so that it is in no server's log.
pub fn sign_in(tenant: &ValidTenant, random: &SignIn) -> Secret {
    let token = BASE64_URL_SAFE_NO_PAD.encode(random.token);
    let hash = hex::encode(Sha256::digest(token.as_bytes()));
    let data = vec![
        ("token-sha256".to_owned(), hash),
        ("admin-name".to_owned(), tenant.admin_name.clone()),
        ("admin-email".to_owned(), tenant.admin_email.clone()),
        ("expires-in".to_owned(), SIGN_IN_SECONDS.to_string()),
        ("url".to_owned(), format!("{}/welcome#{token}", tenant.url)),
        ("token".to_owned(), token),
    ];
    secret(tenant, Component::FirstSignIn, &tenant.sign_in_secret, data)
}

fn secret(tenant: &ValidTenant, component: Component, name: &str, data: Vec<(String, String)>) -> Secret {
    let data = data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes())));
    Secret {
        metadata: meta(tenant, component, name),
        type_: Some("Opaque".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

/// A copy of a pull secret of the operator's namespace.
pub fn pull_secret(tenant: &ValidTenant, name: &str, source: &Secret) -> Secret {
    let data: Option<BTreeMap<String, ByteString>> = source.data.clone();
    Secret {
        metadata: meta(tenant, Component::Tenant, name),
        type_: source.type_.clone(),
        data,
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn text(secret: &Secret, key: &str) -> String {
        String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
    }

    #[test]
    fn the_database_gets_verifiers_and_no_two_passwords_are_alike() {
        let secret = credentials(
            &testing::valid_tenant(),
            &Credentials { owner: [1; 32], app: [2; 32], backup: [3; 32] },
        );
        for key in CREDENTIAL_KEYS {
            assert!(!text(&secret, key).is_empty(), "{key}");
        }
        assert!(text(&secret, "app-verifier").starts_with("SCRAM-SHA-256$4096:"));
        assert_ne!(text(&secret, "app-password"), text(&secret, "owner-password"));
        assert!(!text(&secret, "app-verifier").contains(&text(&secret, "app-password")));
    }

    #[test]
    fn the_link_carries_the_token_whose_hash_the_database_gets() {
        let secret = sign_in(&testing::valid_tenant(), &SignIn { token: [7; 32] });
        let url = text(&secret, "url");
        let token = url.strip_prefix("http://acme.crm.localhost:8080/welcome#").unwrap();
        assert_eq!(token, text(&secret, "token"));
        let hash = hex::encode(Sha256::digest(token.as_bytes()));
        assert_eq!(hash, text(&secret, "token-sha256"));
    }
}
