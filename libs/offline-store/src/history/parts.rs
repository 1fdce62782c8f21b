//! What of a view's history is to be read: all, or what arrived since it was read last.
//!
//! Rows of equal times are ordered by their bytes, but a source may have been corrected in place; then the row that is
//! there now is right, whatever the bytes of the one in the store. So a part says whether its rows replace stored ones of
//! equal times. Rows of a file that was not there before do not: whichever file is read first, the greater row stays. A
//! file that changed replaces, and so that it does not win against what other files say of the same times, all files that
//! have event times in common with it are read again; what the push log says of those times is read beside them by whoever
//! reads them.
//!
//! What is online of files that have gone or changed, of runs that moved no watermark, and of the view as it was declared
//! before, may have won against rows that are there now: see [`Leftover`]. Until they are met, all files that have event
//! times in common with them replace, and a log they came from is read from its beginning; later on new files do.
//!
//! Rows of a push log are never corrected in place, but the view may have been declared differently when they were written
//! last. So a log replaces where it was never read as the view is declared now, and where all is read again; then all files
//! are read again, too.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use larder_definitions::{
    ParquetSource, ResolvedSource, ResolvedView, SourceKind,
    run::{EventTimes, FileVersion, GoneFile, Leftover, Part, PartKind, Position, ReadFile, ReadFiles, overlapping},
};
use larder_push_log::LogSnapshot;
use larder_types::{Error, Name, Result, Timestamp};

use super::{
    HistorySource, parquet,
    source::{by_text, log_position, no_tables},
};
use crate::storage::FoundFile;

/// Files whose event times are looked up at once.
const LOOKUPS: usize = 8;

/// What of a view's history was read before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadBefore {
    /// By source: up to where. A source without a position was never read as it is declared now.
    pub positions: BTreeMap<Name, Position>,
    /// Rows in the store that those positions do not account for.
    pub leftovers: Vec<Leftover>,
    /// Whether all is to be read again all the same.
    pub again: bool,
}

/// What there is of a view's history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewParts {
    /// To be read with [`HistorySource::read_part`].
    pub parts: Vec<Part>,
    /// By source: what is read when the parts are. What comes after it, and after what was read before, is new.
    pub positions: Vec<(Name, Position)>,
    /// Files that were read and are not there as they were.
    pub gone: Vec<GoneFile>,
}

/// A file, and how it stands to what was read before.
struct SeenFile {
    file: FoundFile,
    seen: Seen,
    /// None: not looked up, or not known.
    event_times: Option<EventTimes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Never.
    New,
    /// Not as it is now, or nobody knows how.
    Changed,
    /// As it is, but for rows that were later than the run's start.
    InPart,
    /// As it is.
    Before,
}

impl HistorySource {
    /// The parts of a view's history that were not read before.
    ///
    /// Rows later than `started_at` are to be left for a later run: no position is past a file or segment that has one.
    ///
    /// # Errors
    /// Those of [`crate::storage::Roots::list`]; `FAILED_PRECONDITION` naming a file that is no Parquet;
    /// `UNIMPLEMENTED` for a source that cannot be read yet.
    pub async fn plan_parts(
        &self,
        project: &Name,
        view: &ResolvedView,
        before: &ReadBefore,
        started_at: Timestamp,
    ) -> Result<ViewParts> {
        let log = match &view.push_source {
            Some(source) => Some(self.new_log(project, &source.definition.name, before, started_at).await?),
            None => None,
        };
        let log_replaces = log.iter().flat_map(|log| &log.parts).any(|part| part.replaces);
        let mut found = ViewParts::default();
        if let Some(source) = &view.batch_source {
            let parquet = parquet_of(source)?;
            // Pushed rows have a created time, the rows of a source without one have the lowest: they never tie.
            let again = before.again || (parquet.created_time.is_some() && log_replaces);
            let files = self.new_files(source, parquet, before, again, started_at).await;
            found = files.map_err(|error| error.context(format!("source {}", source.definition.name)))?;
        }
        let log = log.unwrap_or_default();
        found.parts.extend(log.parts);
        found.positions.extend(log.positions);
        Ok(found)
    }

    async fn new_files(
        &self,
        source: &ResolvedSource,
        parquet: &ParquetSource,
        before: &ReadBefore,
        again: bool,
        started_at: Timestamp,
    ) -> Result<ViewParts> {
        let name = &source.definition.name;
        let listed = self.roots().list(&parquet.path, "parquet").await?;
        let position = match before.positions.get(name) {
            Some(Position::Files(known)) => Some(known),
            Some(Position::Log(_) | Position::Time(_)) | None => None,
        };
        let gone = position.map(|known| gone(name, known, &listed)).unwrap_or_default();
        let mut files = as_seen(listed, position.filter(|_| !again));
        let (met, unmet): (Vec<_>, Vec<_>) = before.leftovers.iter().partition(|leftover| leftover.is_met);
        let is_known_to_tie = !gone.is_empty() || !unmet.is_empty();
        look_up_times(&mut files, &parquet.event_time, |seen| seen != Seen::Before || is_known_to_tie).await?;
        for file in &mut files {
            let times = file.event_times;
            let ties = |leftovers: &[&Leftover]| leftovers.iter().any(|leftover| leftover.may_tie(times));
            let had_such = |file: &GoneFile| EventTimes::may_meet(file.event_times, times);
            let is_new = file.seen == Seen::New && ties(&met);
            if is_new || ties(&unmet) || gone.iter().any(had_such) {
                file.seen = Seen::Changed;
            }
        }
        if files.iter().any(|file| file.seen == Seen::Changed) {
            look_up_times(&mut files, &parquet.event_time, |_| true).await?;
        }
        let again = read_again(&files, started_at);
        let (mut parts, mut read) = (Vec::new(), ReadFiles::default());
        for (file, replaces) in files.into_iter().zip(again) {
            let SeenFile { file: FoundFile { version, .. }, seen, event_times } = file;
            if seen == Seen::Before && !replaces {
                continue;
            }
            let in_part = event_times.is_some_and(|times| times.last > started_at);
            read.files.push(ReadFile { version: version.clone(), event_times, in_part });
            let what = PartKind::File(version);
            parts.push(Part { source: name.clone(), what, event_times, replaces });
        }
        Ok(ViewParts { parts, positions: vec![(name.clone(), Position::Files(read))], gone })
    }

