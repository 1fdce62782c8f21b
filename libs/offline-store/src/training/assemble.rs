//! The plan of a training set.

use std::sync::Arc;

use datafusion::{
    physical_expr::{PhysicalExpr, expressions::col},
    physical_plan::{ExecutionPlan, coalesce_partitions::CoalescePartitionsExec, projection::ProjectionExec},
};
use larder_definitions::{
    Catalog,
    selection::{ComputedFeature, ComputedInput, OutputSource, SelectedView, Selection, StoredFeature},
};
use larder_types::{Result, Timestamp};

use super::spool::{ROW, Spooled, TIME, key_column, own_column, request_column};
use crate::{
    error::from_engine,
    history::{HistoryExec, HistorySource, ReadCounts, TimeRange, WrittenKeys},
    plan::{Computed, OnDemandExec, OnDemandSpec, SpoolExec, ZipByRowExec},
    point_in_time::{JoinSpec, OutputColumn, PointInTimeJoinExec, ValueColumn},
};

/// What a plan is made of.
pub(super) struct Assembly<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) selection: &'a Selection,
    pub(super) spooled: &'a Spooled,
    pub(super) history: &'a HistorySource,
    pub(super) readers: usize,
    pub(super) key_prefix: Option<&'a str>,
    pub(super) counts: &'a ReadCounts,
}

impl Assembly<'_> {
    pub(super) async fn plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let mut inputs = vec![spool(self.spooled.own()?)?];
        let request = self.selection.request_columns.iter().map(|(name, _)| request_column(name.as_str()));
        inputs.push(spool(self.spooled.narrow([TIME.to_owned()].into_iter().chain(request))?)?);
        for (index, view) in self.selection.views.iter().enumerate() {
            inputs.push(self.join(index, view).await?);
        }
        let zipped: Arc<dyn ExecutionPlan> = Arc::new(ZipByRowExec::try_new(inputs).map_err(from_engine)?);
        let computed = self.on_demand(zipped)?;
        self.named(&computed)
    }

    async fn join(&self, index: usize, selected: &SelectedView) -> Result<Arc<dyn ExecutionPlan>> {
        let keys = selected.key_columns.iter().map(|name| key_column(name.as_str()));
        let spine = spool(self.spooled.narrow([TIME.to_owned()].into_iter().chain(keys))?)?;
        let range = self.range(selected);
        let keys = WrittenKeys {
            prefix: self.key_prefix.map(str::to_owned),
            project: self.catalog.project_number,
            key_space: selected.view.key_space.number,
        };
        let read = self.history.plan_read(&self.catalog.project, &selected.view, range, keys).await?;
        let partitions = self.readers.min(read.parts.len()).max(1);
        let history = HistoryExec::new(Arc::new(read), partitions).with_counts(self.counts.clone());
        let mut history: Arc<dyn ExecutionPlan> = Arc::new(history);
        if partitions > 1 {
            history = Arc::new(CoalescePartitionsExec::new(history));
        }
        let spec = Arc::new(join_spec(index, selected));
        Ok(Arc::new(PointInTimeJoinExec::try_new(spec, spine, history).map_err(from_engine)?))
    }

    /// The event times that any row of the spine can see.
    fn range(&self, selected: &SelectedView) -> TimeRange {
        let Some((earliest, latest)) = self.spooled.times else { return TimeRange::ALL };
        TimeRange {
            start: selected.view.definition.ttl.map(|ttl| earliest.minus(ttl)),
            // Of the greatest time of all there is none after it.
            end: (latest < Timestamp::MAX).then(|| Timestamp::from_micros(latest.as_micros() + 1)),
        }
    }

    fn on_demand(&self, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if self.selection.computed.is_empty() {
            return Ok(input);
        }
        let computed = self.selection.computed.iter().enumerate();
        let computed = computed.map(|(index, feature)| self.computed(index, feature)).collect();
        let spec = OnDemandSpec { time: TIME.to_owned(), computed };
        Ok(Arc::new(OnDemandExec::try_new(Arc::new(spec), input).map_err(from_engine)?))
    }

    fn computed(&self, index: usize, feature: &ComputedFeature) -> Computed {
        let column = |input: &ComputedInput| match input {
            ComputedInput::Stored(stored) => feature_column(*stored),
            ComputedInput::Request(position) => request_column(self.selection.request_columns[*position].0.as_str()),
        };
        Computed {
            name: computed_column(index),
            expression: feature.expression.spec().clone(),
            columns: feature.inputs.iter().map(column).collect(),
        }
    }

    /// The spine's own columns and the features, by the names they have outside.
    fn named(&self, input: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = input.schema();
        let own = self.spooled.schema.fields().iter().enumerate();
        let own = own.map(|(position, field)| (own_column(position), field.name().clone()));
        let features = self.selection.outputs.iter().map(|output| {
            let column = match output.source {
                OutputSource::Stored(stored) => feature_column(stored),
                OutputSource::Computed(index) => computed_column(index),
            };
            (column, output.name.clone())
        });
        let expression = |(column, name): (String, String)| -> Result<(Arc<dyn PhysicalExpr>, String)> {
            Ok((col(&column, &schema).map_err(from_engine)?, name))
        };
        let expressions = own.chain(features).map(expression).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(ProjectionExec::try_new(expressions, Arc::clone(input)).map_err(from_engine)?))
    }
}

fn spool(file: crate::plan::SpoolFile) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(SpoolExec::try_new(Arc::new(file)).map_err(from_engine)?))
}

fn join_spec(index: usize, selected: &SelectedView) -> JoinSpec {
    let definition = &selected.view.definition;
    let values = definition.features.iter().zip(&selected.view.columns);
    let output = selected.features.iter().enumerate();
    JoinSpec {
        spine_row: ROW.to_owned(),
        spine_time: TIME.to_owned(),
        spine_keys: selected.key_columns.iter().map(|name| key_column(name.as_str())).collect(),
        history_keys: selected.view.key_space.keys.iter().map(|key| key.name.to_string()).collect(),
        values: values
            .map(|(feature, number)| ValueColumn { name: feature.name.to_string(), number: *number })
            .collect(),
        schema: selected.view.schema.number(),
        output: output
            .map(|(feature, position)| OutputColumn {
                value: definition.features[*position].name.to_string(),
                name: feature_column(StoredFeature { view: index, feature }),
            })
            .collect(),
        ttl: definition.ttl.map(|ttl| i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX)),
    }
}

fn feature_column(stored: StoredFeature) -> String {
    format!("view.{}.{}", stored.view, stored.feature)
}

fn computed_column(index: usize) -> String {
    format!("computed.{index}")
}
