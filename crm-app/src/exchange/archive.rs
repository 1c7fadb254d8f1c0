//! A tar archive that is written while its files are made: what `tar` extracts, in the format `ustar`.
//!
//! A file's size comes before its bytes and is only known after them, so its header is written twice: with nothing in it, and
//! again when the file has ended. That needs an output in which one can go back, and no second copy of anything.

use std::{io, path::Path};

use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt as _, AsyncWriteExt as _, BufWriter, SeekFrom},
};

use crate::backup::{Sum, Tally};

const BLOCK: usize = 512;
const BLOCK_LENGTH: u64 = 512;
/// A file that anybody may read; a script is started by `sh`.
const MODE: u64 = 0o644;

/// The archive, open for one file after the other.
pub(super) struct Archive {
    file: BufWriter<File>,
    /// The folder in which everything is.
    folder: String,
    /// Seconds since 1970, of every file.
    modified: u64,
    entries: Vec<Entry>,
}

/// A file that is in it.
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) sum: Sum,
}

/// A file that is being written.
pub(super) struct Writing<'a> {
    archive: &'a mut Archive,
    path: String,
    header_at: u64,
    tally: Tally,
}

impl Archive {
    /// Creates it, in place of what was there.
    pub(super) async fn create(path: &Path, folder: String, modified: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).await?;
        Ok(Self { file: BufWriter::with_capacity(64 * 1024, file), folder, modified, entries: Vec::new() })
    }

    /// Begins a file.
    pub(super) async fn begin(&mut self, path: &str) -> io::Result<Writing<'_>> {
        let header_at = self.file.stream_position().await?;
        self.file.write_all(&[0; BLOCK]).await?;
        Ok(Writing { archive: self, path: path.to_owned(), header_at, tally: Tally::default() })
    }

    /// Adds a small file.
    pub(super) async fn add(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let mut writing = self.begin(path).await?;
        writing.write(content).await?;
        writing.end().await
    }

    /// What is in it so far.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Ends it, and comes back when it is on the disk. Says how large it is.
    pub(super) async fn end(mut self) -> io::Result<u64> {
        self.file.write_all(&[0; 2 * BLOCK]).await?;
        let size = self.file.stream_position().await?;
        self.file.flush().await?;
        self.file.get_ref().sync_all().await?;
        Ok(size)
    }
}

impl Writing<'_> {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tally.update(bytes);
        self.archive.file.write_all(bytes).await
    }

    /// Ends the file. Without this the archive is not one.
    pub(super) async fn end(self) -> io::Result<()> {
        let Self { archive, path, header_at, tally } = self;
        let sum = tally.sum();
        let padding = sum.size.next_multiple_of(BLOCK_LENGTH) - sum.size;
        archive.file.write_all(&[0; BLOCK][..usize::try_from(padding).unwrap_or_default()]).await?;
        let end = archive.file.stream_position().await?;
        let header = header(&format!("{}/{path}", archive.folder), sum.size, archive.modified)?;
        archive.file.seek(SeekFrom::Start(header_at)).await?;
        archive.file.write_all(&header).await?;
        archive.file.seek(SeekFrom::Start(end)).await?;
        archive.entries.push(Entry { path, sum });
        Ok(())
    }
}

fn header(path: &str, size: u64, modified: u64) -> io::Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    if 100 < path.len() {
        return Err(io::Error::other("the path is too long for the archive"));
    }
    header[..path.len()].copy_from_slice(path.as_bytes());
    number(&mut header[100..108], MODE);
    number(&mut header[108..116], 0);
    number(&mut header[116..124], 0);
    number(&mut header[124..136], size);
    number(&mut header[136..148], modified);
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    // The checksum is made with spaces in its own place.
    header[148..156].fill(b' ');
    let checksum = header.iter().map(|byte| u64::from(*byte)).sum();
    number(&mut header[148..155], checksum);
    Ok(header)
}

/// In octal digits, or, what all of today's programs read, in binary when there are too many for the field.
fn number(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let octal = format!("{value:0digits$o}");
    if octal.len() == digits {
        field[..digits].copy_from_slice(octal.as_bytes());
    } else {
        let bytes = value.to_be_bytes();
        let begin = field.len() - bytes.len();
        field[begin..].copy_from_slice(&bytes);
        field[0] |= 0x80;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use rstest::rstest;

    use super::*;

    #[tokio::test]
    async fn tar_extracts_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.tar");
        let mut archive = Archive::create(&path, "crm-acme".to_owned(), 1_763_773_200).await.unwrap();
        let files = [("empty", vec![]), ("data/one.csv", vec![7; 512]), ("data/two.csv", vec![9; 70_001])];
        for (path, content) in &files {
            let mut writing = archive.begin(path).await.unwrap();
            for piece in content.chunks(1000) {
                writing.write(piece).await.unwrap();
            }
            writing.end().await.unwrap();
        }
        let sizes: Vec<u64> = archive.entries().iter().map(|entry| entry.sum.size).collect();
        assert_eq!(sizes, [0, 512, 70_001]);
        assert_eq!(archive.end().await.unwrap(), fs::metadata(&path).unwrap().len());
        let extracted = Command::new("tar").arg("-xf").arg(&path).current_dir(&folder).output().unwrap();
        assert!(extracted.status.success() && extracted.stderr.is_empty(), "{extracted:?}");
        for (path, content) in files {
            let file = folder.path().join("crm-acme").join(path);
            assert!(fs::read(&file).unwrap() == content, "{path}");
            let modified = fs::metadata(&file).unwrap().modified().unwrap();
            let since = modified.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since.as_secs(), 1_763_773_200);
        }
    }

    /// Listed by `tar` from the header alone.
    #[rstest]
    #[case(0o77_777_777_777)]
    #[case(1 << 33)]
    #[case(5 << 40)]
    fn any_size_has_a_place(#[case] size: u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("header.tar");
        fs::write(&path, header("large", size, 0).unwrap()).unwrap();
        let listed = Command::new("tar").arg("-tvf").arg(&path).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&format!(" {size} ")), "{listed}");
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        assert!(header(&"x".repeat(101), 0, 0).is_err());
    }
}