    async fn new_log(
        &self,
        project: &Name,
        source: &Name,
        before: &ReadBefore,
        started_at: Timestamp,
    ) -> Result<ViewParts> {
        let known = match before.positions.get(source) {
            Some(Position::Log(known)) => Some(known),
            Some(Position::Files(_) | Position::Time(_)) | None => None,
        };
        // Rows of it may have been written as the view was declared for a while.
        let is_left_over = before.leftovers.iter().any(|leftover| !leftover.is_met && leftover.source == *source);
        let replaces = known.is_none() || before.again || is_left_over;
        let from = known.filter(|_| !replaces).cloned().unwrap_or_default();
        let began = log_position(&from)?;
        let snapshot = self.log(source)?.snapshot(project, source, Some(&began)).await?;
        let position = by_text(&snapshot.position_until(started_at, &began));
        let part = event_times(&snapshot).map(|event_times| {
            let what = PartKind::Log { from, to: by_text(&snapshot.position) };
            Part { source: source.clone(), what, event_times: Some(event_times), replaces }
        });
        let positions = vec![(source.clone(), Position::Log(position))];
        Ok(ViewParts { parts: part.into_iter().collect(), positions, gone: Vec::new() })
    }
}

fn parquet_of(source: &ResolvedSource) -> Result<&ParquetSource> {
    match &source.definition.kind {
        SourceKind::Parquet(parquet) => Ok(parquet),
        SourceKind::Postgres(_) => Err(no_tables(&source.definition.name)),
        SourceKind::Push(_) => {
            Err(Error::internal(format!("the push source {} is no batch source", source.definition.name)))
        }
    }
}

fn as_seen(listed: Vec<FoundFile>, known: Option<&ReadFiles>) -> Vec<SeenFile> {
    let read = known.iter().flat_map(|known| &known.files).map(|file| (file.version.path.as_str(), file));
    let read: HashMap<&str, &ReadFile> = read.collect();
    let seen = |file: FoundFile| {
        let (seen, event_times) = match read.get(file.version.path.as_str()) {
            None if known.is_none() => (Seen::Changed, None),
            None => (Seen::New, None),
            Some(known) if known.version != file.version => (Seen::Changed, None),
            Some(known) if known.in_part => (Seen::InPart, known.event_times),
            Some(known) => (Seen::Before, known.event_times),
        };
        SeenFile { file, seen, event_times }
    };
    listed.into_iter().map(seen).collect()
}

/// The files that are not there as they were read.
fn gone(source: &Name, known: &ReadFiles, listed: &[FoundFile]) -> Vec<GoneFile> {
    let versions: HashSet<&FileVersion> = listed.iter().map(|file| &file.version).collect();
    let gone = known.files.iter().filter(|file| !versions.contains(&file.version));
    let as_gone = |file: &ReadFile| GoneFile {
        source: source.clone(),
        path: file.version.path.clone(),
        event_times: file.event_times,
    };
    gone.map(as_gone).collect()
}

/// Of those that are `wanted` and were not looked up yet.
async fn look_up_times(files: &mut [SeenFile], column: &str, wanted: impl Fn(Seen) -> bool) -> Result<()> {
    let wanted = |file: &SeenFile| file.event_times.is_none() && wanted(file.seen);
    let wanted: Vec<_> = files.iter().enumerate().filter(|(_, file)| wanted(file)).collect();
    let wanted: Vec<_> = wanted.into_iter().map(|(at, file)| (at, file.file.clone(), column.to_owned())).collect();
    let look_up = |(at, file, column): (usize, FoundFile, String)| async move {
        Ok::<_, Error>((at, parquet::event_times(&file, &column).await?))
    };
    let mut found = futures::stream::iter(wanted).map(look_up).buffer_unordered(LOOKUPS);
    while let Some((at, times)) = found.try_next().await? {
        files[at].event_times = times;
    }
    Ok(())
}

/// Of each file whether its rows replace: it changed, or it was read and has event times in common with one that did.
fn read_again(files: &[SeenFile], started_at: Timestamp) -> Vec<bool> {
    let mut again = vec![false; files.len()];
    if files.iter().all(|file| file.seen != Seen::Changed) {
        return again;
    }
    let old: Vec<usize> = (0..files.len()).filter(|file| files[*file].seen != Seen::New).collect();
    // Later rows were never written.
    let written = |times: EventTimes| EventTimes { last: times.last.min(started_at), ..times };
    let times: Vec<_> = old.iter().map(|file| files[*file].event_times.map(written)).collect();
    for group in overlapping(&times) {
        if group.iter().any(|file| files[old[*file]].seen == Seen::Changed) {
            group.iter().for_each(|file| again[old[*file]] = true);
        }
    }
    again
}

fn event_times(snapshot: &LogSnapshot) -> Option<EventTimes> {
    let times = snapshot.files.iter().map(|file| EventTimes { first: file.min_event_time, last: file.max_event_time });
    times.reduce(EventTimes::with)
}
