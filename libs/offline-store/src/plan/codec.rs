//! The encoding of this crate's plan nodes: a byte that says which node, then its state as JSON.

use std::sync::Arc;

use datafusion::{
    common::{DataFusionError, Result, internal_err, plan_err},
    execution::TaskContext,
    physical_plan::ExecutionPlan,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::{Serialize, de::DeserializeOwned};

use super::{OnDemandExec, SpoolExec, ZipByRowExec};
use crate::{history::HistoryExec, point_in_time::PointInTimeJoinExec};

const JOIN: u8 = 1;
const HISTORY: u8 = 2;
const SPOOL: u8 = 3;
const ZIP: u8 = 4;
const ON_DEMAND: u8 = 5;

/// Encodes and decodes the nodes of training sets. Any bytes may be given to it: what is no node is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct LarderPlanCodec;

impl PhysicalExtensionCodec for LarderPlanCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _context: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some((kind, state)) = bytes.split_first() else { return plan_err!("an encoded plan node is empty") };
        match (*kind, inputs) {
            (JOIN, [spine, history]) => {
                let (spine, history) = (Arc::clone(spine), Arc::clone(history));
                Ok(Arc::new(PointInTimeJoinExec::try_new(Arc::new(read(state)?), spine, history)?))
            }
            (HISTORY, []) => {
                let (history, partitions) = read(state)?;
                Ok(Arc::new(HistoryExec::new(Arc::new(history), partitions)))
            }
            (SPOOL, []) => Ok(Arc::new(SpoolExec::try_new(Arc::new(read(state)?))?)),
            (ZIP, inputs) => Ok(Arc::new(ZipByRowExec::try_new(inputs.to_vec())?)),
            (ON_DEMAND, [input]) => Ok(Arc::new(OnDemandExec::try_new(Arc::new(read(state)?), Arc::clone(input))?)),
            (kind, inputs) => plan_err!("no plan node {kind} with {} inputs is known to this release", inputs.len()),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(join) = node.downcast_ref::<PointInTimeJoinExec>() {
            write(JOIN, join.spec().as_ref(), bytes)
        } else if let Some(history) = node.downcast_ref::<HistoryExec>() {
            let partitions = history.properties().partitioning.partition_count();
            write(HISTORY, &(history.read().as_ref(), partitions), bytes)
        } else if let Some(spool) = node.downcast_ref::<SpoolExec>() {
            write(SPOOL, spool.file().as_ref(), bytes)
        } else if node.downcast_ref::<ZipByRowExec>().is_some() {
            bytes.push(ZIP);
            Ok(())
        } else if let Some(on_demand) = node.downcast_ref::<OnDemandExec>() {
            write(ON_DEMAND, on_demand.spec().as_ref(), bytes)
        } else {
            internal_err!("{} is not a plan node of this crate", node.name())
        }
    }
}

fn write<T: Serialize>(kind: u8, state: &T, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.push(kind);
    serde_json::to_writer(bytes, state).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn read<T: DeserializeOwned>(state: &[u8]) -> Result<T> {
    serde_json::from_slice(state)
        .map_err(|error| DataFusionError::Plan(format!("an encoded plan node cannot be read: {error}")))
}
