//! Runs one command of a step: its output is shown as it comes, and the runners' closing lines are counted.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
    time::{Duration, timeout},
};

use super::tally::{Tally, closing_line};

/// Runs a command to its end.
///
/// A command that counts tests gives its own tally; another gives one check. A command that says "all passed" and exits
/// with an error counts as one failure more, so that no exit code is lost.
///
/// # Errors
/// When the command cannot be started or is not done by the deadline.
pub(super) async fn run(mut command: Command, deadline: Duration) -> Result<Tally> {
    let shown = display(&command);
    println!("  $ {shown}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let output = (
        child.stdout.take().context("no standard output")?,
        child.stderr.take().context("no standard error")?,
    );
    let work = async {
        let (out, err) = tokio::join!(follow(output.0), follow(output.1));
        (out, err, child.wait().await)
    };
    let (out, err, status) = timeout(deadline, work)
        .await
        .with_context(|| format!("{shown} was not done after {} s", deadline.as_secs()))?;
    let mut tally = out;
    tally += err;
    let success = status.with_context(|| format!("cannot wait for {shown}"))?.success();
    Ok(match (success, tally) {
        (true, counted) if counted.is_empty() => Tally::PASSED,
        (false, mut counted) if counted.failed == 0 => {
            counted += Tally::FAILED;
            counted
        }
        (_, counted) => counted,
    })
}

/// Prints a stream line by line and adds up the closing lines in it.
async fn follow(stream: impl AsyncRead + Unpin) -> Tally {
    let mut tally = Tally::default();
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        println!("  {line}");
        if let Some(counted) = closing_line(&line) {
            tally += counted;
        }
    }
    tally
}

/// The command as a person would type it.
fn display(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> Result<Tally> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn exit_code_and_closing_line_both_count() {
        let table = [
            ("true", Tally::PASSED),
            ("false", Tally::FAILED),
            ("echo 'test result: ok. 2 passed; 0 failed'", Tally { passed: 2, ..Tally::default() }),
            (
                "echo 'test result: ok. 2 passed; 0 failed'; exit 3",
                Tally { passed: 2, failed: 1, skipped: 0 },
            ),
            (
                "echo 'test result: FAILED. 2 passed; 1 failed' >&2; exit 101",
                Tally { passed: 2, failed: 1, skipped: 0 },
            ),
        ];
        for (script, expected) in table {
            assert_eq!(shell(script).await.expect("runs"), expected, "{script}");
        }
    }

    #[tokio::test]
    async fn a_command_past_its_deadline_is_an_error() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = run(command, Duration::from_millis(50)).await.expect_err("too slow");
        assert!(error.to_string().contains("sleep 60 was not done"), "{error}");
    }
}
