//! The latest row of each key, out of any number of rows in any order, in bounded memory.
//!
//! A materialization writes each key once, and only when all rows that could tie with the winner have been seen: rows of
//! equal times are ordered by their bytes, while the store takes a materialized row over a stored one of equal times
//! whatever its bytes (its source may have been corrected in place). Were rows written as they are read, the order of files
//! would decide between rows that tie.
//!
//! Rows are held in a table; when it is full it is written to disk in the order of keys, and in the end all such runs are
//! merged. What comes out is in the order of keys, which is also the order that stores like best.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap, hash_map::Entry},
    fs::File,
    io::{BufReader, BufWriter, Read, Seek, Write},
};

use larder_codec::compare_rows;
use larder_offline_store::SpillFolder;
use larder_types::{Error, Result};

/// What a key and a row take in the table besides their bytes, nearly.
const ENTRY_OVERHEAD: usize = 96;

/// How much of a run is held while it is written, and at most while runs are merged, which share half the memory.
const MERGE_BUFFER: usize = 256 << 10;

/// How much of each run is held at least while runs are merged.
const LEAST_MERGE_BUFFER: usize = 8 << 10;

/// A key and the bytes of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRow {
    /// The entity key.
    pub key: Box<[u8]>,
    /// The row.
    pub row: Box<[u8]>,
}

/// Collects rows; see the module.
#[derive(Debug)]
pub struct LatestRows {
    budget: usize,
    spill_folder: SpillFolder,
    table: HashMap<Box<[u8]>, Box<[u8]>>,
    held: usize,
    runs: Vec<File>,
}

impl LatestRows {
    /// Holds at most about `budget` bytes; what is more goes to unnamed files in `spill_folder`, gone with the process.
    pub fn new(budget: usize, spill_folder: &SpillFolder) -> Self {
        Self { budget, spill_folder: spill_folder.clone(), table: HashMap::new(), held: 0, runs: Vec::new() }
    }

    /// Takes a row in.
    pub fn offer(&mut self, key: &[u8], row: &[u8]) -> Result<()> {
        if let Some(best) = self.table.get_mut(key) {
            if compare_rows(row, best) == Ordering::Greater {
                self.held = self.held + row.len() - best.len();
                *best = row.into();
            }
            return if self.held > self.budget { self.spill() } else { Ok(()) };
        }
        let size = key.len() + row.len() + ENTRY_OVERHEAD;
        if self.held + size > self.budget && !self.table.is_empty() {
            self.spill()?;
        }
        self.held += size;
        if let Entry::Vacant(entry) = self.table.entry(key.into()) {
            entry.insert(row.into());
        }
        Ok(())
    }

    /// The latest row of each key, in the order of keys.
    pub fn finish(mut self) -> Result<impl Iterator<Item = Result<KeyedRow>> + Send> {
        let table = sorted(std::mem::take(&mut self.table));
        let mut sources: Vec<Source> = Vec::with_capacity(self.runs.len() + 1);
        let buffer = self.budget / 2 / self.runs.len().max(1);
        let buffer = buffer.clamp(LEAST_MERGE_BUFFER, MERGE_BUFFER);
        for run in std::mem::take(&mut self.runs) {
            sources.push(Source::Run(RunReader::new(run, buffer)?));
        }
        sources.push(Source::Table(table.into_iter()));
        Merge::new(sources)
    }

    fn spill(&mut self) -> Result<()> {
        self.spill_folder.check_room()?;
        let file =
            tempfile::tempfile_in(self.spill_folder.path()).map_err(|error| self.disk_error("making a file", error))?;
        let mut writer = BufWriter::with_capacity(MERGE_BUFFER, file);
        for KeyedRow { key, row } in sorted(std::mem::take(&mut self.table)) {
            let written = [&*key, &*row].into_iter().try_for_each(|bytes| {
                let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
                writer.write_all(&length.to_le_bytes())?;
                writer.write_all(bytes)
            });
            written.map_err(|error| self.disk_error("writing", error))?;
        }
        let file = writer.into_inner().map_err(|error| self.disk_error("writing", error.into_error()))?;
        self.runs.push(file);
        self.held = 0;
        Ok(())
    }

    fn disk_error(&self, doing: &str, error: std::io::Error) -> Error {
        let folder = self.spill_folder.path().display();
        Error::resource_exhausted(format!("{doing} in the spill folder {folder}: {error}")).with_source(error)
    }
}

