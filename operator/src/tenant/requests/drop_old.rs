//! A database that served before a restore is dropped a day after the switch: until then its data is at hand, and afterwards it is
//! in the safety backup.
//!
//! Which databases may still be there and since when stands on the Namespace. A Job drops the oldest; when it has ended well, the
//! record says so, and then the Job goes. Repeated, it drops what is not there, which is success.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;

use super::Means;
use crate::{
    cluster::{
        cache::Snapshot,
        facts::{Finished, Kind},
    },
    names::{self, child},
    tenant::{Context, Error, build, databases::Databases},
};

/// For so long the old database is kept beside the new one.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// After a Job has given up, it is tried again after this time.
const RETRY_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Notes what was dropped.
pub(super) fn note(databases: &mut Databases, uid: &str, seen: &Snapshot) {
    while databases.oldest < databases.current
        && finished(seen, &names::drop_job(uid, databases.oldest)).is_some_and(|finished| finished.succeeded)
    {
        databases.oldest += 1;
    }
    if databases.oldest == databases.current {
        databases.switched_at = None;
    }
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// Drop that one.
    Drop(i64),
    /// The Job has given up, and long enough ago.
    Retry(String),
}

fn next(databases: &Databases, uid: &str, seen: &Snapshot, now: Timestamp) -> Next {
    let oldest = databases.oldest;
    let is_due = databases.switched_at.is_some_and(|at| at + KEPT <= now);
    if databases.current <= oldest || !is_due {
        return Next::Nothing;
    }
    let name = names::drop_job(uid, oldest);
    match (seen.job(&name), finished(seen, &name)) {
        (None, _) => Next::Drop(oldest),
        (_, Some(finished))
            if !finished.succeeded && finished.at.is_none_or(|at| at + RETRY_AFTER <= now) =>
        {
            Next::Retry(name)
        }
        _ => Next::Nothing,
    }
}

fn finished<'a>(seen: &'a Snapshot, job: &str) -> Option<&'a Finished> {
    seen.job(job)?.finished.as_ref()
}

/// Drops what has been kept long enough, and removes the Jobs that did.
pub(super) async fn attend(ctx: &Context, means: &Means<'_>, seen: &Snapshot) -> Result<(), Error> {
    let tenant = means.tenant;
    match next(&tenant.databases, &tenant.uid, seen, (ctx.now)()) {
        Next::Nothing => (),
        Next::Drop(generation) => {
            let job = build::drop_database(tenant, means.release, &ctx.settings, generation);
            ctx.cluster.create(&job).await.map_err(Error::Cluster)?;
        }
        Next::Retry(name) => remove(ctx, &tenant.namespace, seen, &name).await?,
    }
    let done: Vec<_> = seen
        .of_kind(Kind::Job)
        .filter(|(key, job)| key.name.starts_with(&format!("{}-", child::DROP)) && !job.deleting)
        .filter(|(key, _)| finished(seen, &key.name).is_some_and(|finished| finished.succeeded))
        .map(|(key, _)| key.name.clone())
        .collect();
    for name in done {
        remove(ctx, &tenant.namespace, seen, &name).await?;
    }
    Ok(())
}

async fn remove(ctx: &Context, namespace: &str, seen: &Snapshot, name: &str) -> Result<(), Error> {
    let Some(job) = seen.get(Kind::Job, name).filter(|job| !job.deleting) else { return Ok(()) };
    ctx.cluster.delete::<Job>(namespace, name, &job.uid).await.map_err(Error::Cluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::facts::{Facts, Finished, JobFacts},
        tenant::databases::EndedRestore,
        testing,
    };

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).unwrap()
    }

    /// Generation 3 serves since the first hour.
    fn databases() -> Databases {
        let mut databases = Databases::default();
        for generation in [2, 3] {
            let ended =
                EndedRestore { name: "r".into(), uid: generation.to_string(), generation: Some(generation) };
            databases.switch(generation, ended, at(1));
        }
        databases
    }

    fn seen(jobs: &[(i64, Option<(bool, i64)>)]) -> Snapshot {
        Snapshot::new(jobs.iter().map(|(generation, finished)| {
            let finished = finished.map(|(succeeded, hours)| Finished {
                succeeded,
                at: Some(at(hours)),
                ..Finished::default()
            });
            let facts = Facts::Job(JobFacts { finished, ..JobFacts::default() }.into());
            testing::child(Kind::Job, &names::drop_job("uid", *generation), facts)
        }))
    }

    #[test]
    fn the_oldest_goes_first_and_none_within_a_day() {
        let decide = |jobs: &[_], now| next(&databases(), "uid", &seen(jobs), at(now));
        assert_eq!(decide(&[], 24), Next::Nothing);
        assert_eq!(decide(&[], 25), Next::Drop(1));
        assert_eq!(decide(&[(1, None)], 25), Next::Nothing);
        assert_eq!(decide(&[(1, Some((false, 25)))], 25), Next::Nothing);
        assert_eq!(decide(&[(1, Some((false, 25)))], 26), Next::Retry(names::drop_job("uid", 1)));
        assert_eq!(next(&Databases::default(), "uid", &seen(&[]), at(100)), Next::Nothing);
    }

    #[test]
    fn what_was_dropped_is_noted_and_the_one_that_serves_never_is() {
        let noted = |jobs: &[_]| {
            let mut databases = databases();
            note(&mut databases, "uid", &seen(jobs));
            databases
        };
        assert_eq!(noted(&[(1, Some((false, 25)))]).oldest, 1);
        assert_eq!(noted(&[(2, Some((true, 25)))]).oldest, 1, "one after the other");
        let first = noted(&[(1, Some((true, 25)))]);
        assert_eq!(next(&first, "uid", &seen(&[]), at(26)), Next::Drop(2));
        let both = noted(&[(1, Some((true, 25))), (2, Some((true, 25))), (3, Some((true, 25)))]);
        assert_eq!((both.oldest, both.current, both.switched_at), (3, 3, None));
        assert_eq!(next(&both, "uid", &seen(&[]), at(100)), Next::Nothing);
    }
}
