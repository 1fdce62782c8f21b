//! A project with its files in a temporary folder.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{Field, Schema},
    util::pretty::pretty_format_batches,
};
use futures::TryStreamExt;
use larder_definitions::{
    Catalog, ChangeSet, ProjectState, ResolvedView, RevisionMeta, apply, selection::Asked, yaml::read_text,
};
use larder_offline_store::{
    history::{HistorySource, ReadBefore, TimeRange},
    storage::Roots,
    training::{Spine, TrainingOptions, TrainingRequest, TrainingSet, TrainingSets},
};
use larder_push_log::{LogSchema, PushLogWriter, PushedRows, WriterOptions};
use larder_types::{Error, Name, ProjectNumber, Result, SchemaNumber, SystemClock, Timestamp};
use object_store::{local::LocalFileSystem, path::Path};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

/// One minute.
pub(crate) const MINUTE: i64 = 60_000_000;

const PROJECT: &str = r#"
project: shop
entities:
  - name: customer
    join_keys: [{ name: customer_id, type: string }]
  - name: merchant
    join_keys: [{ name: merchant_id, type: int32 }]
sources:
  - name: profiles
    parquet: { path: FOLDER/profiles/ }
    event_time: at
    created_time: made
  - name: merchants
    parquet: { path: FOLDER/merchants/*.parquet }
    event_time: at
  - name: rates
    parquet: { path: FOLDER/rates.parquet }
    event_time: at
  - name: live
    push: {}
feature_views:
  - name: profile
    entities: [customer]
    source: profiles
    push_source: live
    ttl: 60m
    features:
      - { name: age, type: int64 }
      - { name: score, type: float64 }
      - { name: city, column: town, type: string }
  - name: merchant_risk
    entities: [merchant]
    source: merchants
    features:
      - { name: risk, type: float64 }
  - name: rate
    entities: []
    source: rates
    features:
      - { name: rate, type: float64 }
  - name: served_only
    entities: [customer]
    source: profiles
    offline: false
    features:
      - { name: age, type: int64 }
on_demand_feature_views:
  - name: offer
    inputs: [profile, rate]
    request: [{ name: amount, type: float64 }]
    features:
      - { name: cost, type: float64, sql: "amount * rate + coalesce(score, 0.0)" }
      - { name: asked_at, type: timestamp, sql: request_time() }
feature_services:
  - name: everything
    features:
      - { view: profile }
      - { view: merchant_risk }
      - { view: rate }
      - { view: offer }
  - name: transfer
    features:
      - { view: profile, select: [age], as: payer, join_keys: { customer_id: payer_id } }
      - { view: profile, select: [age, city], as: payee, join_keys: { customer_id: payee_id } }
"#;

pub(crate) struct Shop {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) history: HistorySource,
}

impl Shop {
    /// The project above without any files.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let text = PROJECT.replace("FOLDER", root.to_str().unwrap());
        let objects = read_text("larder.yaml", &root, &text).unwrap().into_objects();
        let state = ProjectState::empty(name("shop"), ProjectNumber(1));
        let meta =
            RevisionMeta { at: Timestamp::from_micros(0), principal: "ada".to_owned(), address: "here".to_owned() };
        let (_, state) = apply(&state, &ChangeSet::whole(&state, "test", objects), meta).unwrap().unwrap();
        let catalog = Arc::new(Catalog::build(&state).unwrap());
        let roots = Arc::new(Roots::open([root.to_str().unwrap()]).unwrap());
        let store = Arc::new(LocalFileSystem::new_with_prefix(&root).unwrap());
        let history = HistorySource::new(roots).with_push_log(store, Path::from("log"));
        Self { folder, catalog, history }
    }

    /// The project with a few rows in every source.
    pub(crate) async fn stocked() -> Self {
        let shop = Self::new();
        shop.write("profiles/date=2026-01-01/a.parquet", &profiles(&[("ann", 10, 1, 30), ("bob", 10, 1, 40)]));
        shop.write("profiles/date=2026-01-02/b.parquet", &profiles(&[("ann", 20, 1, 31), ("ann", 20, 2, 32)]));
        shop.write("merchants/a.parquet", &merchants(&[(1, 5, 0.1), (2, 15, 0.2)]));
        shop.write("rates.parquet", &rates(&[(0, 0.5), (30, 0.25)]));
        shop.push(&[("bob", 25, Some(41)), ("ann", 40, None)]).await;
        shop
    }

    pub(crate) fn path(&self, path: &str) -> String {
        let root = self.folder.path().canonicalize().unwrap();
        root.join(path).to_str().unwrap().to_owned()
    }

    /// An error's text without the folder's name.
    pub(crate) fn text(&self, error: &Error) -> String {
        format!("{}: {}", error.code().as_str(), error.message().replace(&self.path(""), "FOLDER/"))
    }

    pub(crate) fn write(&self, path: &str, batch: &RecordBatch) -> PathBuf {
        let path = PathBuf::from(self.path(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(4)).build();
        let mut writer =
            ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        path
    }

    pub(crate) fn write_text(&self, path: &str, text: &str) {
        let path = PathBuf::from(self.path(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Pushes rows (customer, minute, age); without an age it is a deletion.
    pub(crate) async fn push(&self, rows: &[(&str, i64, Option<i64>)]) {
        let source = self.catalog.source("live").unwrap();
        let schema = source.push_schema.as_ref().unwrap();
        let keys = schema.keys.iter().map(|key| (key.name.clone(), key.key_type.scalar().into()));
        let columns = schema.columns.iter().map(|(column, value_type)| (name(column), *value_type));
        let log = LogSchema::new(keys.chain(columns)).unwrap();
        let minutes = |of: fn(&(&str, i64, Option<i64>)) -> i64| {
            rows.iter().map(|row| Timestamp::from_micros(of(row) * MINUTE)).collect::<Vec<_>>()
        };
        let pushed = PushedRows {
            batch_id: "batch",
            ingested_at: Timestamp::from_micros(100 * MINUTE),
            schema_number: SchemaNumber(1),
            row_numbers: (0..rows.len() as i32).collect(),
            event_times: minutes(|row| row.1),
            created_times: minutes(|row| row.1),
            deleted: rows.iter().map(|row| row.2.is_none()).collect(),
        };
        let customers: StringArray = rows.iter().map(|row| Some(row.0)).collect();
        let ages: Int64Array = rows.iter().map(|row| row.2).collect();
        let values: Vec<(Name, ArrayRef)> =
            vec![(name("customer_id"), Arc::new(customers)), (name("age"), Arc::new(ages))];
        let store = Arc::new(LocalFileSystem::new_with_prefix(self.path("")).unwrap());
        let options = WriterOptions { linger: Duration::ZERO, ..WriterOptions::default() };
        let writer = PushLogWriter::open(store, Path::from("log"), options, &SystemClock);
        let batch = log.batch(&pushed, values).unwrap();
        writer.append(&name("shop"), &name("live"), batch).await.unwrap();
        writer.close().await;
    }

    pub(crate) fn view(&self, view: &str) -> Arc<ResolvedView> {
        Arc::clone(self.catalog.feature_view(view).unwrap())
    }

    pub(crate) fn sets(&self) -> TrainingSets {
        TrainingSets::new(self.history.clone(), TrainingOptions::default())
    }

    pub(crate) fn request(&self, features: Asked, spine: Spine) -> TrainingRequest {
        TrainingRequest {
            catalog: Arc::clone(&self.catalog),
            features,
            full_names: false,
            spine,
            event_time: "t".to_owned(),
        }
    }

    pub(crate) async fn prepare(&self, features: Asked, spine: Spine) -> Result<TrainingSet> {
        self.sets().prepare(self.request(features, spine)).await
    }

    /// All rows of a view as a materialization reads them, and how many were refused.
    pub(crate) async fn read(&self, view: &str, range: TimeRange) -> Result<(Vec<RecordBatch>, u64)> {
        let (view, project) = (self.view(view), &self.catalog.project);
        let found = self.history.plan_parts(project, &view, &ReadBefore::default(), Timestamp::MAX).await?;
        let (mut batches, mut refused) = (Vec::new(), 0);
        for part in &found.parts {
            let stream = self.history.read_part(project, &view, part, range).await?;
            batches.extend(stream.batches.try_collect::<Vec<_>>().await?);
            refused += stream.counts.refused();
        }
        Ok((batches, refused))
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn service(text: &str) -> Asked {
    Asked::Service(name(text))
}

pub(crate) fn references(texts: &[&str]) -> Asked {
    Asked::References(texts.iter().map(|text| text.parse().unwrap()).collect())
}

pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

pub(crate) fn minutes(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    let values = values.into_iter().map(|minute| minute * MINUTE);
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// (customer, event minute, created minute, age)
pub(crate) fn profiles(rows: &[(&str, i64, i64, i64)]) -> RecordBatch {
    batch(vec![
        ("customer_id", texts(rows.iter().map(|row| row.0))),
        ("at", minutes(rows.iter().map(|row| row.1))),
        ("made", minutes(rows.iter().map(|row| row.2))),
        // Narrower than declared.
        ("age", Arc::new(rows.iter().map(|row| Some(row.3 as i32)).collect::<Int32Array>())),
        (
            "score",
            Arc::new(rows.iter().map(|row| (row.3 != 31).then_some(row.3 as f64 / 2.0)).collect::<Float64Array>()),
        ),
        ("town", texts(rows.iter().map(|_| "Oslo"))),
        ("unused", Arc::new(BooleanArray::from(vec![true; rows.len()]))),
    ])
}

/// (merchant, event minute, risk)
pub(crate) fn merchants(rows: &[(i32, i64, f64)]) -> RecordBatch {
    batch(vec![
        ("merchant_id", Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int32Array>())),
        ("at", minutes(rows.iter().map(|row| row.1))),
        ("risk", Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Float64Array>())),
    ])
}

/// (event minute, rate)
pub(crate) fn rates(rows: &[(i64, f64)]) -> RecordBatch {
    batch(vec![
        ("at", minutes(rows.iter().map(|row| row.0))),
        ("rate", Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Float64Array>())),
    ])
}

pub(crate) fn pretty(batches: &[RecordBatch]) -> String {
    format!("{}\n", pretty_format_batches(batches).unwrap())
}

pub(crate) async fn rows(set: TrainingSet) -> Vec<RecordBatch> {
    set.stream().unwrap().try_collect().await.unwrap()
}
