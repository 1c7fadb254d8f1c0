//! The Secrets: made once and then left alone, but for the copies of pull secrets.

use k8s_openapi::api::core::v1::Secret;

use crate::{
    cluster::{cache::Snapshot, facts::Kind},
    names::child,
    tenant::{
        Context, Error,
        build::{self, CREDENTIAL_KEYS, Credentials, SIGN_IN_KEYS, SignIn},
        course::Course,
        observe::{missing_keys, recipient_in},
        unwatched::Unwatched,
        validate::ValidTenant,
    },
};

/// Made once: new passwords would not be the database's.
pub(super) async fn credentials(
    ctx: &Context,
    tenant: &ValidTenant,
    seen: &Snapshot,
    unwatched: &Unwatched,
) -> Result<(), Error> {
    let name = child::DATABASE_CREDENTIALS;
    match &unwatched.credentials {
        #[cfg(feature = "mutants")]
        None if crate::mutants::is(crate::mutants::Mutant::RemakesSecrets) => {
            let random = Credentials { owner: (ctx.random)(), app: (ctx.random)(), backup: (ctx.random)() };
            let secret = build::credentials(tenant, &random);
            ctx.cluster.apply_unwatched(None, &secret).await.map(drop).map_err(Error::Cluster)
        }
        Some(secret) => complete(tenant, name, secret, &CREDENTIAL_KEYS),
        None if seen.get(Kind::StatefulSet, child::DATABASE).is_some() => {
            Err(Error::SecretLost { name: name.to_owned(), namespace: tenant.namespace.clone() })
        }
        None => {
            let random = Credentials { owner: (ctx.random)(), app: (ctx.random)(), backup: (ctx.random)() };
            ctx.cluster.create(&build::credentials(tenant, &random)).await.map_err(Error::Cluster)
        }
    }
}

/// Made once for each wish, and only for a migration, which is what registers it.
///
/// Nobody needs it at any other time, so it is looked for only then.
pub(super) async fn sign_in(ctx: &Context, tenant: &ValidTenant, course: &Course) -> Result<(), Error> {
    if course.migration.is_none() {
        return Ok(());
    }
    let name = &tenant.sign_in_secret;
    let present: Option<Secret> = ctx.cluster.get(&tenant.namespace, name).await.map_err(Error::Cluster)?;
    if let Some(secret) = present {
        return complete(tenant, name, &secret, &SIGN_IN_KEYS);
    }
    let random = SignIn { token: (ctx.random)() };
    ctx.cluster.create(&build::sign_in(tenant, &random)).await.map_err(Error::Cluster)
}

/// Made once: with another key, the backups that there are could never be read again.
pub(super) async fn backup_identity(
    ctx: &Context,
    tenant: &ValidTenant,
    seen: &Snapshot,
    unwatched: &Unwatched,
) -> Result<(), Error> {
    if tenant.backup.is_none() {
        return Ok(());
    }
    let name = child::BACKUP_IDENTITY;
    let recorded = seen.namespace().and_then(|(_, facts)| facts.backup_recipient.clone());
    let lost = |recipient| Error::BackupKeyLost { namespace: tenant.namespace.clone(), recipient };
    match (&unwatched.backup_identity, recorded) {
        (Some(secret), recorded) => {
            complete(tenant, name, secret, &build::IDENTITY_KEYS)?;
            let present = recipient_in(secret);
            recorded
                .filter(|recorded| present.as_ref() != Some(recorded))
                .map_or(Ok(()), |key| Err(lost(key)))
        }
        (None, Some(recorded)) => Err(lost(recorded)),
        (None, None) => {
            let secret = build::backup_identity(tenant, (ctx.random)());
            ctx.cluster.create(&secret).await.map_err(Error::Cluster)?;
            // What is written down is what was kept, whoever made it.
            let _ = ctx.wake.unbounded_send(tenant.name.to_string());
            Ok(())
        }
    }
}

/// Whether a Secret has what it must have.
pub(super) fn complete(
    tenant: &ValidTenant,
    name: &str,
    secret: &Secret,
    keys: &[&str],
) -> Result<(), Error> {
    let missing = missing_keys(secret, keys);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::SecretIncomplete {
        name: name.to_owned(),
        namespace: tenant.namespace.clone(),
        missing: missing.join(", "),
    })
}

/// The copies follow their sources.
pub(super) async fn pull_secrets(
    ctx: &Context,
    tenant: &ValidTenant,
    unwatched: &Unwatched,
) -> Result<(), Error> {
    for pull in &unwatched.pull_secrets {
        let Some(source) = &pull.source else {
            return Err(Error::PullSecretMissing {
                name: pull.name.clone(),
                namespace: ctx.settings.namespace.clone(),
            });
        };
        let wanted = build::pull_secret(tenant, &pull.name, source);
        ctx.cluster.apply_unwatched(pull.copy.as_ref(), &wanted).await.map_err(Error::Cluster)?;
    }
    Ok(())
}
