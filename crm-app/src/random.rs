//! Randomness for tokens and salts, from the operating system.

/// Bytes that nobody can guess.
///
/// # Panics
/// When the kernel has no randomness to give; nothing may go on then.
#[expect(clippy::expect_used, reason = "there is no safe way on without randomness")]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives randomness");
    bytes
}
