//! Plans, Releases, Channels and BackupStores that a tenant refers to carry a finalizer, so that nobody deletes them under a running customer.

use std::collections::BTreeSet;

use kube::{Resource, ResourceExt, runtime::reflector::Store};
use serde::de::DeserializeOwned;

use crate::{
    api::{Channel, Plan, Tenant, TenantTombstone},
    cluster::{Cluster, Error},
    names::IN_USE_FINALIZER,
    tenant::Context,
};

/// Puts the finalizer where it belongs and takes it away where it does not.
pub async fn settle(ctx: &Context) -> Result<(), Error> {
    let Context { cluster, malformed, .. } = ctx;
    let tenants = ctx.tenants.state();
    let fleet = || tenants.iter().map(AsRef::as_ref);
    // Nobody can say what a tenant uses that cannot be read.
    let others = if malformed.of_kind::<Tenant>().is_empty() { Others::Release } else { Others::Keep };
    let used = used_plans(fleet());
    // Nor where the backups of a plan go that cannot be read.
    let plans_known = if malformed.of_kind::<Plan>().is_empty() { others } else { Others::Keep };
    let known = ctx.plans.state();
    let tombstones = ctx.tombstones.state();
    let kept = tombstones.iter().filter_map(|tombstone| tombstone.spec.store.as_deref());
    let used_here = used_stores(known.iter().map(AsRef::as_ref), &used).into_iter().chain(kept).collect();
    let stores_known =
        if malformed.of_kind::<TenantTombstone>().is_empty() { plans_known } else { Others::Keep };
    let stores = mark(cluster, &ctx.stores, &used_here, stores_known).await;
    let plans = mark(cluster, &ctx.plans, &used, others).await;
    let channels = mark(cluster, &ctx.channels, &used_channels(fleet()), others).await;
    // Nor which release a channel wants that cannot be read.
    let channels_known = if malformed.of_kind::<Channel>().is_empty() { others } else { Others::Keep };
    let known = ctx.channels.state();
    let used = used_releases(fleet())
        .into_iter()
        .chain(known.iter().flat_map(|channel| wanted_by(channel)))
        .collect();
    let releases = mark(cluster, &ctx.releases, &used, channels_known).await;
    plans.and(releases).and(stores).and(channels)
}

/// What becomes of the finalizer on objects that no readable tenant refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Release,
    Keep,
}

fn used_plans<'a>(tenants: impl Iterator<Item = &'a Tenant>) -> BTreeSet<&'a str> {
    tenants.map(|tenant| tenant.spec.plan.as_str()).collect()
}

/// Those to which the backups of these plans go.
fn used_stores<'a>(plans: impl Iterator<Item = &'a Plan>, used: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    plans
        .filter(|plan| used.contains(plan.name_any().as_str()))
        .filter_map(|plan| Some(plan.spec.backup.as_ref()?.store.as_str()))
        .collect()
}

fn used_channels<'a>(tenants: impl Iterator<Item = &'a Tenant>) -> BTreeSet<&'a str> {
    tenants.filter_map(|tenant| tenant.spec.channel.as_deref()).collect()
}

/// Those that tenants want, and those that still run, or may have to run again.
fn used_releases<'a>(tenants: impl Iterator<Item = &'a Tenant>) -> BTreeSet<&'a str> {
    tenants
        .flat_map(|tenant| {
            let status = tenant.status.as_ref();
            let running = status.and_then(|status| status.release.as_deref());
            let told = status.and_then(|status| status.target_release.as_deref());
            let under_way = status.and_then(|status| status.upgrade.as_ref());
            let under_way = under_way.map(|upgrade| [upgrade.from.as_str(), upgrade.to.as_str()]);
            let own = tenant.spec.release.as_deref();
            own.into_iter().chain(running).chain(told).chain(under_way.into_iter().flatten())
        })
        .collect()
}

/// The releases of a channel: the one that its tenants are to run, and the one with which new ones begin.
fn wanted_by(channel: &Channel) -> impl Iterator<Item = &str> {
    let settled = channel.status.as_ref().and_then(|status| status.settled_release.as_deref());
    settled.into_iter().chain([channel.spec.release.as_str()])
}

