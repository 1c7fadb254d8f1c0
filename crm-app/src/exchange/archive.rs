//! A zip archive that is written from its beginning to its end while its files are made: nothing of it is kept, and nobody has to
//! know beforehand how large a file becomes. What it holds stands in a directory at its end, so that no program takes a part of it
//! for the whole. Files are not packed.
//!
//! As Python's `zipfile` writes to a pipe: sizes and checksum follow each file, with 64 bits, and the directory has the short form
//! of what fits into it (<https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>).

use std::mem;

use crc32fast::Hasher;
use hyper::body::Bytes;
use jiff::{Timestamp, tz::TimeZone};

use crate::backup::{Problem, Sum, Tally};

/// Handed on at a time.
const PORTION: usize = 64 * 1024;
/// Version 4.5 of the format, with sizes of 64 bits; made on Unix, so that files have a mode.
const VERSION: u16 = 45;
const MADE_BY: u16 = (3 << 8) | VERSION;
/// A file that anybody may read; a script is started by `sh`.
const MODE: u32 = 0o100_644;
/// Sizes and checksum follow, and names are UTF-8.
const FLAGS: u16 = (1 << 3) | (1 << 11);
/// In place of a number that does not fit.
const ELSEWHERE: u32 = u32::MAX;

/// Where an archive goes.
pub(crate) trait Output: Send {
    /// Takes the next portion.
    fn take(&mut self, portion: Bytes) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// The archive, open for one file after the other.
pub(super) struct Archive<O> {
    output: O,
    portion: Vec<u8>,
    written: u64,
    /// The folder in which everything is.
    folder: String,
    modified: Timestamp,
    entries: Vec<Entry>,
}

/// A file that is in it.
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) sum: Sum,
    begins_at: u64,
    crc: u32,
}

/// A file that is being written.
pub(super) struct Writing<'a, O> {
    archive: &'a mut Archive<O>,
    path: String,
    begins_at: u64,
    tally: Tally,
    crc: Hasher,
}

impl<O: Output> Archive<O> {
    pub(super) fn new(output: O, folder: String, modified: Timestamp) -> Self {
        Self {
            output,
            portion: Vec::with_capacity(PORTION),
            written: 0,
            folder,
            modified,
            entries: Vec::new(),
        }
    }

    /// Begins a file.
    pub(super) async fn begin(&mut self, path: &str) -> Result<Writing<'_, O>, Problem> {
        let begins_at = self.written;
        let header = local_header(&format!("{}/{path}", self.folder), self.modified);
        self.put(&header).await?;
        Ok(Writing {
            archive: self,
            path: path.to_owned(),
            begins_at,
            tally: Tally::default(),
            crc: Hasher::new(),
        })
    }

    /// Adds a small file.
    pub(super) async fn add(&mut self, path: &str, content: &[u8]) -> Result<(), Problem> {
        let mut writing = self.begin(path).await?;
        writing.write(content).await?;
        writing.end().await
    }

    /// What is in it so far.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Ends it. Says how large it is, and gives back where it went.
    pub(super) async fn end(mut self) -> Result<(u64, O), Problem> {
        let begins_at = self.written;
        for entry in mem::take(&mut self.entries) {
            let record = entry.record(&self.folder, self.modified);
            self.put(&record).await?;
            self.entries.push(entry);
        }
        let end = directory_end(self.entries.len() as u64, begins_at, self.written - begins_at);
        self.put(&end).await?;
        self.hand_on().await?;
        Ok((self.written, self.output))
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.written += bytes.len() as u64;
        self.portion.extend_from_slice(bytes);
        if PORTION <= self.portion.len() { self.hand_on().await } else { Ok(()) }
    }

    /// Hands on what there is by now.
    pub(super) async fn hand_on(&mut self) -> Result<(), Problem> {
        let portion = mem::replace(&mut self.portion, Vec::with_capacity(PORTION));
        self.output.take(portion.into()).await
    }
}

impl<O: Output> Writing<'_, O> {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.tally.update(bytes);
        self.crc.update(bytes);
        self.archive.put(bytes).await
    }

    /// Ends the file. Without this the archive is not one.
    pub(super) async fn end(self) -> Result<(), Problem> {
        let Self { archive, path, begins_at, tally, crc } = self;
        let (sum, crc) = (tally.sum(), crc.finalize());
        let descriptor =
            Record::default().long(0x0807_4b50).long(crc).very_long(sum.size).very_long(sum.size);
        archive.put(&descriptor.0).await?;
        archive.entries.push(Entry { path, sum, begins_at, crc });
        Ok(())
    }
}

