//! What is secret stands in no process's arguments or environment, in no log of the node, and in no object but Secrets.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    canaries::{self, Canary},
    cluster::native::Native,
    fleet::Installed,
    host::{
        process::Process,
        wait::{Look, Wait},
    },
    probe,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use walkdir::WalkDir;

use crate::{
    PASSWORD, alone,
    observed::{is_a_jobs, our_pods},
    welcomed,
};

/// The demo's tenants that other tests do not stop or remove.
const TENANTS: [&str; 2] = ["acme", "bluesky"];

/// A pod that was listed has processes by then, on a machine that does other things as well.
const STARTED: Duration = Duration::from_mins(1);

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
        for process in processes_of(fleet, &pod).await? {
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

/// The processes of a pod; none of one that ends. Those of other tests come and go.
async fn processes_of(fleet: &Installed, pod: &Pod) -> Result<Vec<Process>> {
    let pods: Api<Pod> = Api::namespaced(fleet.client().await?, &pod.namespace().unwrap_or_default());
    Wait::new(format!("processes of pod {}", pod.name_any()), STARTED)
        .until(async || {
            let processes = probe::processes_of_pod(&pod.uid().unwrap_or_default());
            if !processes.is_empty() || is_a_jobs(pod) {
                return Ok(Look::Done(processes));
            }
            let now = pods.get_opt(&pod.name_any()).await?.filter(|now| now.uid() == pod.uid());
            Ok(match now.filter(|now| now.metadata.deletion_timestamp.is_none()) {
                Some(now) => Look::NotYet(format!("it has none, and says {:?}", now.status)),
                None => Look::Done(Vec::new()),
            })
        })
        .await
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
