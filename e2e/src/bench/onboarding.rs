//! From an applied Tenant to Ready, one tenant after the other, beside the floors of the same run.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{
    cleanup::Leaving,
    floors,
    milestones::{self, IN_ORDER, Timeline},
    statistics::Sample,
};
use crate::fleet::{Installed, small_tenant};

/// How often each floor is measured.
const FLOORS: usize = 3;
const DEADLINE: Duration = Duration::from_mins(2);

/// What was measured; prints itself as a table of seconds.
pub struct Report {
    ready: Sample,
    steps: Vec<(&'static str, Sample)>,
    bare_pod: Sample,
    stateful_set: Sample,
    kubectl: Sample,
}

/// Onboards `count` tenants one by one, and measures the floors between them, so that both see the same machine.
///
/// # Errors
/// When a tenant or a floor is not ready within two minutes.
pub async fn run(fleet: &Installed, count: usize) -> Result<Report> {
    let client = fleet.client().await?;
    let (mut ready, mut timelines) = (Vec::new(), Vec::new());
    let (mut bare_pod, mut stateful_set, mut kubectl) = (Vec::new(), Vec::new(), Vec::new());
    let mut leaving = Leaving::default();
    for round in 0..count {
        let copy = format!("bench-copy-{round}");
        let (took, timeline, objects) =
            onboard(fleet, &format!("bench-{round}"), &copy, &mut leaving).await?;
        println!("  tenant {} of {count}: {:.2} s", round + 1, took.as_secs_f64());
        ready.push(took);
        timelines.push(timeline);
        if round < FLOORS {
            let image = &fleet.postgres_image;
            let floor = format!("bench-floor-{round}");
            floors::namespace(&client, &floor).await?;
            bare_pod.push(floors::bare_pod(&client, &floor, image).await?);
            stateful_set.push(floors::stateful_set(&client, &floor, image).await?);
            leaving.namespace(&client, &floor).await?;
            kubectl.push(floors::kubectl_apply(fleet, &client, &copy, &objects).await?);
            leaving.namespace(&client, &copy).await?;
        }
    }
    leaving.gone(fleet, &client).await?;
    let sample = |durations| Sample::new(durations).context("onboarding needs at least one tenant");
    let step = |milestone: &'static str| {
        let times = timelines.iter().filter_map(|timeline| timeline.get(milestone).copied()).collect();
        Ok((milestone, sample(times)?))
    };
    Ok(Report {
        ready: sample(ready)?,
        steps: IN_ORDER.into_iter().map(step).collect::<Result<_>>()?,
        bare_pod: sample(bare_pod)?,
        stateful_set: sample(stateful_set)?,
        kubectl: sample(kubectl)?,
    })
}

/// One tenant from apply to Ready, and its objects for the namespace `copy`; it is deleted again, so that the next one
/// finds the same machine.
async fn onboard(
    fleet: &Installed,
    name: &str,
    copy: &str,
    leaving: &mut Leaving,
) -> Result<(Duration, Timeline, serde_json::Value)> {
    let namespace = format!("tenant-{name}");
    let begun = Instant::now();
    let follow = milestones::follow(fleet.client().await?, &namespace, begun, DEADLINE);
    let ready = async {
        fleet.apply(&small_tenant(name, &fleet.release)).await?;
        fleet.wait_ready(name, DEADLINE).await?;
        Ok(begun.elapsed())
    };
    let (timeline, took) = tokio::try_join!(follow, ready)?;
    let objects = floors::objects_of(fleet, name, copy).await?;
    leaving.tenant(fleet, name).await?;
    Ok((took, timeline, objects))
}

impl Report {
    /// The limits that onboarding must keep: p50 ≤ 8 s and p95 ≤ 12 s, or 1.4 times the floor of the same run.
    ///
    /// The seconds are for two quiet cores. When the machine is slow at the moment, the floor is slow as well, and the ratio
    /// tells whether it is us.
    ///
    /// # Errors
    /// When onboarding keeps neither.
    pub fn check(&self) -> Result<()> {
        let (p50, p95) = (self.ready.median().as_secs_f64(), self.ready.percentile(95).as_secs_f64());
        let ratio = self.ratio(&self.stateful_set);
        ensure!(
            (p50 <= 8.0 && p95 <= 12.0) || ratio <= 1.4,
            "onboarding took {p50:.2} s in the median and {p95:.2} s at the 95th percentile (limits 8 s and 12 s), \
             {ratio:.2} times the floor (limit 1.40)"
        );
        Ok(())
    }

    fn ratio(&self, floor: &Sample) -> f64 {
        self.ready.median().as_secs_f64() / floor.median().as_secs_f64()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            formatter,
            "{:34} {:>7} {:>7} {:>7} {:>7}",
            "seconds since the tenant was applied", "min", "median", "p95", "max"
        )?;
        for (milestone, sample) in &self.steps {
            writeln!(formatter, "  {milestone:34} {sample}")?;
        }
        writeln!(formatter, "  {:34} {}", "tenant Ready", self.ready)?;
        writeln!(formatter, "floors of the same run")?;
        writeln!(formatter, "  {:34} {}", "a bare pod", self.bare_pod)?;
        writeln!(formatter, "  {:34} {}", "a StatefulSet, new volume, initdb", self.stateful_set)?;
        writeln!(formatter, "  {:34} {}", "the same objects by kubectl apply", self.kubectl)?;
        writeln!(
            formatter,
            "median tenant / median StatefulSet  {:.2} (goal 1.40)",
            self.ratio(&self.stateful_set)
        )?;
        write!(formatter, "median tenant / median kubectl      {:.2}", self.ratio(&self.kubectl))
    }
}