async fn mark<K>(
    cluster: &Cluster,
    store: &Store<K>,
    used: &BTreeSet<&str>,
    others: Others,
) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + 'static,
{
    for object in store.state() {
        let Some(finalizers) =
            wanted_finalizers(object.meta(), used.contains(object.name_any().as_str()), others)
        else {
            continue;
        };
        match cluster.set_finalizers(&*object, &finalizers).await {
            Ok(_) => (),
            // It has changed or gone since; the news of that is on its way and starts this again.
            Err(error) if error.is_conflict() || error.is_not_found() => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The finalizers that an object should have, if they are not those that it has.
fn wanted_finalizers(
    meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    used: bool,
    others: Others,
) -> Option<Vec<String>> {
    let present = meta.finalizers.clone().unwrap_or_default();
    let marked = present.iter().any(|finalizer| finalizer == IN_USE_FINALIZER);
    // The API server takes no new finalizers once an object is being deleted.
    let can_mark = meta.deletion_timestamp.is_none();
    match (marked, used) {
        (false, true) if can_mark => Some(present.into_iter().chain([IN_USE_FINALIZER.to_owned()]).collect()),
        (true, false) if others == Others::Release => {
            Some(present.into_iter().filter(|finalizer| finalizer != IN_USE_FINALIZER).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use rstest::rstest;

    use super::*;
    use crate::{
        api::{TenantStatus, UpgradeStep},
        testing,
    };

    #[rstest]
    #[case::used(&[], false, true, Some(vec![IN_USE_FINALIZER]))]
    #[case::used_and_marked(&[IN_USE_FINALIZER], false, true, None)]
    #[case::unused(&["other", IN_USE_FINALIZER], false, false, Some(vec!["other"]))]
    #[case::unused_and_unmarked(&["other"], false, false, None)]
    #[case::too_late(&["other"], true, true, None)]
    #[case::deleting_and_unused(&[IN_USE_FINALIZER], true, false, Some(vec![]))]
    fn the_finalizer_follows_the_use(
        #[case] present: &[&str],
        #[case] deleting: bool,
        #[case] used: bool,
        #[case] wanted: Option<Vec<&str>>,
    ) {
        let meta = ObjectMeta {
            finalizers: Some(present.iter().map(|name| (*name).to_owned()).collect()),
            deletion_timestamp: deleting.then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        };
        let wanted = wanted.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(wanted_finalizers(&meta, used, Others::Release), wanted);
    }

    #[test]
    fn nothing_is_let_go_while_a_tenant_cannot_be_read() {
        let marked =
            ObjectMeta { finalizers: Some(vec![IN_USE_FINALIZER.to_owned()]), ..ObjectMeta::default() };
        assert_eq!(wanted_finalizers(&marked, false, Others::Keep), None);
        let added = wanted_finalizers(&ObjectMeta::default(), true, Others::Keep);
        assert_eq!(added, Some(vec![IN_USE_FINALIZER.to_owned()]));
    }

    #[test]
    fn a_store_is_in_use_while_a_tenant_has_a_plan_whose_backups_go_there() {
        let plan = testing::plan();
        let used = |plans: &[&str]| used_stores([&plan].into_iter(), &plans.iter().copied().collect());
        assert_eq!(used(&["standard"]), BTreeSet::from(["main"]));
        assert_eq!(used(&["other"]), BTreeSet::new());
    }

    #[test]
    fn a_release_that_still_runs_is_in_use() {
        let mut tenant = testing::tenant();
        tenant.spec.release = Some("r2".into());
        tenant.status = Some(TenantStatus { release: Some("r1".into()), ..TenantStatus::default() });
        assert_eq!(used_releases([&tenant].into_iter()), BTreeSet::from(["r1", "r2"]));
    }

    #[test]
    fn so_is_one_that_a_tenant_may_have_to_go_back_to() {
        let mut tenant = testing::tenant();
        tenant.spec.release = None;
        tenant.status = Some(TenantStatus {
            release: Some("r2".into()),
            target_release: Some("r3".into()),
            upgrade: Some(testing::upgrade("r1", "r2", UpgradeStep::Rolling)),
            ..TenantStatus::default()
        });
        assert_eq!(used_releases([&tenant].into_iter()), BTreeSet::from(["r1", "r2", "r3"]));
    }

    #[test]
    fn so_are_those_of_a_channel() {
        let channel = testing::channel("r2", Some("r1"));
        assert_eq!(wanted_by(&channel).collect::<BTreeSet<_>>(), BTreeSet::from(["r1", "r2"]));
    }
}
