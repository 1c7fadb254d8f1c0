//! What a Plan does not want kept is removed behind the door, and nothing else.

use anyhow::Result;
use jiff::SignedDuration;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    lab::{Lab, STORES, id, manifest, now},
    past::{ago, midnight, whole},
    relay::{Fate, Relay},
};

#[tokio::test]
async fn what_the_plan_does_not_want_goes_and_nothing_else() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    // No object has this uid: a cluster that was restored from Git would look like that.
    let stranger = lab.tenant("bluesky", "0b7f8f0e-5a1b-4c3d-9e8f-000000000002").await?;
    lab.customer("cobalt", "standard").await?;
    let mut expected = Vec::new();
    for store in STORES {
        let planted = (0..12).map(|day| lab.plant(store, &acme, midnight(day, 30), "Scheduled"));
        let daily = planted.collect::<Result<Vec<_>>>()?;
        let also_today = lab.plant(store, &acme, midnight(0, 20), "OnDemand")?;
        lab.plant(store, &acme, midnight(1, 20), "OnDemand")?;
        let safety = lab.plant(store, &acme, midnight(28, 0), "Safety")?;
        lab.plant(store, &acme, midnight(31, 0), "Final")?;
        let forgotten = id(ago(3, 0), "aaaaaa");
        lab.plant_parts(store, &acme, &forgotten, ago(3, 0), &[("data", "half".to_owned())])?;
        let under_way = id(ago(1, 20), "bbbbbb");
        lab.plant_parts(store, &acme, &under_way, ago(1, 20), &[("data", "half".to_owned())])?;
        lab.plant_parts(store, &acme, "of-somebody", ago(90, 0), &[("notes", "?".to_owned())])?;
        for day in 0..12 {
            lab.plant(store, &stranger, midnight(day, 30), "Scheduled")?;
        }
        let mut kept = whole(&[&daily[0], &also_today, &daily[1], &daily[2], &safety]);
        kept.extend([format!("{under_way}/data"), "of-somebody/notes".to_owned()]);
        expected.push(kept);
    }
    let before = lab.kept("bucket", &acme);
    lab.until_swept("bucket").await?;
    assert_eq!(lab.kept("bucket", &acme), before, "its plan is not there yet");

    lab.plan("standard", "bucket", json!({"daily": 3, "weekly": 0, "monthly": 0})).await?;
    for (store, expected) in STORES.into_iter().zip(expected) {
        lab.until_kept(store, &acme, &expected).await?;
        assert_eq!(lab.kept(store, &stranger).len(), 24, "{store}");
        for (metric, word, value) in [
            ("tenantry_store_removed_objects_total", "expired", "22"),
            ("tenantry_store_removed_objects_total", "unfinished", "1"),
            ("tenantry_store_backups", "kept", "5"),
        ] {
            assert_eq!(
                lab.metric(metric, &[store, word]).await?.to_string(),
                value,
                "{store}: {metric} {word}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_backup_that_comes_lets_an_older_one_go_at_once() -> Result<()> {
    let mut lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    lab.plan("standard", "bucket", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;
    lab.restart_door("1h").await?;
    for store in STORES {
        lab.until_metric("tenantry_store_sweeps_total", &[store, "ok"], 1.0).await?;
        let old = [
            lab.plant(store, &acme, ago(9, 0), "Scheduled")?,
            lab.plant(store, &acme, ago(8, 0), "Scheduled")?,
        ];
        assert_eq!(lab.kept(store, &acme), whole(&[&old[0], &old[1]]));
        let new = id(now(), "cccccc");
        lab.put_backup(&acme, store, &new, b"data").await?;
        lab.until_metric("tenantry_store_removed_objects_total", &[store], 4.0).await?;
        assert_eq!(lab.kept(store, &acme), whole(&[&new]));
    }
    Ok(())
}

#[tokio::test]
async fn the_last_good_one_stays_when_newer_ones_are_damaged() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    let mut expected = Vec::new();
    for store in STORES {
        let good = lab.plant(store, &acme, ago(5, 0), "Scheduled")?;
        lab.plant(store, &acme, ago(6, 0), "Scheduled")?;
        let (garbled, cut, bare) =
            (id(ago(4, 0), "aaaaaa"), id(ago(3, 0), "bbbbbb"), id(ago(2, 12), "cccccc"));
        let text = |id: &str, size| manifest(&acme, store, id, size).to_string();
        let data = || ("data", "data".to_owned());
        lab.plant_parts(store, &acme, &garbled, ago(4, 0), &[data(), ("manifest.json", "{".to_owned())])?;
        lab.plant_parts(store, &acme, &cut, ago(3, 0), &[data(), ("manifest.json", text(&cut, 5))])?;
        lab.plant_parts(store, &acme, &bare, ago(2, 12), &[("manifest.json", text(&bare, 4))])?;
        let mut kept = whole(&[&good, &garbled, &cut]);
        kept.push(format!("{bare}/manifest.json"));
        expected.push(kept);
    }
    lab.plan("standard", "bucket", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;
    for (store, expected) in STORES.into_iter().zip(expected) {
        lab.until_kept(store, &acme, &expected).await?;
    }
    lab.until_metric("tenantry_store_unreadable_manifests_total", &[], 6.0).await
}

#[tokio::test]
async fn a_clock_that_is_wrong_costs_no_backup() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    let planted = [ago(9, 0), ago(8, 0), now() + SignedDuration::from_hours(1)]
        .map(|at| lab.plant("volume", &acme, at, "Scheduled"))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    lab.plan("standard", "volume", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;
    lab.until_swept("volume").await?;
    assert_eq!(lab.kept("volume", &acme), whole(&[&planted[0], &planted[1], &planted[2]]));
    Ok(())
}

#[tokio::test]
async fn no_new_backup_takes_the_place_of_an_older_one() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    for store in STORES {
        for at in [ago(1, 1), now() + SignedDuration::from_mins(20)] {
            let id = id(at, "dddddd");
            for part in ["data", "manifest.json"] {
                let path = acme.path(store, &format!("{id}/{part}"));
                let text = manifest(&acme, store, &id, 4).to_string();
                let (status, reason, message) = lab.refusal(Method::PUT, &acme.token, &path, text).await?;
                assert_eq!(
                    (status, reason.as_str()),
                    (StatusCode::UNPROCESSABLE_ENTITY, "Untimely"),
                    "{message}"
                );
            }
        }
        // Nor may what is of now say that it is of then.
        let id = id(now(), "eeeeee");
        lab.put(&acme, store, &format!("{id}/data"), b"data".to_vec()).await?;
        let mut text = manifest(&acme, store, &id, 4);
        text["createdAt"] = json!(ago(5, 0));
        let path = acme.path(store, &format!("{id}/manifest.json"));
        let (_, reason, message) = lab.refusal(Method::PUT, &acme.token, &path, text.to_string()).await?;
        assert_eq!(reason, "InvalidManifest", "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn a_door_that_is_killed_while_it_removes_leaves_no_manifest_without_data() -> Result<()> {
    let mut lab = Lab::without_stores().await?;
    let relay = Relay::start(lab.storage.address.clone()).await?;
    lab.make_store("bucket", lab.bucket_at(&relay.address)).await?;
    let acme = lab.customer("acme", "standard").await?;
    let newest = lab.plant("bucket", &acme, ago(2, 0), "Scheduled")?;
    for day in 3..6 {
        lab.plant("bucket", &acme, ago(day, 0), "Scheduled")?;
    }
    lab.plan("standard", "bucket", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;
    // Each of the six deletions is cut off before the storage has it, and then after.
    for (cut, fate) in (0..12_usize).zip([Fate::Silence, Fate::Unheard].into_iter().cycle()) {
        relay.judge(move |line| if is_removal(line) { fate } else { Fate::Pass });
        lab.restart_door("1s").await?;
        relay.until_disturbed(1).await?;
        lab.kill_door().await?;
        let kept = lab.kept("bucket", &acme);
        for manifest in kept.iter().filter(|name| name.ends_with("/manifest.json")) {
            assert!(kept.contains(&manifest.replace("manifest.json", "data")), "cut {cut}: {kept:?}");
        }
        assert_eq!(kept.len(), 8 - cut.div_ceil(2), "cut {cut}: {kept:?}");
    }
    relay.judge(|_| Fate::Pass);
    lab.restart_door("1s").await?;
    lab.until_kept("bucket", &acme, &whole(&[&newest])).await
}

#[tokio::test]
async fn a_storage_that_fails_while_it_is_swept_loses_nothing_that_is_wanted() -> Result<()> {
    let lab = Lab::without_stores().await?;
    let relay = Relay::start(lab.storage.address.clone()).await?;
    lab.make_store("bucket", lab.bucket_at(&relay.address)).await?;
    let acme = lab.customer("acme", "standard").await?;
    lab.make_store("volume", json!({"volume": {"claim": crate::lab::CLAIM}})).await?;
    let newest = lab.plant("bucket", &acme, ago(2, 0), "Scheduled")?;
    for day in 3..6 {
        lab.plant("bucket", &acme, ago(day, 0), "Scheduled")?;
    }
    let all = lab.kept("bucket", &acme);
    let denied = Fate::Answer(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 39\r\n\r\n<Error><Code>AccessDenied</Code></Error>",
    );
    let failing = Fate::Answer(
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 40\r\n\r\n<Error><Code>InternalError</Code></Error>",
    );
    let is_list = |line: &str| line.contains("list-type=2");
    let is_manifest = |line: &str| line.starts_with("GET ") && line.contains("/manifest.json");
    let is_head = |line: &str| line.starts_with("HEAD ");
    let requests: [fn(&str) -> bool; 4] = [is_list, is_manifest, is_head, is_removal];
    relay.judge(move |line| if is_list(line) { denied } else { Fate::Pass });
    lab.plan("standard", "bucket", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;
    for (fate, reason) in [(denied, "AccessDenied"), (failing, "Failing"), (Fate::Silence, "Unreachable")] {
        for disturbed in requests {
            let before = lab.metric("tenantry_store_sweep_failures_total", &["bucket", reason]).await?;
            relay.judge(move |line| if disturbed(line) { fate } else { Fate::Pass });
            lab.until_metric("tenantry_store_sweep_failures_total", &["bucket", reason], before + 2.0)
                .await?;
            assert_eq!(lab.kept("bucket", &acme), all, "{reason}");
        }
    }
    let swept = lab.metric("tenantry_store_sweeps_total", &["volume", "ok"]).await?;
    assert!(1.0 < swept, "the other store is swept meanwhile");
    relay.judge(|_| Fate::Pass);
    lab.until_kept("bucket", &acme, &whole(&[&newest])).await
}

/// Whether a request removes an object of a tenant.
pub(crate) fn is_removal(line: &str) -> bool {
    line.starts_with("DELETE ") && !line.contains(".tenantry")
}
