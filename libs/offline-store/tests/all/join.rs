//! The point-in-time join against a naive oracle: nested loops over rows, one rule after the other.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
        RecordBatchOptions, StringArray, TimestampMicrosecondArray, UInt64Array,
    },
    compute::concat_batches,
    datatypes::{DataType, Field, Int32Type, Schema, SchemaRef},
};
use datafusion::{
    catalog::memory::MemorySourceConfig,
    execution::{
        TaskContext,
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    physical_expr::{LexOrdering, Partitioning, PhysicalSortExpr, expressions::col},
    physical_plan::{
        ExecutionPlan, collect, repartition::RepartitionExec, sorts::sort_preserving_merge::SortPreservingMergeExec,
    },
    prelude::SessionConfig,
};
use larder_codec::{RowEncoder, RowSchema, SchemaColumn};
use larder_offline_store::{
    history::{CREATED_TIME, DELETED, EVENT_TIME},
    point_in_time::{JoinSpec, OutputColumn, PointInTimeJoinExec, ValueColumn},
};
use larder_types::{ColumnNumber, ScalarType, SchemaNumber, ValueType};
use proptest::prelude::*;

/// Which keys both sides have.
#[derive(Debug, Clone, Copy)]
enum Keys {
    None,
    Int,
    String,
    /// A string and an integer, which is int32 in the spine and int64 in the history.
    Pair,
}

#[derive(Debug, Clone)]
struct SpineRow {
    key: Option<i64>,
    time: i64,
}

#[derive(Debug, Clone)]
struct HistoryRow {
    key: Option<i64>,
    event: i64,
    created: i64,
    deleted: bool,
    values: Values,
}

#[derive(Debug, Clone, PartialEq)]
struct Values {
    float: Option<u64>,
    text: Option<String>,
    list: Option<Vec<Option<i32>>>,
    int: Option<i64>,
}

#[derive(Debug, Clone)]
struct Case {
    keys: Keys,
    spine: Vec<SpineRow>,
    history: Vec<HistoryRow>,
    ttl: Option<i64>,
    batch_rows: usize,
    partitions: usize,
    /// Which spine rows come when.
    shuffle: u64,
}

const NOTHING: Values = Values { float: None, text: None, list: None, int: None };

fn numbers() -> [(&'static str, u32, ValueType); 4] {
    [
        ("float", 9, ScalarType::Float64.into()),
        ("text", 2, ScalarType::String.into()),
        ("list", 7, ValueType::List(ScalarType::Int32)),
        ("int", 4, ScalarType::Int64.into()),
    ]
}

fn row_schema() -> RowSchema {
    let column = |(_, number, value_type)| SchemaColumn { number: ColumnNumber(number), value_type };
    RowSchema::new(SchemaNumber(3), numbers().into_iter().map(column).collect()).unwrap()
}

/// The bytes that decide between rows of equal times.
fn encoded(row: &HistoryRow) -> Vec<u8> {
    let columns = value_columns(std::slice::from_ref(&row.values));
    let in_order = [1, 3, 2, 0].map(|index: usize| Arc::clone(&columns[index]));
    let deleted = arrow::buffer::BooleanBuffer::from(vec![row.deleted]);
    let rows = RowEncoder::new(&row_schema()).encode(&in_order, &[row.event], &[row.created], Some(&deleted)).unwrap();
    rows.get(0).to_vec()
}

fn oracle(case: &Case) -> Vec<Values> {
    let see = |spine: &SpineRow| {
        let mut best: Option<&HistoryRow> = None;
        for row in &case.history {
            let same_key = match case.keys {
                Keys::None => true,
                Keys::Int | Keys::String | Keys::Pair => row.key.is_some() && row.key == spine.key,
            };
            let in_time = row.event <= spine.time && case.ttl.is_none_or(|ttl| spine.time - ttl <= row.event);
            let order = |row: &HistoryRow| (row.event, row.created, encoded(row));
            if same_key && in_time && best.is_none_or(|best| order(row) > order(best)) {
                best = Some(row);
            }
        }
        best.filter(|row| !row.deleted).map_or(NOTHING, |row| row.values.clone())
    };
    case.spine.iter().map(see).collect()
}

fn times(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn key_columns(keys: Keys, values: &[Option<i64>], narrow: bool) -> Vec<(String, ArrayRef)> {
    let text =
        || -> ArrayRef { Arc::new(values.iter().map(|key| key.map(|key| format!("k{key}"))).collect::<StringArray>()) };
    let wide = || -> ArrayRef { Arc::new(values.iter().copied().collect::<Int64Array>()) };
    let slim = || -> ArrayRef { Arc::new(values.iter().map(|key| key.map(|key| key as i32)).collect::<Int32Array>()) };
    match keys {
        Keys::None => vec![],
        Keys::Int => vec![("a".to_owned(), wide())],
        Keys::String => vec![("a".to_owned(), text())],
        Keys::Pair => vec![("a".to_owned(), text()), ("b".to_owned(), if narrow { slim() } else { wide() })],
    }
}

fn value_columns(values: &[Values]) -> Vec<ArrayRef> {
    let lists = values.iter().map(|row| row.list.clone());
    vec![
        Arc::new(values.iter().map(|row| row.float.map(f64::from_bits)).collect::<Float64Array>()),
        Arc::new(values.iter().map(|row| row.text.clone()).collect::<StringArray>()),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        Arc::new(values.iter().map(|row| row.int).collect::<Int64Array>()),
    ]
}

fn batch(columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).unwrap()
}

fn spine_batch(case: &Case, rows: &[usize]) -> RecordBatch {
    let pick = |row: &usize| &case.spine[*row];
    let mut columns = key_columns(case.keys, &rows.iter().map(|row| pick(row).key).collect::<Vec<_>>(), true);
    columns.push(("time".to_owned(), times(rows.iter().map(|row| pick(row).time).collect())));
    columns.push(("row".to_owned(), Arc::new(rows.iter().map(|row| *row as u64).collect::<UInt64Array>())));
    batch(columns)
}

fn history_batch(case: &Case, rows: &[HistoryRow]) -> RecordBatch {
    let mut columns = key_columns(case.keys, &rows.iter().map(|row| row.key).collect::<Vec<_>>(), false);
    columns.push((EVENT_TIME.to_owned(), times(rows.iter().map(|row| row.event).collect())));
    columns.push((CREATED_TIME.to_owned(), times(rows.iter().map(|row| row.created).collect())));
    columns.push((DELETED.to_owned(), Arc::new(rows.iter().map(|row| Some(row.deleted)).collect::<BooleanArray>())));
    let values: Vec<Values> = rows.iter().map(|row| row.values.clone()).collect();
    columns.extend(numbers().iter().map(|(name, ..)| (*name).to_owned()).zip(value_columns(&values)));
    batch(columns)
}

fn memory(batches: Vec<RecordBatch>, schema: SchemaRef) -> Arc<dyn ExecutionPlan> {
    MemorySourceConfig::try_new_exec(&[batches], schema, None).unwrap()
}

fn spec(case: &Case) -> JoinSpec {
    let keys: Vec<String> = key_columns(case.keys, &[], true).into_iter().map(|(name, _)| name).collect();
    let output = |value: &str| OutputColumn { value: value.to_owned(), name: format!("view.{value}") };
    JoinSpec {
        spine_row: "row".to_owned(),
        spine_time: "time".to_owned(),
        spine_keys: keys.clone(),
        history_keys: keys,
        values: numbers()
            .iter()
            .map(|(name, number, _)| ValueColumn { name: (*name).to_owned(), number: ColumnNumber(*number) })
            .collect(),
        schema: SchemaNumber(3),
        output: ["float", "text", "list", "int"].map(output).to_vec(),
        ttl: case.ttl,
    }
}

/// The plan over inputs in memory, in an order that `shuffle` decides, partitioned by key.
fn plan(case: &Case) -> Arc<dyn ExecutionPlan> {
    let mut order: Vec<usize> = (0..case.spine.len()).collect();
    order.sort_by_key(|row| (*row as u64).wrapping_mul(case.shuffle | 1).wrapping_add(case.shuffle) % 1009);
    let spine: Vec<RecordBatch> = order.chunks(case.batch_rows).map(|rows| spine_batch(case, rows)).collect();
    let history: Vec<RecordBatch> =
        case.history.chunks(case.batch_rows).map(|rows| history_batch(case, rows)).collect();
    let spine = memory(spine, spine_batch(case, &[]).schema());
    let history = memory(history, history_batch(case, &[]).schema());
    let spec = Arc::new(spec(case));
    // Hashes of int32 and int64 differ, so a plan that partitions has equal types on both sides, as ours do.
    let may_partition = matches!(case.keys, Keys::Int | Keys::String) && case.partitions > 1;
    if !may_partition {
        return Arc::new(PointInTimeJoinExec::try_new(spec, spine, history).unwrap());
    }
    let by_key = |side: Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
        let keys = vec![col("a", &side.schema()).unwrap()];
        Arc::new(RepartitionExec::try_new(side, Partitioning::Hash(keys, case.partitions)).unwrap())
    };
    let join = Arc::new(PointInTimeJoinExec::try_new(spec, by_key(spine), by_key(history)).unwrap());
    let row = PhysicalSortExpr::new_default(col("row", &join.schema()).unwrap());
    Arc::new(SortPreservingMergeExec::new(LexOrdering::new([row]).unwrap(), join))
}

fn context(pool: Option<usize>, batch_rows: usize) -> Arc<TaskContext> {
    let builder = RuntimeEnvBuilder::new();
    let builder = match pool {
        Some(bytes) => builder.with_memory_pool(Arc::new(FairSpillPool::new(bytes))),
        None => builder,
    };
    let runtime: Arc<RuntimeEnv> = Arc::new(builder.build().unwrap());
    let config = SessionConfig::new().with_batch_size(batch_rows);
    Arc::new(TaskContext::default().with_session_config(config).with_runtime(runtime))
}

fn run(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> RecordBatch {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let schema = plan.schema();
    let batches = runtime.block_on(collect(plan, context)).unwrap();
    concat_batches(&schema, &batches).unwrap()
}

fn spilled(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spill_count()).unwrap_or(0);
    own + plan.children().into_iter().map(spilled).sum::<usize>()
}

fn check(case: &Case, result: &RecordBatch) {
    let expected = oracle(case);
    let rows: UInt64Array = (0..case.spine.len() as u64).collect();
    assert_eq!(result.column(0).to_data(), rows.to_data(), "row numbers");
    for (index, column) in value_columns(&expected).iter().enumerate() {
        let found = result.column(index + 1);
        assert_eq!(found.to_data(), column.to_data(), "column {index} of {case:#?}");
    }
}

fn values() -> impl Strategy<Value = Values> {
    let float = prop_oneof![Just(f64::NAN), Just(-0.0), Just(0.0), Just(1.5)].prop_map(f64::to_bits);
    let list = proptest::collection::vec(proptest::option::of(0..3_i32), 0..3);
    let text = prop_oneof![Just(String::new()), Just("x".to_owned()), Just("a longer piece of text".to_owned())];
    (
        proptest::option::of(float),
        proptest::option::of(text),
        proptest::option::of(list),
        proptest::option::of(-1..2_i64),
    )
        .prop_map(|(float, text, list, int)| Values { float, text, list, int })
}

fn cases(rows: usize) -> impl Strategy<Value = Case> {
    let key = || prop_oneof![1 => Just(None), 12 => (0..6_i64).prop_map(Some)];
    let spine = (key(), 0..40_i64).prop_map(|(key, time)| SpineRow { key, time });
    let history = (key(), 0..40_i64, prop_oneof![Just(i64::MIN), 0..3_i64], proptest::bool::weighted(0.2), values())
        .prop_map(|(key, event, created, deleted, values)| HistoryRow { key, event, created, deleted, values });
    (
        prop_oneof![Just(Keys::None), Just(Keys::Int), Just(Keys::String), Just(Keys::Pair)],
        proptest::collection::vec(spine, 0..rows),
        proptest::collection::vec(history, 0..rows),
        proptest::option::of(1..30_i64),
        1..20_usize,
        1..4_usize,
        any::<u64>(),
    )
        .prop_map(|(keys, spine, history, ttl, batch_rows, partitions, shuffle)| Case {
            keys,
            spine,
            history,
            ttl,
            batch_rows,
            partitions,
            shuffle,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sees_what_the_oracle_sees(case in cases(80)) {
        check(&case, &run(plan(&case), context(None, case.batch_rows)));
    }
}

/// Rows enough that a small pool refuses, spread over many keys.
fn large(keys: Keys, seed: u64) -> Case {
    let mut state = seed | 1;
    let mut next = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % bound) as i64
    };
    let key = |value: i64| (value != 0).then_some(value);
    let spine = (0..1500).map(|_| SpineRow { key: key(next(400)), time: next(1000) }).collect();
    let history = (0..4000)
        .map(|row| HistoryRow {
            key: key(next(400)),
            event: next(1000),
            created: next(3),
            deleted: next(10) == 0,
            values: Values {
                float: Some((row as f64).to_bits()),
                text: Some(format!("{:>200}", next(5))),
                list: (row % 3 == 0).then(|| vec![Some(row), None]),
                int: Some(next(2)),
            },
        })
        .collect();
    Case { keys, spine, history, ttl: Some(300), batch_rows: 100, partitions: 1, shuffle: seed }
}

#[test]
fn gives_the_same_bits_when_the_pool_makes_it_spill() {
    for (keys, seed) in [(Keys::Int, 1), (Keys::String, 2), (Keys::Pair, 3)] {
        let case = large(keys, seed);
        let roomy = run(plan(&case), context(None, 100));
        check(&case, &roomy);
        // From "the best rows do not fit" over "the spine does not fit" to "hardly anything fits": parts of parts.
        for pool in [150_000, 80_000, 40_000, 15_000] {
            let plan = plan(&case);
            let tight = run(Arc::clone(&plan), context(Some(pool), 100));
            assert!(spilled(&plan) > 0, "a pool of {pool} bytes was enough");
            assert_eq!(roomy, tight, "a pool of {pool} bytes, {keys:?}");
        }
    }
}

#[test]
fn says_so_when_the_rows_of_one_key_do_not_fit() {
    let case = Case { keys: Keys::None, ..large(Keys::None, 5) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(collect(plan(&case), context(Some(20_000), 100))).unwrap_err();
    assert!(error.to_string().contains("the rows of one entity key alone do not fit"), "{error}");
}

#[test]
fn keeps_no_more_than_a_multiple_of_the_best_rows() {
    // One key, one spine row, ever newer rows: each batch beats the one before it.
    let history = (0..200_000).map(|row| HistoryRow {
        key: Some(1),
        event: row,
        created: 0,
        deleted: false,
        values: Values { float: Some(7), text: Some("x".repeat(50)), list: None, int: Some(row) },
    });
    let case = Case {
        keys: Keys::Int,
        spine: (0..1000).map(|row| SpineRow { key: Some(1), time: 200 * row }).collect(),
        history: history.collect(),
        ttl: None,
        batch_rows: 8192,
        partitions: 1,
        shuffle: 0,
    };
    let plan = plan(&case);
    let result = run(Arc::clone(&plan), context(Some(8 << 20), 8192));
    assert_eq!(spilled(&plan), 0);
    let expected: Int64Array = (0..1000).map(|row| Some(200 * row)).collect();
    assert_eq!(result.column(4).to_data(), expected.to_data());
}

#[test]
fn refuses_a_spine_row_without_time_by_its_number() {
    let case = Case { keys: Keys::Int, ..large(Keys::Int, 1) };
    let times: TimestampMicrosecondArray = [Some(1), None].into_iter().collect();
    let spine = batch(vec![
        ("a".to_owned(), Arc::new(Int64Array::from(vec![1, 2]))),
        ("time".to_owned(), Arc::new(times.with_timezone("UTC"))),
        ("row".to_owned(), Arc::new(UInt64Array::from(vec![41, 42]))),
    ]);
    let history = history_batch(&case, &[]);
    let (spine_schema, history_schema) = (spine.schema(), history.schema());
    let join = PointInTimeJoinExec::try_new(
        Arc::new(spec(&case)),
        memory(vec![spine], spine_schema),
        memory(vec![history], history_schema),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(collect(Arc::new(join.unwrap()), context(None, 10))).unwrap_err();
    assert!(error.to_string().contains("row 42 of the spine has no time"), "{error}");
}

#[test]
fn refuses_keys_of_different_types() {
    let case = Case { keys: Keys::Int, ..large(Keys::Int, 1) };
    let text = Case { keys: Keys::String, ..case.clone() };
    let (spine, history) = (spine_batch(&text, &[]), history_batch(&case, &[]));
    assert_eq!(*spine.schema().field(0).data_type(), DataType::Utf8);
    let (spine_schema, history_schema) = (spine.schema(), history.schema());
    let join = PointInTimeJoinExec::try_new(
        Arc::new(spec(&case)),
        memory(vec![spine], spine_schema),
        memory(vec![history], history_schema),
    );
    assert!(join.unwrap_err().to_string().contains("a key is Utf8 in the spine and Int64 in the history"));
}