/// What stands before a file. Of sizes and checksum it says that they follow.
fn local_header(name: &str, modified: Timestamp) -> Vec<u8> {
    let sizes = Record::default().short(1).short(16).very_long(0).very_long(0);
    let extra = [sizes.0, unix_time(modified)].concat();
    let record = Record::default().long(0x0403_4b50).short(VERSION).short(FLAGS).short(0);
    let record = record.time(modified).long(0).long(ELSEWHERE).long(ELSEWHERE);
    record.length(name.len()).length(extra.len()).bytes(name.as_bytes()).bytes(&extra).0
}

impl Entry {
    /// What the directory says of it.
    fn record(&self, folder: &str, modified: Timestamp) -> Vec<u8> {
        let name = format!("{folder}/{}", self.path);
        let (size, place) = (brief(self.sum.size), brief(self.begins_at));
        let mut long = Record::default();
        if size == ELSEWHERE {
            long = long.very_long(self.sum.size).very_long(self.sum.size);
        }
        if place == ELSEWHERE {
            long = long.very_long(self.begins_at);
        }
        let mut extra = unix_time(modified);
        if !long.0.is_empty() {
            extra.extend(Record::default().short(1).length(long.0.len()).bytes(&long.0).0);
        }
        let record = Record::default().long(0x0201_4b50).short(MADE_BY).short(VERSION).short(FLAGS).short(0);
        let record = record.time(modified).long(self.crc).long(size).long(size);
        let record = record.length(name.len()).length(extra.len()).short(0).short(0).short(0);
        record.long(MODE << 16).long(place).bytes(name.as_bytes()).bytes(&extra).0
    }
}

/// Where the directory is; in the long form only when the short one has no room for it.
fn directory_end(entries: u64, begins_at: u64, length: u64) -> Vec<u8> {
    let count = u16::try_from(entries).unwrap_or(u16::MAX);
    let (brief_length, brief_place) = (brief(length), brief(begins_at));
    let mut record = Record::default();
    if count == u16::MAX || brief_length == ELSEWHERE || brief_place == ELSEWHERE {
        record = record.long(0x0606_4b50).very_long(44).short(MADE_BY).short(VERSION).long(0).long(0);
        record = record.very_long(entries).very_long(entries).very_long(length).very_long(begins_at);
        record = record.long(0x0706_4b50).long(0).very_long(begins_at + length).long(1);
    }
    record = record.long(0x0605_4b50).short(0).short(0).short(count).short(count);
    record.long(brief_length).long(brief_place).short(0).0
}

/// The same in 32 bits, if it fits.
fn brief(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(ELSEWHERE)
}

/// The time as Unix counts it: the format's own knows neither zones nor odd seconds.
fn unix_time(modified: Timestamp) -> Vec<u8> {
    let seconds = u32::try_from(modified.as_second()).unwrap_or_default();
    Record::default().bytes(b"UT").short(5).bytes(&[1]).long(seconds).0
}