fn sorted(table: HashMap<Box<[u8]>, Box<[u8]>>) -> Vec<KeyedRow> {
    let mut rows: Vec<KeyedRow> = table.into_iter().map(|(key, row)| KeyedRow { key, row }).collect();
    rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// Rows in the order of keys, each key once.
enum Source {
    Table(std::vec::IntoIter<KeyedRow>),
    Run(RunReader),
}

impl Source {
    fn next(&mut self) -> Result<Option<KeyedRow>> {
        match self {
            Self::Table(rows) => Ok(rows.next()),
            Self::Run(run) => run.next(),
        }
    }
}

struct RunReader(BufReader<File>);

impl RunReader {
    fn new(mut file: File, buffer: usize) -> Result<Self> {
        file.rewind().map_err(read_error)?;
        Ok(Self(BufReader::with_capacity(buffer, file)))
    }

    fn next(&mut self) -> Result<Option<KeyedRow>> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(read_error(error)),
        }
        let key = self.bytes(length)?;
        self.0.read_exact(&mut length).map_err(read_error)?;
        let row = self.bytes(length)?;
        Ok(Some(KeyedRow { key, row }))
    }

    fn bytes(&mut self, length: [u8; 4]) -> Result<Box<[u8]>> {
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut bytes).map_err(read_error)?;
        Ok(bytes.into())
    }
}

fn read_error(error: std::io::Error) -> Error {
    Error::unavailable(format!("reading what was spilled: {error}")).with_source(error)
}

/// The next row of a source; the heap gives the least key first, and of one key the latest row.
struct Head {
    row: KeyedRow,
    source: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = other.row.key.cmp(&self.row.key);
        by_key.then_with(|| compare_rows(&self.row.row, &other.row.row)).then_with(|| other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

struct Merge {
    sources: Vec<Source>,
    heads: BinaryHeap<Head>,
}

impl Merge {
    fn new(sources: Vec<Source>) -> Result<Self> {
        let mut merge = Self { heads: BinaryHeap::with_capacity(sources.len()), sources };
        for source in 0..merge.sources.len() {
            merge.refill(source)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, source: usize) -> Result<()> {
        if let Some(row) = self.sources[source].next()? {
            self.heads.push(Head { row, source });
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Option<KeyedRow>> {
        let Some(Head { row: latest, source }) = self.heads.pop() else { return Ok(None) };
        self.refill(source)?;
        while let Some(head) = self.heads.peek() {
            if head.row.key != latest.key {
                break;
            }
            let source = head.source;
            self.heads.pop();
            self.refill(source)?;
        }
        Ok(Some(latest))
    }
}

impl Iterator for Merge {
    type Item = Result<KeyedRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pop().transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Keys and rows as they come: few keys and few rows, so that ties and repetitions are common.
    fn rows() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let key = proptest::collection::vec(0_u8..3, 0..3);
        // All of one format version, whose byte comes first: the others order the row.
        let row = proptest::collection::vec(0_u8..3, 16..21).prop_map(|rest| [vec![1], rest].concat());
        proptest::collection::vec((key, row), 0..200)
    }

    proptest! {
        #[test]
        fn gives_the_greatest_row_of_each_key_in_order_whatever_the_budget(rows in rows(), budget in 0_usize..4000) {
            let folder = SpillFolder::new(std::env::temp_dir(), 0);
            let mut latest = LatestRows::new(budget, &folder);
            let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for (key, row) in &rows {
                latest.offer(key, row).unwrap();
                let best = expected.entry(key.clone()).or_insert_with(|| row.clone());
                if row > best {
                    best.clone_from(row);
                }
            }
            let found: Vec<_> = latest.finish().unwrap().map(|row| row.unwrap()).map(|row| (row.key.to_vec(), row.row.to_vec())).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn spills_when_the_budget_is_used_up_and_not_before() {
        let folder = SpillFolder::new(std::env::temp_dir(), 0);
        let row = [0_u8; 30];
        let mut latest = LatestRows::new(10 * (ENTRY_OVERHEAD + 31), &folder);
        for key in 0..10 {
            latest.offer(&[key], &row).unwrap();
        }
        assert!(latest.runs.is_empty(), "all of it is in memory");
        latest.offer(&[10], &row).unwrap();
        assert!(!latest.runs.is_empty(), "some of it is on disk");
        assert_eq!(latest.finish().unwrap().count(), 11);
    }

    #[test]
    fn rows_that_grow_are_spilled_too() {
        let folder = SpillFolder::new(std::env::temp_dir(), 0);
        let mut latest = LatestRows::new(10_000, &folder);
        for length in 1..=20 {
            for key in 0..10 {
                latest.offer(&[key], &vec![length; usize::from(length) * 100]).unwrap();
                assert!(latest.held <= 10_000 + 2_000, "{}", latest.held);
            }
        }
        let found: Vec<_> = latest.finish().unwrap().map(|row| row.unwrap().row).collect();
        assert_eq!(found, vec![vec![20; 2_000].into_boxed_slice(); 10]);
    }

    #[test]
    fn a_spill_folder_that_is_not_there_is_named() {
        let mut latest = LatestRows::new(0, &SpillFolder::new("/nowhere/at/all".into(), 0));
        latest.offer(b"a", &[0; 17]).unwrap();
        let error = latest.offer(b"b", &[0; 17]).unwrap_err();
        assert!(error.message().contains("/nowhere/at/all"), "{error}");
    }
}
