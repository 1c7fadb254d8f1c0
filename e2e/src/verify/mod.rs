//! `cargo verify`: everything that CI checks, with one closing line.

mod command;
mod steps;
mod tally;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;

use steps::Step;
use tally::Tally;

/// Everything CI checks, from formatting to a real cluster. Needs no set-up: what the machine lacks is installed or named.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Leave out what needs a cluster.
    #[arg(long)]
    fast: bool,
    /// Run only these steps (see --list) and those that they build on; may be given several times.
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,
    /// Print the steps and what each one shows, and stop.
    #[arg(long)]
    list: bool,
}

/// What became of one step.
struct Outcome {
    step: Step,
    tally: Tally,
    seconds: f64,
}

/// Runs the chosen steps in order and prints the closing line `N passed, N failed, N skipped`.
///
/// A step that fails does not stop the others, but those that build on it are skipped and counted as such.
pub async fn run(args: Args) -> Result<ExitCode> {
    if args.list {
        for step in Step::ALL {
            println!("{:14} {}", step.name(), step.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let begun = Instant::now();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for step in Step::ALL.into_iter().filter(|step| chosen(*step, &args)) {
        outcomes.push(one(step, &outcomes).await);
    }
    Step::clean_up().await;
    Ok(report(&outcomes, begun.elapsed().as_secs_f64()))
}

fn chosen(step: Step, args: &Args) -> bool {
    let wanted = args.only.is_empty() || args.only.iter().any(|only| *only == step || only.needs(step));
    wanted && !(args.fast && step.needs_cluster())
}

/// Runs one step, unless one that it builds on has failed.
async fn one(step: Step, before: &[Outcome]) -> Outcome {
    println!("\n== {}: {}", step.name(), step.about());
    let failed = |needed: &Step| {
        before.iter().any(|done| done.step == *needed && done.tally.passed_nothing_or_failed())
    };
    if let Some(needed) = step.builds_on().iter().find(|needed| failed(needed)) {
        println!("  skipped: step {} failed", needed.name());
        return Outcome { step, tally: Tally::SKIPPED, seconds: 0.0 };
    }
    let begun = Instant::now();
    let tally = step.run().await.unwrap_or_else(|error| {
        println!("  error: {error:#}");
        Tally::FAILED
    });
    let seconds = begun.elapsed().as_secs_f64();
    println!("== {}: {tally} in {seconds:.0} s", step.name());
    Outcome { step, tally, seconds }
}

/// Prints the table of steps and, last, the sum.
fn report(outcomes: &[Outcome], seconds: f64) -> ExitCode {
    let mut sum = Tally::default();
    println!("\n{:14} {:>8}  result", "step", "seconds");
    for Outcome { step, tally, seconds } in outcomes {
        println!("{:14} {seconds:>8.0}  {tally}", step.name());
        sum += *tally;
    }
    println!("{:14} {seconds:>8.0}\n\n{sum}", "all");
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn steps(words: &[&str]) -> Vec<Step> {
        let line = Line::try_parse_from(["verify"].iter().chain(words)).unwrap();
        Step::ALL.into_iter().filter(|step| chosen(*step, &line.args)).collect()
    }

    #[test]
    fn what_a_step_builds_on_is_run_too_and_comes_first() {
        assert_eq!(steps(&["--only", "lint"]), [Step::Lint]);
        let fleet = [Step::FrontEnd, Step::Images, Step::Install, Step::Fleet];
        assert_eq!(steps(&["--only", "fleet"]), fleet);
        assert_eq!(steps(&["--only", "fleet", "--only", "images"]), fleet, "each once");
    }

    #[test]
    fn without_a_choice_all_are_run_or_all_that_need_no_cluster() {
        assert_eq!(steps(&[]), Step::ALL);
        let fast = [Step::Format, Step::FrontEnd, Step::Lint, Step::Licences, Step::Tests];
        assert_eq!(steps(&["--fast"]), fast);
    }
}
