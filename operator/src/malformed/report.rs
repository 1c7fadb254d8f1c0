//! Tells of malformed objects: one line, one event, and for a Tenant the condition, if it can be written.

use super::{Malformed, salvage};
use crate::{
    api::{
        Tenant,
        conditions::{self, Verdict, reasons, set_condition},
    },
    cluster::{Error, Severity},
    tenant::Context,
};

/// Tells of every malformed object that nobody has been told of.
pub async fn report(ctx: &Context) -> Result<(), Error> {
    for object in ctx.malformed.untold() {
        set_ready(ctx, &object).await?;
        let (kind, name) = (object.kind(), object.name());
        tracing::error!(kind, name, cause = object.cause, "object is malformed and left alone");
        let note = message(&object);
        ctx.cluster
            .event_about(&object.reference, Severity::Warning, "Read", reasons::MALFORMED, &note)
            .await;
        ctx.malformed.told(&object);
    }
    Ok(())
}

/// What is wrong, what that means, and what to do.
fn message(object: &Malformed) -> String {
    let (kind, name) = (object.kind(), object.name());
    format!(
        "this {kind} cannot be read, so what depends on it stays as it is: {}. Repair it: kubectl edit {} {name}",
        object.cause,
        kind.to_lowercase(),
    )
}

/// Whether a Tenant still says what it was told; of other kinds nothing is written.
pub(super) fn stands(object: &Malformed) -> bool {
    if object.kind() != <Tenant as kube::Resource>::kind(&()) {
        return true;
    }
    let Some(tenant) = salvage::tenant(object) else { return true };
    let said = tenant.status.unwrap_or_default().conditions;
    conditions::find(&said, conditions::READY).is_some_and(|ready| ready.reason == reasons::MALFORMED)
}

/// Says in the status of a Tenant what is wrong with its spec.
async fn set_ready(ctx: &Context, object: &Malformed) -> Result<(), Error> {
    let is_tenant = object.kind() == <Tenant as kube::Resource>::kind(&());
    let Some(tenant) = salvage::tenant(object).filter(|_| is_tenant) else { return Ok(()) };
    let before = tenant.status.unwrap_or_default().conditions;
    let mut conditions = before.clone();
    let verdict = Verdict::no(reasons::MALFORMED, message(object));
    set_condition(&mut conditions, conditions::READY, verdict, tenant.metadata.generation, (ctx.now)());
    if conditions == before {
        return Ok(());
    }
    match ctx.cluster.patch_conditions(&object.metadata, &conditions).await {
        // The API server checks the whole object, so it may refuse even that.
        Err(error) if error.is_refusal() => {
            tracing::warn!(tenant = object.name(), error = %error, "the status cannot be written either");
            Ok(())
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        malformed::Guarded,
        testing::world::{TENANT, World},
    };

    #[tokio::test]
    async fn it_is_told_once_with_what_to_do() {
        let world = World::new();
        world.api.change(TENANT, |tenant| tenant["spec"]["displayName"] = json!(5));
        let read = || {
            let stored = world.api.get(TENANT).unwrap();
            *serde_json::from_value::<Guarded<Tenant>>(stored).unwrap().0.unwrap_err()
        };
        world.ctx.malformed.put(read());
        report(&world.ctx).await.unwrap();
        let ready = world.api.get(TENANT).unwrap()["status"]["conditions"][0].clone();
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Malformed")));
        let message = ready["message"].as_str().unwrap();
        assert!(
            message.contains("spec.displayName: invalid type")
                && message.contains("kubectl edit tenant acme"),
            "{message}"
        );
        let events = |calls: &[crate::testing::fake_api::Call]| {
            calls.iter().filter(|call| call.path.contains("/events")).count()
        };
        assert_eq!(events(&world.api.take_calls()), 1);

        // The watch brings our own change; a restarted operator finds its words there.
        world.ctx.malformed.put(read());
        report(&world.ctx).await.unwrap();
        assert_eq!(world.api.take_calls(), []);
        let restarted = World::new();
        restarted.api.put(TENANT, world.api.get(TENANT).unwrap());
        restarted.ctx.malformed.put(read());
        report(&restarted.ctx).await.unwrap();
        assert_eq!(events(&restarted.api.take_calls()), 1, "one event for each process, and no status");
    }
}
