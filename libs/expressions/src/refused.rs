//! Names that look like functions and are refused with a reason of their own.

const CLOCKS: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "today",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "sysdate",
    "getdate",
    "unix_timestamp",
    "timeofday",
];

const RANDOM: &[&str] = &["random", "rand", "uuid", "gen_random_uuid", "newid", "uuidv7"];

const SESSION: &[&str] = &[
    "version",
    "current_user",
    "session_user",
    "user",
    "current_database",
    "current_schema",
    "current_catalog",
    "current_role",
    "current_setting",
    "pg_typeof",
    "arrow_typeof",
    "arrow_metadata",
    "to_char",
    "to_date",
    "to_number",
];

const OTHER_ROWS: &[&str] = &[
    "count",
    "sum",
    "avg",
    "mean",
    "min",
    "max",
    "median",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "var",
    "corr",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "first_value",
    "last_value",
    "nth_value",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "grouping",
    "any_value",
];

const UNBOUNDED: &[&str] = &["repeat", "lpad", "rpad", "space", "range", "generate_series", "array_repeat"];

/// Why `name` is refused, where there is more to say than that it is not on the list.
pub(crate) fn reason(name: &str) -> Option<String> {
    let one_of = |names: &[&str]| names.contains(&name);
    if one_of(CLOCKS) {
        Some(format!("`{name}` reads a clock; the only clock is `request_time()`, the instant of the request"))
    } else if one_of(RANDOM) {
        Some(format!("`{name}` gives another result each time; a feature must be the same in training and serving"))
    } else if one_of(SESSION) {
        Some(format!("`{name}` depends on the session, the locale or the engine; a feature depends on its row alone"))
    } else if one_of(OTHER_ROWS) {
        Some(format!(
            "`{name}` looks at other rows; an expression sees one row (of several values of a row: `least`, `greatest`, `array_min`, `array_max`)"
        ))
    } else if one_of(UNBOUNDED) {
        Some(format!("`{name}` can make values of any size and is not available"))
    } else {
        None
    }
}
