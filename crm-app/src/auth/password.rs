//! Hashing passwords with Argon2id: slow by design, so off the request threads and few at a time.

use std::{sync::OnceLock, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::{domain::password::NewPassword, error::Error};

/// Each takes 19 MiB and some 20 ms of a core for as long as it runs.
const AT_ONCE: usize = 2;
/// Who would wait longer is told to come back.
const LONGEST_QUEUE: Duration = Duration::from_secs(3);
/// A password field holds less; hashing megabytes would be a way to keep us busy.
const MOST_BYTES: usize = 512;

/// The gate before the hash function.
pub struct Passwords {
    gate: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { gate: Semaphore::new(AT_ONCE) }
    }
}

impl Passwords {
    /// Hashes a password that may be set.
    pub async fn hash(&self, password: NewPassword) -> Result<String, Error> {
        self.run(move || hash(&password.reveal())).await?.map_err(Error::PasswordHash)
    }

    /// Compares. Takes as long when there is no hash, so that nobody learns who is known here.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Error> {
        if MOST_BYTES < password.len() {
            return Ok(false);
        }
        self.run(move || {
            let known = stored.is_some();
            let text = stored.as_deref().or(nobodys_hash()).unwrap_or_default();
            let matches = PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
            known && matches
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let permit = tokio::time::timeout(LONGEST_QUEUE, self.gate.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Error::Busy) };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Busy)
    }
}

/// The defaults are OWASP's: Argon2id, 19 MiB, two passes, one lane.
fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

/// Made when first needed: it costs as much as any other.
fn nobodys_hash() -> Option<&'static str> {
    static HASH: OnceLock<Option<String>> = OnceLock::new();
    HASH.get_or_init(|| hash("nobody has this password").ok()).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::email::Email;

    #[tokio::test]
    async fn a_hash_fits_its_password_and_no_other() {
        let passwords = Passwords::default();
        let owner = Email::parse("fang@acme.example").unwrap();
        let password = NewPassword::parse("correct horse".to_owned(), &owner).unwrap();
        let hash = passwords.hash(password).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct hors".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("nobody has this password".to_owned(), None).await.unwrap());
    }
}
