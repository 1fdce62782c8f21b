//! The nodes of a training set's plan besides the join, and their encoding. Every node's state is names and options:
//! a plan that was encoded runs in another process that knows the same stores, and gives the same bits.

mod codec;
mod on_demand;
mod spool;
mod zip;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    physical_expr::EquivalenceProperties,
    physical_plan::{
        Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
    },
};

pub use codec::LarderPlanCodec;
pub use on_demand::{Computed, OnDemandExec, OnDemandSpec};
pub use spool::{SpoolExec, SpoolFile};
pub use zip::ZipByRowExec;

/// The properties of a node with one partition.
fn single_partition(schema: SchemaRef) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(1),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}
