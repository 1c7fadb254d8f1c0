//! Encryption to `age` recipients, in age's binary format: `age --decrypt -i KEY` opens it without us.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use age::{
    DecryptError, Decryptor, Encryptor,
    stream::{StreamReader, StreamWriter},
    x25519,
};
use futures_util::AsyncBufRead;

use super::Problem;

/// Who will be able to decrypt.
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// From a file's text: one a line, `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut all = Vec::new();
        for (line, content) in lines(text) {
            all.push(content.parse().map_err(|_| Problem::RecipientsInvalid { line: Some(line) })?);
        }
        if all.is_empty() { Err(Problem::RecipientsInvalid { line: None }) } else { Ok(Self(all)) }
    }

    /// As the manifest names them.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

/// The keys that can decrypt.
pub struct Identities(Vec<x25519::Identity>);

impl Identities {
    /// From a file's text as `age-keygen` writes it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let all: Result<Vec<_>, _> = lines(text).map(|(_, content)| content.parse()).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(Self(all)),
            _ => Err(Problem::IdentityInvalid),
        }
    }

    /// Reads the header and gives what follows it in clear.
    pub(super) async fn open<R: AsyncBufRead + Unpin>(
        &self,
        sealed: R,
    ) -> Result<StreamReader<R>, DecryptError> {
        let decryptor = Decryptor::new_async_buffered(sealed).await?;
        decryptor.decrypt_async(self.0.iter().map(|key| key as &dyn age::Identity))
    }
}

/// Lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Encrypts piece by piece.
pub(super) struct Sealer {
    writer: StreamWriter<Outlet>,
    outlet: Outlet,
}

impl Sealer {
    pub(super) fn new(recipients: &Recipients) -> io::Result<Self> {
        let all = recipients.0.iter().map(|one| one as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(all).map_err(io::Error::other)?;
        let outlet = Outlet::default();
        Ok(Self { writer: encryptor.wrap_output(outlet.clone())?, outlet })
    }

    /// Takes the next piece and gives what is ready, which may be nothing.
    pub(super) fn seal(&mut self, plain: &[u8]) -> io::Result<Vec<u8>> {
        self.writer.write_all(plain)?;
        Ok(self.outlet.take())
    }

    /// Without this last part nobody can decrypt the end.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.writer.finish()?;
        Ok(self.outlet.take())
    }
}

/// Where the encrypting writer leaves what is ready; it shows its own end to nobody.
#[derive(Clone, Default)]
struct Outlet(Arc<Mutex<Vec<u8>>>);

impl Outlet {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        mem::take(&mut self.bytes())
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;
    use futures_util::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn each_recipient_can_open_what_was_sealed_in_pieces() {
        let keys = [x25519::Identity::generate(), x25519::Identity::generate()];
        let text = format!("# the tenant\n{}\n\n  {}  \n", keys[0].to_public(), keys[1].to_public());
        let recipients = Recipients::parse(&text).unwrap();
        assert_eq!(recipients.names(), keys.each_ref().map(|key| key.to_public().to_string()));

        let plain: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut sealer = Sealer::new(&recipients).unwrap();
        let mut file = Vec::new();
        for piece in plain.chunks(70_001) {
            file.extend(sealer.seal(piece).unwrap());
        }
        file.extend(sealer.finish().unwrap());

        for key in keys {
            let text = format!("# created: today\n{}\n", key.to_string().expose_secret());
            let identities = Identities::parse(&text).unwrap();
            let mut opened = Vec::new();
            let mut reader = identities.open(file.as_slice()).await.unwrap();
            reader.read_to_end(&mut opened).await.unwrap();
            assert!(opened == plain);
        }
        let stranger = Identities(vec![x25519::Identity::generate()]);
        let refused = stranger.open(file.as_slice()).await.err();
        assert!(matches!(refused, Some(DecryptError::NoMatchingKeys)), "{refused:?}");
    }

    #[test]
    fn files_without_a_key_are_refused() {
        let invalid = |text: &str| Recipients::parse(text).err();
        assert_eq!(invalid("# nobody\n"), Some(Problem::RecipientsInvalid { line: None }));
        assert_eq!(invalid("# one\nage1nonsense\n"), Some(Problem::RecipientsInvalid { line: Some(2) }));
        assert_eq!(Identities::parse("# none\n").err(), Some(Problem::IdentityInvalid));
        assert_eq!(Identities::parse("AGE-SECRET-KEY-1\n").err(), Some(Problem::IdentityInvalid));
    }
}
