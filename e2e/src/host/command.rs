//! Programs run to their end, with a deadline and an error that explains itself.

use std::{
    fs::File,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// Lines of output that an error quotes.
const TAIL_LINES: usize = 20;

/// Runs a program to its end and returns what it wrote to standard output.
pub async fn run(command: &mut Command, deadline: Duration) -> Result<String> {
    run_with_input(command, "", deadline).await
}

/// Runs a program to its end with `input` on standard input, and returns what it wrote to standard output.
pub async fn run_with_input(command: &mut Command, input: &str, deadline: Duration) -> Result<String> {
    let (name, mut child) = start(command, Stdio::piped())?;
    let mut stdin = child.stdin.take().context("standard input was not piped")?;
    let work = Box::pin(async {
        // A program may exit without reading its input; what it says about that is in its output.
        let feed = async {
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        tokio::join!(feed, child.wait_with_output()).1
    });
    finish(&name, work, deadline).await
}

/// Runs a program to its end with a file on standard input, and returns what it wrote to standard output.
pub async fn run_with_file(command: &mut Command, input: File, deadline: Duration) -> Result<String> {
    let (name, child) = start(command, Stdio::from(input))?;
    finish(&name, Box::pin(child.wait_with_output()), deadline).await
}

fn start(command: &mut Command, input: Stdio) -> Result<(String, Child)> {
    let name = display(command);
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
    Ok((name, child))
}

async fn finish(
    name: &str,
    work: BoxFuture<'_, std::io::Result<Output>>,
    deadline: Duration,
) -> Result<String> {
    let output = tokio::time::timeout(deadline, work)
        .await
        .with_context(|| format!("`{name}` did not finish within {} s", deadline.as_secs()))?
        .with_context(|| format!("cannot wait for `{name}`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = if stderr.trim().is_empty() { stdout.as_str() } else { &stderr };
        bail!("`{name}` failed with {}:\n{}", output.status, tail(said, TAIL_LINES));
    }
    Ok(stdout)
}

/// Whether a program exits with success within the deadline.
pub async fn succeeds(command: &mut Command, deadline: Duration) -> bool {
    run(command, deadline).await.is_ok()
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The program and its first arguments, as an error names it.
fn display(command: &Command) -> String {
    let command = command.as_std();
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().take(6).map(|word| word.to_string_lossy().into_owned()));
    if command.get_args().len() > 6 {
        words.push("…".to_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_quotes_what_the_program_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo it broke >&2; exit 3"]);
        let error = run(&mut command, Duration::from_secs(5)).await.unwrap_err().to_string();
        assert!(error.contains("it broke") && error.contains('3'), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_given_up() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = run(&mut command, Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.contains("`sleep 60` did not finish"), "{error}");
    }

    #[tokio::test]
    async fn input_reaches_the_program() {
        let output = run_with_input(&mut Command::new("cat"), "hello", Duration::from_secs(5)).await.unwrap();
        assert_eq!(output, "hello");
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
