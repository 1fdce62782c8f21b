//! Any bytes as a node of a training set's plan, over none, one or two inputs: the node or an error. What could be read is
//! written and read again without change.

#![no_main]

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::{
    execution::TaskContext,
    physical_plan::{ExecutionPlan, displayable, empty::EmptyExec},
};
use datafusion_proto::physical_plan::{DefaultPhysicalProtoConverter, PhysicalExtensionCodec};
use larder_offline_store::plan::LarderPlanCodec;
use libfuzzer_sys::fuzz_target;

/// A column of each type that nodes ask their inputs for.
fn input() -> Arc<dyn ExecutionPlan> {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = [
        ("row", DataType::UInt64),
        ("time", time()),
        ("__event_time", time()),
        ("__created_time", time()),
        ("__deleted", DataType::Boolean),
        ("k", DataType::Int64),
        ("v", DataType::Float64),
    ];
    let fields = columns.map(|(name, data_type)| Field::new(name, data_type, false));
    Arc::new(EmptyExec::new(Arc::new(Schema::new(fields.to_vec()))))
}

fuzz_target!(|bytes: &[u8]| {
    let context = TaskContext::default();
    let inputs = [input(), input()];
    let decode = |bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]| {
        LarderPlanCodec.try_decode(bytes, inputs, &context, &DefaultPhysicalProtoConverter {})
    };
    for inputs in [&inputs[..0], &inputs[..1], &inputs[..]] {
        let Ok(node) = decode(bytes, inputs) else { continue };
        let shown = displayable(node.as_ref()).indent(true).to_string();
        let mut again = Vec::new();
        let written = LarderPlanCodec.try_encode(node, &mut again, &DefaultPhysicalProtoConverter {});
        written.expect("what was read can be written");
        let read = decode(&again, inputs).expect("what was written can be read");
        assert_eq!(displayable(read.as_ref()).indent(true).to_string(), shown);
    }
});