/// Numbers with their lowest byte first.
#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn short(self, number: u16) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn long(self, number: u32) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn very_long(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Of a name or of what is said besides: both are short, because we write them.
    fn length(self, length: usize) -> Self {
        self.short(u16::try_from(length).unwrap_or(u16::MAX))
    }

    fn time(self, at: Timestamp) -> Self {
        let at = at.to_zoned(TimeZone::UTC);
        let part = |number: i64| u16::try_from(number).unwrap_or_default();
        let [hour, minute, second] = [at.hour(), at.minute(), at.second()].map(|number| part(number.into()));
        let [year, month, day] =
            [at.year() - 1980, at.month().into(), at.day().into()].map(|number: i16| part(number.into()));
        let time = (hour << 11) | (minute << 5) | (second / 2);
        let date = (year << 9) | (month << 5) | day;
        self.short(time).short(date)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use rstest::rstest;

    use super::*;

    #[derive(Default)]
    struct Kept(Vec<Bytes>);

    impl Output for Kept {
        async fn take(&mut self, portion: Bytes) -> Result<(), Problem> {
            self.0.push(portion);
            Ok(())
        }
    }

    #[tokio::test]
    async fn unzip_extracts_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.zip");
        let modified = Timestamp::from_second(1_763_773_201).unwrap();
        let mut archive = Archive::new(Kept::default(), "crm-acme".to_owned(), modified);
        let files = [("empty", vec![]), ("data/one.csv", vec![7; 512]), ("data/客户.csv", vec![9; 300_001])];
        for (path, content) in &files {
            let mut writing = archive.begin(path).await.unwrap();
            for piece in content.chunks(1000) {
                writing.write(piece).await.unwrap();
            }
            writing.end().await.unwrap();
        }
        let sizes: Vec<u64> = archive.entries().iter().map(|entry| entry.sum.size).collect();
        assert_eq!(sizes, [0, 512, 300_001]);
        let (size, kept) = archive.end().await.unwrap();
        assert!(kept.0.iter().all(|portion| portion.len() < PORTION + 1000), "it is handed on as it comes");
        fs::write(&path, kept.0.concat()).unwrap();
        assert_eq!(size, fs::metadata(&path).unwrap().len());
        let extracted = Command::new("unzip").arg("-q").arg(&path).current_dir(&folder).output().unwrap();
        assert!(extracted.status.success() && extracted.stderr.is_empty(), "{extracted:?}");
        for (path, content) in files {
            let file = folder.path().join("crm-acme").join(path);
            assert!(fs::read(&file).unwrap() == content, "{path}");
            let since = fs::metadata(&file).unwrap().modified().unwrap();
            let since = since.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since.as_secs(), 1_763_773_201);
        }
        let python = Command::new("python3").args(["-m", "zipfile", "-t"]).arg(&path).output().unwrap();
        assert!(python.status.success(), "{python:?}");
    }

    /// A part of an archive is no archive, wherever it was cut off.
    #[tokio::test]
    async fn what_is_cut_short_cannot_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let modified = Timestamp::from_second(1_763_773_200).unwrap();
        let mut archive = Archive::new(Kept::default(), "crm-acme".to_owned(), modified);
        archive.add("one", &[1; 1000]).await.unwrap();
        archive.add("two", &[2; 1000]).await.unwrap();
        let whole = archive.end().await.unwrap().1.0.concat();
        let opens = |bytes: &[u8]| {
            let path = folder.path().join("part.zip");
            fs::write(&path, bytes).unwrap();
            Command::new("unzip").arg("-tqq").arg(&path).output().unwrap().status.success()
        };
        assert!(opens(&whole));
        for part in 1..10 {
            assert!(!opens(&whole[..whole.len() * part / 10]), "{part} tenths");
        }
        assert!(!opens(&whole[..whole.len() - 1]));
    }

    /// Without its content, which nobody looks at for a list.
    #[rstest]
    #[case::short(u64::from(u32::MAX) - 1)]
    #[case::long(1 << 32)]
    #[case::longer(5 << 30)]
    fn any_size_has_a_place(#[case] size: u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.zip");
        let modified = Timestamp::from_second(1_763_773_200).unwrap();
        let entry = |path: &str, begins_at, size| {
            let sum = Sum { size, sha256: String::new() };
            Entry { path: path.to_owned(), sum, begins_at, crc: 0 }
        };
        let first = local_header("crm-acme/large", modified);
        let second = local_header("crm-acme/second", modified);
        let begins_at = first.len() as u64 + size + 24;
        let entries = [entry("large", 0, size), entry("second", begins_at, 0)];
        let directory = entries.map(|entry| entry.record("crm-acme", modified)).concat();
        let directory_at = begins_at + second.len() as u64 + 24;
        let file = fs::File::create(&path).unwrap();
        let write = |bytes: &[u8], at| std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
        write(&first, 0);
        write(&second, begins_at);
        write(&directory, directory_at);
        let length = directory.len() as u64;
        write(&directory_end(2, directory_at, length), directory_at + length);
        for (program, arguments) in
            [("unzip", ["-l", "-q"].as_slice()), ("python3", &["-m", "zipfile", "-l"])]
        {
            let listed = Command::new(program).args(arguments).arg(&path).output().unwrap();
            assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
            assert!(String::from_utf8(listed.stdout).unwrap().contains(&size.to_string()), "{program}");
        }
        let second = Command::new("unzip").arg("-tqq").arg(&path).arg("crm-acme/second").output().unwrap();
        assert!(second.status.success(), "{second:?}");
    }
}
