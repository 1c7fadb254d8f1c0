//! What is secret stands in no process's arguments or environment, in no log of the node, and in no object but Secrets.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    canaries::{self, Canary},
    cluster::native::Native,
    fleet::Installed,
    probe,
};
use kube::ResourceExt as _;
use walkdir::WalkDir;

use crate::{
    PASSWORD, alone,
    observed::{is_a_jobs, our_pods},
    welcomed,
};

/// The demo's tenants that other tests do not stop or remove.
const TENANTS: [&str; 2] = ["acme", "bluesky"];

#[tokio::test]
async fn secrets_stand_in_no_process_log_or_object_of_the_real_cluster() -> Result<()> {
    let (fleet, _turn) = alone().await?;
    let mut all = canaries::forms("an owner's password", PASSWORD.as_bytes())?;
    for tenant in TENANTS {
        all.extend(canaries::of_namespace(fleet.client().await?, &format!("tenant-{tenant}")).await?);
        // Somebody signs in, so that there is a session that could be told of; the link is looked for, too.
        let link = fleet.new_sign_in_link(tenant).await?;
        let (_, token) = link.split_once('#').context("the link has no token")?;
        all.extend(canaries::forms("the token of a sign-in link", token.as_bytes())?);
        let person = welcomed(&fleet, tenant, &link).await?;
        let session = person.session().context("nobody is signed in")?;
        all.extend(canaries::forms("a session", session.as_bytes())?);
    }
    let processes = in_processes(&fleet, &all).await?;
    let node = Native::new(&fleet.cluster)?;
    let mut logs = in_files(&node.layout().path("pod-logs"), &all)?;
    logs += in_files(&node.layout().path("logs"), &all)?;
    let objects = canaries::objects(&fleet.client().await?).await?;
    for (what, json) in &objects {
        canaries::none_stands_in(&all, what, json)?;
    }
    println!(
        "  {processes} processes, {logs} logs and {} objects hold none of {} secrets",
        objects.len(),
        all.len()
    );
    Ok(())
}

/// Arguments and environment of every process in our pods; how many there are.
async fn in_processes(fleet: &Installed, canaries: &[Canary]) -> Result<usize> {
    let mut count = 0;
    for pod in our_pods(fleet).await? {
        let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        let processes = probe::processes_of_pod(&pod.uid().unwrap_or_default());
        ensure!(is_a_jobs(&pod) || !processes.is_empty(), "no process of pod {name} was found");
        for process in processes {
            for file in ["cmdline", "environ"] {
                let path = format!("/proc/{}/{file}", process.pid);
                // One that has ended meanwhile, such as a probe's, is no place any more.
                let Ok(content) = fs::read(&path) else { continue };
                let place = format!("{file} of {} in pod {name}", process.program.display());
                canaries::none_stands_in(canaries, &place, &String::from_utf8_lossy(&content))?;
            }
            count += 1;
        }
    }
    Ok(count)
}

/// All files under a folder of logs; how many there are.
fn in_files(folder: &Path, canaries: &[Canary]) -> Result<usize> {
    let mut count = 0;
    for entry in WalkDir::new(folder) {
        let entry = entry?;
        if !entry.file_type().is_file() {
            continue;
        }
        let content =
            fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?;
        canaries::none_stands_in(
            canaries,
            &entry.path().display().to_string(),
            &String::from_utf8_lossy(&content),
        )?;
        count += 1;
    }
    ensure!(count > 5, "{} has {count} logs", folder.display());
    Ok(count)
}
