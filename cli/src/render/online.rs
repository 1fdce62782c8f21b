//! Feature values of entities: features down and entities across, or the other way round where there are many.

use arrow::array::{Array, ArrayRef};
use larder_client::{FeatureValues, OnlineAnswer, Replay, ViewReplay};
use larder_types::{Name, RowVersion, Status, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    Ink, Paint,
    table::{Cell, table},
    values,
};
use crate::console::Report;

/// The answers, and the entities they are about.
#[derive(Debug)]
pub(crate) struct Online {
    pub(crate) project: Name,
    /// Join keys by column, a row an entity.
    pub(crate) entities: Vec<(String, ArrayRef)>,
    /// At least one; each is of a stretch of the entities.
    pub(crate) answers: Vec<OnlineAnswer>,
}

/// How many entities stand beside each other before they are put below each other.
const MAX_ACROSS: usize = 6;

impl Online {
    /// Of each answer, the position of its first entity.
    fn stretches(&self) -> impl Iterator<Item = (usize, &OnlineAnswer)> {
        self.answers.iter().scan(0, |next, answer| {
            let first = *next;
            *next += rows_of(answer);
            Some((first, answer))
        })
    }

    fn rows(&self) -> usize {
        self.answers.iter().map(rows_of).sum()
    }

    /// The features, by the first answer: all have the same.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().take(1).flat_map(|answer| &answer.features).map(|feature| feature.name.as_str())
    }

    /// A feature's values, and the row in them, for every entity.
    fn values(&self, feature: usize) -> impl Iterator<Item = (&FeatureValues, usize)> {
        let values = self.answers.iter().filter_map(move |answer| answer.features.get(feature));
        values.flat_map(|values| (0..values.values.len()).map(move |row| (values, row)))
    }

    /// The key of an entity, its parts joined.
    fn key(&self, row: usize) -> String {
        let parts: Vec<String> = self.entities.iter().map(|(_, values)| values::text(values, row)).collect();
        if parts.is_empty() { "VALUE".to_owned() } else { parts.join(" ") }
    }

    fn by_feature(&self, paint: Paint) -> String {
        let keys: Vec<String> = (0..self.rows()).map(|row| self.key(row)).collect();
        let headings: Vec<&str> = std::iter::once("FEATURE").chain(keys.iter().map(String::as_str)).collect();
        let row = |(position, name): (usize, &str)| {
            let values = self.values(position).map(|(feature, row)| cell(feature, row));
            std::iter::once(name.into()).chain(values).collect()
        };
        table(paint, &headings, self.names().enumerate().map(row).collect())
    }

    fn by_entity(&self, paint: Paint) -> String {
        let keys = self.entities.iter().map(|(name, _)| name.as_str());
        let headings: Vec<&str> = keys.chain(self.names()).collect();
        let row = |entity: usize, answer: &OnlineAnswer, row: usize| -> Vec<Cell> {
            let keys = self.entities.iter().map(|(_, values)| values::text(values, entity).into());
            keys.chain(answer.features.iter().map(|feature| cell(feature, row))).collect()
        };
        let rows = self
            .stretches()
            .flat_map(|(first, answer)| (0..rows_of(answer)).map(move |position| (first + position, answer, position)));
        table(paint, &headings, rows.map(|(entity, answer, position)| row(entity, answer, position)).collect())
    }
}

fn rows_of(answer: &OnlineAnswer) -> usize {
    answer.features.first().map_or(0, |feature| feature.values.len())
}

/// The value, or why there is none.
fn cell(feature: &FeatureValues, row: usize) -> Cell {
    match feature.status(row) {
        Status::Present => values::text(&feature.values, row).into(),
        status @ Status::Null => Cell::inked(status.as_str(), Ink::Dim),
        status @ Status::NotFound => Cell::inked(status.as_str(), Ink::Red),
        status @ Status::OutsideMaxAge => Cell::inked(status.as_str(), Ink::Yellow),
    }
}

impl Report for Online {
    fn json(&self) -> Value {
        let entity = |row: usize| -> Map<String, Value> {
            self.entities.iter().map(|(name, array)| (name.clone(), values::json(array, row))).collect()
        };
        let feature = |(position, name): (usize, &str)| {
            let value = |(feature, row): (&FeatureValues, usize)| values::json(&feature.values, row);
            let status = |(feature, row): (&FeatureValues, usize)| feature.status(row).as_str();
            json!({
                "name": name,
                "values": self.values(position).map(value).collect::<Vec<_>>(),
                "statuses": self.values(position).map(status).collect::<Vec<_>>(),
            })
        };
        json!({
            "project": self.project,
            "entities": (0..self.rows()).map(entity).collect::<Vec<_>>(),
            "features": self.names().enumerate().map(feature).collect::<Vec<_>>(),
            "replay": self.replay_json(),
        })
    }

    fn text(&self, paint: Paint) -> String {
        let values = if self.rows() <= MAX_ACROSS { self.by_feature(paint) } else { self.by_entity(paint) };
        let replays = self.stretches().filter_map(|(first, answer)| {
            let replay = answer.replay.as_ref()?;
            Some(format!("\n\n{}", self.replay_text(first, replay, paint)))
        });
        std::iter::once(values).chain(replays).collect()
    }
}

impl Online {
    /// Of the entities from `first` on.
    fn replay_text(&self, first: usize, replay: &Replay, paint: Paint) -> String {
        let Replay { revision, instant, engine_version, views } = replay;
        let rows = views.iter().flat_map(|view| {
            view.versions.iter().enumerate().map(|(row, version)| {
                let (event_time, created_time) = match version {
                    Some(version) => (version.event_time.to_string(), created_time(version).unwrap_or_default()),
                    None => ("none".to_owned(), String::new()),
                };
                vec![
                    view.name.clone().into(),
                    Cell::number(view.row_set),
                    self.key(first + row).into(),
                    event_time.into(),
                    created_time.into(),
                ]
            })
        });
        let versions = table(paint, &["VIEW", "ROW SET", "ENTITY", "EVENT TIME", "CREATED TIME"], rows.collect());
        format!("judged at {instant} by revision {revision}, engine {engine_version}\n{versions}")
    }

    /// Revision and instant are those of the first answer; `judged` has those of each.
    fn replay_json(&self) -> Option<Value> {
        let replays: Vec<(usize, &Replay)> =
            self.stretches().filter_map(|(first, answer)| Some((first, answer.replay.as_ref()?))).collect();
        let (_, first) = replays.first()?;
        let version = |version: &Option<RowVersion>| {
            let version = version.as_ref()?;
            Some(json!({ "event_time": version.event_time.to_string(), "created_time": created_time(version) }))
        };
        let view = |(position, view): (usize, &ViewReplay)| {
            let views = replays.iter().filter_map(|(_, replay)| replay.views.get(position));
            json!({
                "name": view.name,
                "view": view.view,
                "row_set": view.row_set,
                "versions": views.flat_map(|view| &view.versions).map(version).collect::<Vec<_>>(),
            })
        };
        let judged = |(first, replay): &(usize, &Replay)| json!({ "first": first, "revision": replay.revision, "instant": replay.instant.to_string() });
        Some(json!({
            "revision": first.revision,
            "instant": first.instant.to_string(),
            "engine_version": first.engine_version,
            "views": first.views.iter().enumerate().map(view).collect::<Vec<_>>(),
            "judged": replays.iter().map(judged).collect::<Vec<_>>(),
        }))
    }
}

/// None where the source does not say.
fn created_time(version: &RowVersion) -> Option<String> {
    (version.created_time != Timestamp::MIN).then(|| version.created_time.to_string())
}
