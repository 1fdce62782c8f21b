//! History of views: rows with keys, times and values, in one form whatever source they come from.

mod exec;
mod key_length;
mod normalise;
mod parquet;
mod parts;
mod range;
mod source;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use larder_definitions::{JoinKey, ResolvedView};
use larder_types::{Name, ScalarType, ValueType};
use serde::{Deserialize, Serialize};

pub use exec::{HistoryExec, HistoryRead, ReadPart};
pub use key_length::WrittenKeys;
pub use larder_push_log::{CREATED_TIME, DELETED, EVENT_TIME};
pub use normalise::RowColumns;
pub use parts::{ReadBefore, ViewParts};
pub use range::{ReadCounts, TimeRange};
pub use source::{HistorySource, PartStream};

pub(crate) use self::parquet::{open as open_parquet, unreadable};

/// What is said of a row besides its values, none of it null: event time, created time (the lowest where the source has none),
/// whether it is a deletion. The columns have the names that they have in a push log.
pub const ROW_COLUMNS: [&str; 3] = [EVENT_TIME, CREATED_TIME, DELETED];

/// What rows of a view's history consist of: keys, [`ROW_COLUMNS`], features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistorySchema {
    /// The keys, in the order of the key space. Never null.
    pub keys: Vec<JoinKey>,
    /// The features, in the order of the definition.
    pub features: Vec<HistoryFeature>,
}

/// A column of features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryFeature {
    /// The feature.
    pub name: Name,
    /// The source's column.
    pub column: String,
    /// Its type.
    pub value_type: ValueType,
}

impl HistorySchema {
    /// All features of a view.
    pub fn of(view: &ResolvedView) -> Self {
        let feature = |feature: &larder_definitions::Feature| HistoryFeature {
            name: feature.name.clone(),
            column: feature.source_column().to_owned(),
            value_type: feature.value_type,
        };
        Self { keys: view.key_space.keys.clone(), features: view.definition.features.iter().map(feature).collect() }
    }

    /// The Arrow schema of its batches.
    pub fn arrow(&self) -> SchemaRef {
        let key = |key: &JoinKey| Field::new(key.name.as_str(), key.key_type.scalar().arrow(), false);
        let time = ScalarType::Timestamp.arrow();
        let system = [
            Field::new(EVENT_TIME, time.clone(), false),
            Field::new(CREATED_TIME, time, false),
            Field::new(DELETED, DataType::Boolean, false),
        ];
        let feature = |feature: &HistoryFeature| Field::new(feature.name.as_str(), feature.value_type.arrow(), true);
        let fields = self.keys.iter().map(key).chain(system).chain(self.features.iter().map(feature));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}
