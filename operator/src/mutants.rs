//! Deliberately broken operators, one for each way in which operators are known to go wrong.
//!
//! The fault harness (`e2e/src/faults`) must catch all of them: a harness that finds nothing proves something only if it
//! finds what is there. They exist only under the feature `mutants`, which builds for release refuse. Every place where one
//! of them comes in is a single line of the product, marked with that feature.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use clap::ValueEnum;
use kube::{ResourceExt, api::DeleteParams};

use crate::{
    api::{
        Tenant,
        conditions::{self, Verdict, reasons, set_condition},
    },
    cluster::facts::Kind,
    tenant::{Context, Error, unwatched::Unwatched},
};

#[cfg(not(debug_assertions))]
compile_error!("the feature `mutants` breaks the operator on purpose: it is for tests, never for a release");

/// A way to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mutant {
    /// Deletes whatever bears the name: another object of that name would go as well.
    DeletesByName,
    /// Takes a read that failed for "not there", and makes new passwords in place of those that the database knows.
    RemakesSecrets,
    /// Removes what is no longer wanted only if it remembers having wanted it: a restart makes it forget.
    ForgetsPruning,
    /// Writes the status before the children, and later believes it.
    BelievesStatus,
    /// Lets the Tenant go before its namespace is deleted.
    LetsGoFirst,
}

static CHOSEN: OnceLock<Mutant> = OnceLock::new();
static ONCE_WANTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// From now on the operator in this process is broken in that way; only the first choice counts.
pub fn choose(mutant: Mutant) {
    let _ = CHOSEN.set(mutant);
}

/// Whether the operator is broken in that way.
pub(crate) fn is(mutant: Mutant) -> bool {
    CHOSEN.get() == Some(&mutant)
}

/// [`Mutant::DeletesByName`].
pub(crate) fn delete_params(params: DeleteParams) -> DeleteParams {
    if is(Mutant::DeletesByName) { DeleteParams { preconditions: None, ..params } } else { params }
}

/// [`Mutant::RemakesSecrets`].
pub(crate) fn outcome_of_reading(outcome: Result<Unwatched, Error>) -> Result<Unwatched, Error> {
    if is(Mutant::RemakesSecrets) { Ok(outcome.unwrap_or_default()) } else { outcome }
}

/// [`Mutant::ForgetsPruning`]: whether a child comes to mind.
pub(crate) fn remembers(namespace: &str, kind: Kind, name: &str) -> bool {
    let wanted = ONCE_WANTED.lock().unwrap_or_else(PoisonError::into_inner);
    !is(Mutant::ForgetsPruning) || wanted.contains(&format!("{namespace} {kind:?} {name}"))
}

/// [`Mutant::ForgetsPruning`]: what this process has wanted.
pub(crate) fn remember(namespace: &str, children: &[(Kind, String)]) {
    let mut wanted = ONCE_WANTED.lock().unwrap_or_else(PoisonError::into_inner);
    wanted.extend(children.iter().map(|(kind, name)| format!("{namespace} {kind:?} {name}")));
}

/// [`Mutant::BelievesStatus`]: whether the status says that nothing is left to do. A spec that is seen for the first time is
/// declared done at once.
pub(crate) async fn believes(tenant: Arc<Tenant>, ctx: &Context) -> Result<bool, Error> {
    if !is(Mutant::BelievesStatus) {
        return Ok(false);
    }
    let tenant = ctx.freshest(tenant);
    let mut status = tenant.status.clone().unwrap_or_default();
    let generation = tenant.metadata.generation;
    if status.observed_generation == generation {
        let ready = conditions::find(&status.conditions, conditions::READY);
        return Ok(ready.is_some_and(|condition| condition.status == "True"));
    }
    status.observed_generation = generation;
    let done = Verdict::yes(reasons::AS_EXPECTED, "");
    set_condition(&mut status.conditions, conditions::READY, done, generation, (ctx.now)());
    tracing::debug!(tenant = tenant.name_any(), "declared ready");
    let live = ctx.cluster.apply_status(&tenant, &status).await.map_err(Error::Cluster)?;
    ctx.remember(live);
    Ok(false)
}
