//! Counts what test runners say of themselves.

use std::ops::AddAssign;

/// How many tests (or single checks) passed, failed and were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Tests that passed.
    pub(super) passed: u32,
    /// Tests that failed.
    pub(super) failed: u32,
    /// Tests that were not run.
    pub(super) skipped: u32,
}

impl Tally {
    /// One check that passed.
    pub(super) const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    /// One check that failed.
    pub(super) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    /// One check that was not run.
    pub(super) const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// Whether what builds on this cannot be trusted: something failed, or nothing was run.
    pub(super) fn passed_nothing_or_failed(self) -> bool {
        self.failed > 0 || self.passed == 0
    }

    /// Whether nothing was counted at all.
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// What one line of a runner's output adds: the closing lines of cargo's test harness and of vitest, nothing otherwise.
pub(super) fn closing_line(line: &str) -> Option<Tally> {
    let plain = without_colours(line);
    let plain = plain.trim();
    if let Some(counts) = plain.strip_prefix("test result:") {
        return Some(counted(counts.split([';', '.'])));
    }
    let counts = plain.strip_prefix("Tests ")?;
    Some(counted(counts.split('|')))
}

/// Adds up parts such as ` 12 passed` and ` 1 ignored`; parts that say something else are passed over.
fn counted<'a>(parts: impl Iterator<Item = &'a str>) -> Tally {
    let mut tally = Tally::default();
    for part in parts {
        let mut words = part.split_whitespace();
        let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u32>), words.next()) else {
            continue;
        };
        match what {
            "passed" => tally.passed += count,
            "failed" => tally.failed += count,
            "ignored" | "skipped" | "todo" => tally.skipped += count,
            _ => (),
        }
    }
    tally
}

/// Removes ANSI colour sequences, which runners write when they think that a person is watching.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u32, failed: u32, skipped: u32) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn closing_lines_of_each_runner_are_counted() {
        let table = [
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.03s",
                Some(tally(12, 0, 1)),
            ),
            (
                "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
                Some(tally(3, 2, 0)),
            ),
            ("      Tests  41 passed (41)", Some(tally(41, 0, 0))),
            (
                "\u{1b}[2m      Tests \u{1b}[22m \u{1b}[1m\u{1b}[31m1 failed\u{1b}[39m | 11 passed (12)",
                Some(tally(11, 1, 0)),
            ),
            ("test names::a_long_name ... ok", None),
            (" Test Files  3 passed (3)", None),
        ];
        for (line, expected) in table {
            assert_eq!(closing_line(line), expected, "{line}");
        }
    }
}
