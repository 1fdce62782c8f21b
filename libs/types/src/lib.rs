//! The vocabulary every other crate speaks: names, value types, entity keys, row versions, feature references, time,
//! error codes. Floor 0: it uses none of our crates, does no input or output, and knows no wire or storage format.

mod clock;
mod duration;
mod error;
mod key;
mod name;
mod number;
mod reference;
mod row;
mod time;
mod value_type;

pub use clock::{Clock, ManualClock, SystemClock, UniqueClock};
pub use duration::{format_duration, parse_duration};
pub use error::{Error, ErrorCode, Result, Retry, Violation};
pub use key::{EntityKey, KeyPart, KeyType};
pub use name::{Name, NameError, did_you_mean, near_names};
pub use number::{ColumnNumber, KeySpaceNumber, LeaseNumber, ProjectNumber, Revision, RowSetNumber, SchemaNumber};
pub use reference::FeatureReference;
pub use row::{RowVersion, Status};
pub use time::{Timestamp, TimestampError};
pub use value_type::{ScalarType, ValueType, ValueTypeError};
