//! Feature values of entities: features down and entities across, or the other way round where there are many.

use arrow::array::{Array, ArrayRef};
use larder_client::{FeatureValues, OnlineAnswer, Replay};
use larder_types::{Name, RowVersion, Status, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    Ink, Paint,
    table::{Cell, table},
    values,
};
use crate::console::Report;

/// An answer, and the entities it is about.
#[derive(Debug)]
pub(crate) struct Online {
    pub(crate) project: Name,
    /// Join keys by column, a row an entity.
    pub(crate) entities: Vec<(String, ArrayRef)>,
    pub(crate) answer: OnlineAnswer,
}

/// How many entities stand beside each other before they are put below each other.
const MAX_ACROSS: usize = 6;

impl Online {
    fn rows(&self) -> usize {
        self.answer.features.first().map_or(0, |feature| feature.values.len())
    }

    /// The key of an entity, its parts joined.
    fn key(&self, row: usize) -> String {
        let parts: Vec<String> = self.entities.iter().map(|(_, values)| values::text(values, row)).collect();
        if parts.is_empty() { "VALUE".to_owned() } else { parts.join(" ") }
    }

    fn by_feature(&self, paint: Paint) -> String {
        let keys: Vec<String> = (0..self.rows()).map(|row| self.key(row)).collect();
        let headings: Vec<&str> = std::iter::once("FEATURE").chain(keys.iter().map(String::as_str)).collect();
        let row = |feature: &FeatureValues| {
            let values = (0..self.rows()).map(|row| cell(feature, row));
            std::iter::once(feature.name.clone().into()).chain(values).collect()
        };
        table(paint, &headings, self.answer.features.iter().map(row).collect())
    }

    fn by_entity(&self, paint: Paint) -> String {
        let keys = self.entities.iter().map(|(name, _)| name.as_str());
        let headings: Vec<&str> =
            keys.chain(self.answer.features.iter().map(|feature| feature.name.as_str())).collect();
        let row = |row: usize| {
            let keys = self.entities.iter().map(|(_, values)| values::text(values, row).into());
            keys.chain(self.answer.features.iter().map(|feature| cell(feature, row))).collect()
        };
        table(paint, &headings, (0..self.rows()).map(row).collect())
    }
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
        let feature = |feature: &FeatureValues| {
            json!({
                "name": feature.name,
                "values": (0..self.rows()).map(|row| values::json(&feature.values, row)).collect::<Vec<_>>(),
                "statuses": (0..self.rows()).map(|row| feature.status(row).as_str()).collect::<Vec<_>>(),
            })
        };
        json!({
            "project": self.project,
            "entities": (0..self.rows()).map(entity).collect::<Vec<_>>(),
            "features": self.answer.features.iter().map(feature).collect::<Vec<_>>(),
            "replay": self.answer.replay.as_ref().map(replay_json),
        })
    }

    fn text(&self, paint: Paint) -> String {
        let values = if self.rows() <= MAX_ACROSS { self.by_feature(paint) } else { self.by_entity(paint) };
        match &self.answer.replay {
            Some(replay) => format!("{values}\n\n{}", self.replay_text(replay, paint)),
            None => values,
        }
    }
}

impl Online {
    fn replay_text(&self, replay: &Replay, paint: Paint) -> String {
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
                    self.key(row).into(),
                    event_time.into(),
                    created_time.into(),
                ]
            })
        });
        let versions = table(paint, &["VIEW", "ROW SET", "ENTITY", "EVENT TIME", "CREATED TIME"], rows.collect());
        format!("judged at {instant} by revision {revision}, engine {engine_version}\n{versions}")
    }
}

fn replay_json(replay: &Replay) -> Value {
    let view = |view: &larder_client::ViewReplay| {
        let version = |version: &Option<RowVersion>| {
            let version = version.as_ref()?;
            Some(json!({ "event_time": version.event_time.to_string(), "created_time": created_time(version) }))
        };
        json!({
            "name": view.name,
            "view": view.view,
            "row_set": view.row_set,
            "versions": view.versions.iter().map(version).collect::<Vec<_>>(),
        })
    };
    json!({
        "revision": replay.revision,
        "instant": replay.instant.to_string(),
        "engine_version": replay.engine_version,
        "views": replay.views.iter().map(view).collect::<Vec<_>>(),
    })
}

/// None where the source does not say.
fn created_time(version: &RowVersion) -> Option<String> {
    (version.created_time != Timestamp::MIN).then(|| version.created_time.to_string())
}
